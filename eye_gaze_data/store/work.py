"""Filling shards in this process or in several; a killed parent takes its workers along."""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

import numpy as np

from eye_gaze_data.cohort import Cohort, ImageReader, MaskReader, Pixels
from eye_gaze_data.errors import DataError, StageError
from eye_gaze_data.twins import content_hash, look_hash

from .config import StoreConfig
from .shards import Bytes, Entry, ShardWriter
from .shrink import Size, from_levels, pack_masks, shrink, stored_size, to_levels

Shard = tuple[int, range]


@dataclass(frozen=True)
class Job:
    """What every process needs to know of a preparation.

    Attributes:
        root: the folder to write.
        images: reads films by row.
        masks: reads organ masks by row; None if there are none.
        ids: image id of each row, for messages.
        paths: source file of each row; empty where there is none.
        sizes: (height, width) that each film is read at.
        store: how films are stored.
        on_error: ``stop`` at the first film that cannot be read, or ``skip`` it.
    """

    root: Path
    images: ImageReader
    masks: MaskReader | None
    ids: Sequence[str]
    paths: Sequence[str]
    sizes: Sequence[Size]
    store: StoreConfig
    on_error: Literal["stop", "skip"]

    @classmethod
    def of_cohort(
        cls, root: Path, cohort: Cohort, store: StoreConfig, on_error: Literal["stop", "skip"]
    ) -> "Job":
        """The job of preparing a cohort."""
        ids, paths = (list(cohort.table[name].astype(str)) for name in ("image_id", "path"))
        return cls(root, cohort.images, cohort.masks, ids, paths, _sizes(cohort), store, on_error)


def _sizes(cohort: Cohort) -> list[Size]:
    """``film_size`` of all rows at once."""
    table = cohort.table
    prefix = "film_" if "film_height" in table else ""
    sides = [table[f"{prefix}{side}"].fillna(table[side]) for side in ("height", "width")]
    height, width = (side.astype(int).tolist() for side in sides)
    return list(zip(height, width, strict=True))


def fill_shards(job: Job, shards: Sequence[Shard], workers: int, step: Callable[[], None]) -> None:
    """Store all films of some shards.

    Args:
        job: the preparation.
        shards: number and rows of each.
        workers: processes; with 1 the work is done in this one.
        step: called after each film.

    Raises:
        DataError: at the first film that cannot be read, for ``on_error: stop``.
    """
    if workers <= 1 or len(shards) <= 1:
        for shard in shards:
            for _ in _fill(job, shard):
                step()
        return
    context = multiprocessing.get_context("spawn")
    pipes: dict[Connection, BaseProcess] = {}
    try:
        for part in (shards[first::workers] for first in range(min(workers, len(shards)))):
            receiver, sender = context.Pipe(duplex=False)
            worker = context.Process(target=_work, args=(job, part, sender), daemon=True)
            worker.start()
            sender.close()
            pipes[receiver] = worker
        _listen(pipes, step)
    finally:
        for process in pipes.values():
            process.terminate()
            process.join()


def _listen(pipes: dict[Connection, BaseProcess], step: Callable[[], None]) -> None:
    """Follow the workers to their ends.

    Raises:
        DataError: if a film cannot be read.
        StageError: if a worker was killed.
        RuntimeError: if a worker failed.
    """
    at_work = dict(pipes)
    while at_work:
        for ready in wait(list(at_work)):
            assert isinstance(ready, Connection)  # noqa: S101 - for the type checker
            try:
                kind, text = ready.recv()
            except EOFError:
                process = at_work.pop(ready)
                process.join()
                if process.exitcode:
                    raise StageError(
                        f"a worker process ended with code {process.exitcode}: killed, or out of "
                        "memory; run the command again to go on, with fewer --workers"
                    ) from None
                continue
            if kind == "refused":
                raise DataError(text)
            if kind == "failed":
                raise RuntimeError(text)
            step()


def _work(job: Job, shards: Sequence[Shard], sender: Connection) -> None:
    """The body of a worker. Without a parent its next message fails, which ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for shard in shards:
            for _ in _fill(job, shard):
                sender.send(("step", ""))
    except DataError as error:
        sender.send(("refused", str(error)))
    except BrokenPipeError:
        return
    except Exception:
        sender.send(("failed", traceback.format_exc()))


def _fill(job: Job, shard: Shard) -> Iterator[None]:
    """Store the films of a shard that are not stored yet; yields once a film."""
    number, rows = shard
    sources = [(row, _source(job.paths[row])) for row in rows]
    with ShardWriter(job.root, number, sources, retry=job.on_error == "stop") as writer:
        yield from (None for _ in writer.entries)
        for row, source in sources[len(writer.entries) :]:
            writer.add(*_stored(job, row, source))
            yield
        writer.finish()


def _source(path: str) -> str:
    """Size and time of a file: tells whether it was replaced while the work was interrupted."""
    try:
        facts = Path(path).stat() if path else None
    except OSError:
        return "missing"
    return f"{facts.st_size} {facts.st_mtime_ns}" if facts else ""


def _stored(job: Job, row: int, source: str) -> tuple[Entry, Bytes]:
    """A film's entry and bytes."""
    try:
        pixels = _read(job, row)
        size = stored_size(job.sizes[row], job.store.size)
        levels = to_levels(shrink(pixels, size), job.store.depth)
        known, bits = "", np.zeros(0, np.uint8)
        if job.masks is not None:
            known, bits = pack_masks(job.masks(row), size)
    except DataError as error:
        if job.on_error == "stop":
            raise
        return Entry(row, source=source, problem=str(error)), np.zeros(0, np.uint8)
    entry = Entry(
        row,
        height=size[0],
        width=size[1],
        masks=known,
        content=content_hash(levels),
        look=look_hash(from_levels(levels)),
        source=source,
    )
    return entry, np.concatenate([levels.view(np.uint8).ravel(), bits])


def _read(job: Job, row: int) -> Pixels:
    """The pixels of a row.

    Raises:
        DataError: if they cannot be read, are not of the table's size, or are all equal.
    """
    pixels, where = job.images(row), job.paths[row] or f"image '{job.ids[row]}'"
    if pixels.shape != job.sizes[row]:
        raise DataError(
            f"{where}: the table says {job.sizes[row]} pixels (height, width), the film has "
            f"{pixels.shape}; gaze, masks and boxes would be misplaced"
        )
    if pixels.min() == pixels.max():
        raise DataError(f"{where}: all pixels are equal ({pixels.min():.3g})")
    return pixels

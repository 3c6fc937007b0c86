"""Predict films from files: findings, gaze density and boxes in original pixels, pictures of them.

Films stream: a few are read ahead and written behind while a batch is predicted, so memory does not
grow with their number. A line of ``predictions.jsonl`` is written as each film is done; at the end
``predictions.json`` and ``predictions.csv`` are made of these lines.
"""

import contextlib
import csv
import io
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from diagnosis.metrics import FilmBoxes
from eye_gaze_data.batch import Sample, collate
from eye_gaze_data.dicom import is_dicom
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import without_nan, write_atomic
from eye_gaze_data.geometry import fit_frame
from eye_gaze_data.images import read_image

from .allocator import freed_memory_kept
from .detection_scores import original_boxes
from .pictures import write_boxes, write_overlay, write_tiff
from .prediction_config import NOTICE
from .predictor import Prediction, Predictor, resample_density

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom"}
BATCH = 8
_THREADS = 2
_FILES = ("density", "tiff", "overlay", "attention")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Writes:
    """What is written of each film besides its record.

    Attributes:
        density: ``NAME.density.npy``, float32 (H, W) in original pixels, sums to 1.
        tiff: ``NAME.density.tif``, 16 bits.
        overlay: ``NAME.overlay.png``.
        attention: ``NAME.attention.npz``, see ``docs/predict.md``.
    """

    density: bool = True
    tiff: bool = False
    overlay: bool = True
    attention: bool = False


@dataclass(frozen=True, eq=False)
class Film:
    """A film that was read, without its full-size grey levels.

    Attributes:
        name: of its results.
        path: of its file.
        size: (height, width) in original pixels.
        sample: on the network grid.
        shown: uint8 (H, W), for the overlay; None without one.
    """

    name: str
    path: Path
    size: tuple[int, int]
    sample: Sample
    shown: npt.NDArray[np.uint8] | None


def predict_files(
    predictor: Predictor,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    writes: Writes | None = None,
    batch: int = BATCH,
    step: Callable[[], None] = lambda: None,
) -> tuple[int, list[str]]:
    """Predict every film; bad files are left out.

    Args:
        predictor: of a finished stage or a shared model.
        inputs: files and folders.
        out: folder for the results.
        writes: what is written of each film.
        batch: films that are predicted together, whatever their sizes.
        step: called after each file.

    Returns:
        the number of films, and a message for each file that could not be read.

    Raises:
        ConfigError: if the task predicts nothing of a film.
        DataError: if there is no film at all.
    """
    writes, paths, out = writes or Writes(), [Path(path) for path in inputs], Path(out)
    _check(predictor, paths, out)
    failures: list[str] = []
    lines = out / "predictions.jsonl"
    count = 0
    with (
        freed_memory_kept(keep=predictor.device.type == "cpu"),
        lines.open("w", encoding="utf-8") as file,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        read = _ahead(
            pool, lambda one: _read(predictor, *one, writes), _named(list_films(paths, out)), batch
        )
        done = _predicted(predictor, _good(read, failures, step), batch)
        for record in _ahead(pool, lambda one: _write(predictor, *one, out, writes), done, 2):
            file.write(json.dumps(without_nan(record)) + "\n")
            file.flush()
            count += 1
            step()
    facts = {"notice": NOTICE, "calibrated": predictor.settings.temperatures is not None}
    write_atomic(
        out / "predictions.json", lambda file: _assemble(file, facts, _records(lines), failures)
    )
    write_atomic(
        out / "predictions.csv", lambda file: _as_csv(file, _records(lines), predictor.classes)
    )
    if predictor.settings.has_detection:
        write_atomic(out / "detections.csv", lambda file: _boxes_csv(file, _records(lines)))
    return count, failures


def list_films(inputs: Sequence[Path], out: Path | None = None) -> Iterator[Path]:
    """The files named, and the films in the folders named and below.

    A film is what ends like an image, or begins like DICOM; hidden files are none, nor is what
    stands under ``out``.
    """
    for path in inputs:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if _is_film(p, out))
        else:
            yield path


def _is_film(path: Path, out: Path | None) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    if out is not None and path.resolve().is_relative_to(out.resolve()):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with contextlib.suppress(OSError):
        return is_dicom(path)
    return False


def _check(predictor: Predictor, inputs: Sequence[Path], out: Path) -> None:
    settings = predictor.settings
    if not (settings.has_diagnosis or settings.has_saliency or settings.has_detection):
        raise ConfigError(
            f"task '{settings.task}' predicts neither findings, gaze nor boxes of a film; choose "
            "another --stage"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: expected a folder for the results ({error})") from error
    for name in ("predictions.json", "predictions.csv", "detections.csv"):
        # What stands here until the end would be that of an earlier run.
        (out / name).unlink(missing_ok=True)
    if next(list_films(inputs, out), None) is None:
        raise DataError(
            f"no film among {', '.join(map(str, inputs))} ({', '.join(sorted(SUFFIXES))})"
        )


def _named(files: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Output names: the file's stem, with the first number that is free where two share it."""
    taken: set[str] = set()
    last: dict[str, int] = {}
    for path in files:
        name = path.stem
        while name in taken:
            last[path.stem] = last.get(path.stem, 1) + 1
            name = f"{path.stem}-{last[path.stem]}"
        taken.add(name)
        yield name, path


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """``map`` over threads: in order, with at most ``ahead`` results waiting."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _read(predictor: Predictor, name: str, path: Path, writes: Writes) -> Film | str:
    """The film, or what is wrong with its file."""
    try:
        pixels = read_image(path)
    except DataError as error:
        return str(error)
    size = (int(pixels.shape[0]), int(pixels.shape[1]))
    shown = np.round(pixels * 255).astype(np.uint8) if writes.overlay else None
    return Film(name, path, size, predictor.prepare(pixels), shown)


def _good(
    read: Iterable[Film | str], failures: list[str], step: Callable[[], None]
) -> Iterator[Film]:
    """The films; messages go to ``failures``."""
    for film in read:
        if isinstance(film, str):
            failures.append(film)
            step()
        else:
            yield film


def _predicted(
    predictor: Predictor, films: Iterator[Film], batch: int
) -> Iterator[tuple[Film, Prediction]]:
    while group := list(islice(films, batch)):
        predictions = predictor.predict_batch(collate([film.sample for film in group]))
        yield from zip(group, predictions, strict=True)
        # Not kept while the next batch is gathered.
        del group, predictions


def _write(
    predictor: Predictor, film: Film, prediction: Prediction, out: Path, writes: Writes
) -> dict[str, Any]:
    """Write the files of a film.

    Returns:
        its record.
    """
    height, width = film.size
    record: dict[str, Any] = {"file": str(film.path), "height": height, "width": width}
    if prediction.probabilities is not None:
        pairs = zip(predictor.classes, prediction.probabilities.tolist(), strict=True)
        record["findings"] = dict(pairs)
    if prediction.density is not None:
        record |= _write_density(film, prediction, out, writes)
    boxes = original_boxes(prediction, film.size)
    if boxes is not None:
        record["detections"] = _as_records(boxes, predictor.classes)
        if film.shown is not None:
            record["overlay"] = f"{film.name}.overlay.png"
            write_boxes(out / record["overlay"], film.shown, record["detections"])
    if writes.attention:
        record["attention"] = f"{film.name}.attention.npz"
        write_atomic(out / record["attention"], lambda file: _save_attention(file, prediction))
    record["notice"] = NOTICE
    return record


def _write_density(film: Film, prediction: Prediction, out: Path, writes: Writes) -> dict[str, Any]:
    record: dict[str, Any] = {}
    density = resample_density(prediction, fit_frame(film.size, film.size, "stretch"), film.size)
    if writes.density:
        values = density.astype(np.float32)
        record["density"] = f"{film.name}.density.npy"
        write_atomic(out / record["density"], lambda file: np.save(file, values))
    if writes.tiff:
        record["tiff"] = f"{film.name}.density.tif"
        record["tiff_density_per_level"] = write_tiff(out / record["tiff"], density)
    if film.shown is not None:
        record["overlay"] = f"{film.name}.overlay.png"
        write_overlay(out / record["overlay"], film.shown, density)
    return record


def _as_records(boxes: FilmBoxes, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One record a box, the best first: finding, score, corners x1, y1, x2, y2."""
    scores = np.ones(len(boxes.labels)) if boxes.scores is None else boxes.scores
    return [
        {
            "finding": classes[boxes.labels[place]],
            "score": float(scores[place]),
            "box": boxes.boxes[place].tolist(),
        }
        for place in np.argsort(-scores, kind="stable")
    ]


def _save_attention(file: BinaryIO, prediction: Prediction) -> None:
    """The maps at their own sizes, and what brings them back to original pixels."""
    maps: dict[str, npt.NDArray[Any]] = {k: v.numpy() for k, v in prediction.attention.items()}
    if prediction.activation is not None:
        maps["class_activation"] = prediction.activation.numpy()
    maps["frame"] = prediction.frame
    maps["image_size"] = np.array(prediction.valid.shape[-2:])
    maps["notice"] = np.array(NOTICE)
    np.savez(file, **maps)  # type: ignore[arg-type]


def _records(lines: Path) -> Iterator[dict[str, Any]]:
    with lines.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _assemble(
    file: BinaryIO,
    facts: dict[str, Any],
    records: Iterable[dict[str, Any]],
    failures: Sequence[str],
) -> None:
    """One JSON object, a line a film, written as the records come."""
    head = json.dumps(facts)[1:-1]
    file.write(f'{{{head}, "films": ['.encode())
    for number, record in enumerate(records):
        file.write((",\n" if number else "\n").encode() + json.dumps(record).encode())
    file.write(f'\n], "failures": {json.dumps(list(failures))}}}\n'.encode())


def _as_csv(file: BinaryIO, records: Iterable[dict[str, Any]], classes: Sequence[str]) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "height", "width", *classes, *_FILES, "notice"])
    for record in records:
        findings = record.get("findings", {})
        shown = [f"{findings[name]:.6f}" if name in findings else "" for name in classes]
        files = [record.get(name, "") for name in _FILES]
        place = [record["file"], record["height"], record["width"]]
        writer.writerow([*place, *shown, *files, NOTICE])
    text.detach()


def _boxes_csv(file: BinaryIO, records: Iterable[dict[str, Any]]) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "finding", "score", "x1", "y1", "x2", "y2", "notice"])
    for record in records:
        for one in record.get("detections", ()):
            corners = [f"{corner:.2f}" for corner in one["box"]]
            row = [record["file"], one["finding"], f"{one['score']:.6f}", *corners, NOTICE]
            writer.writerow(row)
    text.detach()

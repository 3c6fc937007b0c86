"""What a run writes about itself: facts, splits, manifest, the record of each stage, the lock."""

import contextlib
import hashlib
import os
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock, Timeout

from eye_gaze_data.cohort import Cohort, ReadsFiles
from eye_gaze_data.errors import DataError, GazedxError, StageError
from eye_gaze_data.files import read_json, sha256_of, sha256_of_file, write_json, write_text
from eye_gaze_data.images import read_image
from eye_gaze_data.splits import split_table

from . import GAZEDX_VERSION
from .config import RunConfig, StageConfig

# What a stage may be when its run is done.
FINISHED = frozenset({"complete", "skipped"})
PACKAGES = ("torch", "torchvision", "pytorch-lightning", "timm", "numpy", "pandas", "scipy")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of gazedx, Python and the packages that decide numbers."""
    found = {"gazedx": GAZEDX_VERSION, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run folder; the lock goes with the process, even if it is killed.

    Raises:
        StageError: if another process holds it.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise StageError(
            f"{run}: another process is writing to this run folder; wait for it or use --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def write_run_facts(run: Path, config: RunConfig, device: str) -> None:
    """``run.json``: who made this run, with what, when; ``started`` survives a restart."""
    path = run / "run.json"
    before = read_json(path) if path.is_file() else {}
    facts = {
        "name": config.name,
        "seed": config.seed,
        "gazedx": GAZEDX_VERSION,
        "started": before.get("started", now()),
        "finished": None,
        "versions": versions(),
        "config_sha256": sha256_of(config.model_dump(mode="json")),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "device": device,
        "threads": os.cpu_count(),
    }
    write_json(path, facts)


def finish_run(run: Path) -> None:
    """Note the end in ``run.json``."""
    write_json(run / "run.json", {**read_json(run / "run.json"), "finished": now()})


def write_splits(run: Path, cohort: Cohort) -> None:
    """``splits.csv``; a run keeps the splits that it began with.

    Raises:
        StageError: if the run folder has other splits already.
    """
    table = split_table(cohort)
    text = table.to_csv(index=False, lineterminator="\n")
    path = run / "splits.csv"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
        raise StageError(
            f"{path}: this run began with other splits ({len(old)} rows, now {len(table)}); the "
            "cohort or its split settings changed. Use another --out, or delete the run folder"
        )
    write_text(path, text)


def make_manifest(run: Path, cohort: Cohort) -> dict[str, Any]:
    """What ``manifest.json`` is to hold: every file with size and SHA-256, each decoded once.

    Files that an earlier manifest of the run lists with the same hash are not decoded again.

    Returns:
        ``notes``, ``files``, and under ``cohorts`` a hash of each cohort of the run: of its table,
        gaze, boxes and files.

    Raises:
        DataError: naming the file that cannot be read, or whose size is not as the table says.
    """
    path = run / "manifest.json"
    known: set[str] = set()
    if path.is_file():
        known = {file["sha256"] for file in read_json(path)["files"]}
    files = [
        _file_facts(row, Path(name), cohort, known)
        for row, name in enumerate(cohort.table["path"])
        if name
    ]
    digests = {file["image_id"]: file["sha256"] for file in files}
    hashes = {
        str(name): _cohort_hash(cohort, np.flatnonzero(cohort.table["cohort"] == name), digests)
        for name in cohort.table["cohort"].unique()
    }
    return {"notes": list(cohort.notes), "cohorts": hashes, "files": files}


def _file_facts(row: int, path: Path, cohort: Cohort, known: set[str]) -> dict[str, Any]:
    digest = sha256_of_file(path)
    if digest not in known:
        found = read_image(path).shape
        if found != cohort.size_of(row):
            raise DataError(f"{path}: expected {cohort.size_of(row)} pixels, found {found}")
    name = str(cohort.table["image_id"].iat[row])
    return {"image_id": name, "bytes": path.stat().st_size, "sha256": digest}


def _cohort_hash(cohort: Cohort, rows: npt.NDArray[np.int64], digests: dict[str, str]) -> str:
    """Over ids, splits, labels, gaze, boxes, films and masks, not paths: data may be moved."""
    digest = hashlib.sha256()
    table = cohort.table.drop(columns="path").iloc[rows]
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    for part in (cohort.gaze, cohort.boxes):
        if part is not None:
            frame = part.frame()
            frame = frame[frame["row"].isin(rows)].drop(columns="row")
            digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    if cohort.gaze is not None:
        digest.update(np.ascontiguousarray(cohort.gaze.pixels_per_degree[rows]).tobytes())
    digest.update("".join(digests.get(str(name), "") for name in table["image_id"]).encode())
    if isinstance(cohort.masks, ReadsFiles):
        for row in rows:
            masks = [sha256_of_file(path) for path in cohort.masks.files(int(row))]
            digest.update(f"{row} {masks}".encode() if masks else b"")
    return digest.hexdigest()


def stage_folder(run: Path, config: RunConfig, name: str) -> Path:
    """``NN-NAME`` in the run folder."""
    number = [stage.name for stage in config.stages].index(name) + 1
    return run / f"{number:02d}-{name}"


def read_stage(folder: Path) -> dict[str, Any] | None:
    """The record of a stage, None if it was never begun.

    Raises:
        StageError: if the record cannot be read.
    """
    path = folder / "stage.json"
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = read_json(path)
    except ValueError as error:
        raise StageError(f"{path}: expected JSON, cannot read it ({error})") from error
    return record


def stage_inputs(
    config: RunConfig, stage: StageConfig, data: dict[str, str], weights: dict[str, str]
) -> dict[str, Any]:
    """Everything that a stage's result depends on, as plain values.

    Defaults are left out, so that a field that a later version adds does not make old runs stale;
    a default that changes the meaning of old runs comes with a new minor version.
    """
    return {
        "gazedx": ".".join(GAZEDX_VERSION.split(".")[:2]),
        "seed": config.seed,
        "classes": None if config.classes is None else list(config.classes),
        "data": {name: data[name] for name in stage.data.cohorts},
        "weights": weights,
        "model": config.models[stage.model].model_dump(mode="json", exclude_defaults=True),
        # Where it stands in rounds decides whether it runs, not what comes out.
        "stage": stage.model_dump(mode="json", exclude_defaults=True, exclude={"round"}),
        "trainer": {
            name: getattr(config.trainer, name)
            for name in ("devices", "nodes", "accumulate", "precision")
        },
    }


def changed_keys(old: Any, new: Any, prefix: str = "") -> list[str]:  # noqa: ANN401
    """The dotted keys at which two trees of plain values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(old.keys() | new.keys())
        found = [changed_keys(old.get(n), new.get(n), f"{prefix}{n}.") for n in names]
        return [key for keys in found for key in keys]
    return [] if old == new else [prefix.rstrip(".")]


def user_error(error: BaseException) -> str:
    """One line for ``stage.json``."""
    kind = "" if isinstance(error, GazedxError) else f"{type(error).__name__}: "
    return f"{kind}{error}".splitlines()[0][:500]

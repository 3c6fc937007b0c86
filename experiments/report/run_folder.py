"""Reading a run folder; what a run does not have (gaze, labels, cases) is simply empty."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eye_gaze_data.errors import DataError
from eye_gaze_data.files import read_json

from .formatting import as_float

Facts = Mapping[str, Any]
Row = Mapping[str, str]


@dataclass(frozen=True)
class Stage:
    """One stage's folder: what it says of itself and one row an epoch."""

    folder: str
    facts: Facts
    columns: tuple[str, ...]
    epochs: tuple[Row, ...]


@dataclass(frozen=True)
class RunFolder:
    """All that a report draws on."""

    path: Path
    facts: Facts
    stages: tuple[Stage, ...]
    metrics: Facts
    columns: tuple[str, ...]
    images: tuple[Row, ...]
    cases: Mapping[int, Path]


def read_run_folder(path: Path) -> RunFolder:
    """Read what a finished run left behind.

    Args:
        path: the run folder.

    Returns:
        Its content; stages are in the order of their folders' numbers.

    Raises:
        DataError: there is no ``run.json``, or a JSON file does not hold an object.
    """
    if not (path / "run.json").is_file():
        raise DataError(f"{path}: expected a run folder with run.json, found none")
    evaluate = path / "evaluate"
    columns, images = _read_table(evaluate / "per_image.csv")
    return RunFolder(
        path=path,
        facts=_read_facts(path / "run.json"),
        stages=read_stages(path),
        metrics=_read_facts(evaluate / "metrics.json"),
        columns=columns,
        images=images,
        cases=_case_files(evaluate / "cases"),
    )


def read_stages(path: Path) -> tuple[Stage, ...]:
    """The stages of a run that were begun, in the order of their folders' numbers."""
    return tuple(_read_stage(file.parent) for file in sorted(path.glob("*/stage.json")))


def section(facts: Facts, key: str) -> Facts:
    """A JSON object inside another; empty when it is null or missing."""
    value = facts.get(key)
    return value if isinstance(value, dict) else {}


def in_group(run: RunFolder, group: str) -> tuple[Row, ...]:
    """The images of a group, in the table's order."""
    return tuple(row for row in run.images if row.get("group", "") == group)


def stated_findings(run: RunFolder) -> list[str]:
    """The findings that the table of images has labels or probabilities of, in its order."""
    names = [
        column.removeprefix(prefix)
        for column in run.columns
        for prefix in ("label_", "probability_")
        if column.startswith(prefix)
    ]
    return list(dict.fromkeys(names))


def row_index(row: Row) -> int | None:
    """The index of an image's row; None when it is missing."""
    value = as_float(row.get("index"))
    return int(value) if value == value // 1 else None


def _read_stage(folder: Path) -> Stage:
    columns, epochs = _read_table(folder / "metrics.csv")
    return Stage(folder.name, _read_facts(folder / "stage.json"), columns, epochs)


def _read_facts(path: Path) -> Facts:
    if not path.is_file():
        return {}
    try:
        value = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: expected JSON, {error}; repeat the step that writes it") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def _read_table(path: Path) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    # Not pandas: identifiers such as 00012 must stay text.
    if not path.is_file():
        return (), ()
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        rows = tuple({name: value for name, value in row.items() if name} for row in reader)
        return tuple(reader.fieldnames or ()), rows


def _case_files(folder: Path) -> dict[int, Path]:
    return {int(path.stem): path for path in sorted(folder.glob("*.npz")) if path.stem.isdigit()}

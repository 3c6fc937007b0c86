"""The case gallery: film, clinicians' map and prediction of each chosen case."""

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.metric_names import LABELS
from eye_gaze_data.errors import DataError

from .cases import Choice, choose_cases
from .formatting import NOT_AVAILABLE, as_float, number, text
from .gaze_marks import Box, Scanpath, boxes, coloured, reader_colours, scanpaths
from .pictures import Stop, colour_stops, film_uri, map_uri, times_uniform
from .run_folder import RunFolder
from .saliency_tables import heading

Arrays = dict[str, NDArray[np.generic]]
Density = NDArray[np.float64]


@dataclass(frozen=True)
class CaseScore:
    """A score of one image; ``order`` is what the page sorts by, empty when undefined."""

    key: str
    label: str
    value: str
    order: str


@dataclass(frozen=True)
class CaseFinding:
    """Truth and prediction for one finding; ``width`` is the bar's length in percent."""

    name: str
    truth: str
    probability: str
    width: float | None


@dataclass(frozen=True)
class Scale:
    """The colour scale that both maps of a case share, in multiples of the uniform density."""

    middle: str
    highest: str
    truth_peak: str
    prediction_peak: str


@dataclass(frozen=True)
class Case:
    """A case as the page shows it."""

    choice: Choice
    image_id: str
    patient_id: str
    group: str
    width: int
    height: int
    film: str
    truth: str
    prediction: str
    activation: str
    scale: Scale | None
    paths: tuple[Scanpath, ...]
    boxes: tuple[Box, ...]
    predicted: tuple[Box, ...]
    scores: tuple[CaseScore, ...]
    findings: tuple[CaseFinding, ...]


@dataclass(frozen=True)
class Gallery:
    """All cases and what their controls need."""

    cases: tuple[Case, ...]
    stored: int
    readers: dict[str, str]
    stops: tuple[Stop, ...]
    groups: tuple[str, ...]
    findings: tuple[str, ...]
    sortable: tuple[tuple[str, str], ...]
    has_gaze: bool
    has_prediction: bool
    has_activation: bool
    has_boxes: bool
    has_detections: bool


def build_gallery(run: RunFolder) -> Gallery:
    """Draw the chosen cases of a run; empty when it stored none."""
    findings = _findings(run)
    cases = [_case(run, choice, findings) for choice in choose_cases(run)]
    colours = reader_colours([path.reader for case in cases for path in case.paths])
    sortable = {s.key: s.label for case in cases for s in case.scores if s.order}
    return Gallery(
        cases=tuple(replace(case, paths=coloured(case.paths, colours)) for case in cases),
        stored=len(run.cases),
        readers=colours,
        stops=colour_stops(),
        groups=tuple(sorted({case.group for case in cases})),
        findings=tuple(findings),
        sortable=tuple(sortable.items()),
        has_gaze=any(case.truth or case.paths for case in cases),
        has_prediction=any(case.prediction for case in cases),
        has_activation=any(case.activation for case in cases),
        has_boxes=any(case.boxes or case.predicted for case in cases),
        has_detections=any(case.predicted for case in cases),
    )


def _findings(run: RunFolder) -> list[str]:
    names = [
        column.removeprefix(prefix)
        for column in run.columns
        for prefix in ("label_", "probability_")
        if column.startswith(prefix)
    ]
    return list(dict.fromkeys(names))


def _case(run: RunFolder, choice: Choice, findings: Sequence[str]) -> Case:
    path = run.cases[choice.index]
    arrays = _load(path)
    film = arrays["film"].astype(np.uint8)
    height, width = film.shape
    truth, prediction, activation = (
        _density(arrays, name, path) for name in ("truth", "prediction", "activation")
    )
    peaks = _peak(truth), _peak(prediction)
    # The smallest number in place of an empty map's zero keeps the division defined.
    highest = max(*peaks, float(np.finfo(np.float32).tiny))
    row = choice.row
    return Case(
        choice=choice,
        image_id=text(row.get("image_id")),
        patient_id=text(row.get("patient_id")),
        group=row.get("group", ""),
        width=width,
        height=height,
        film=film_uri(film),
        truth="" if truth is None else map_uri(truth, highest),
        prediction="" if prediction is None else map_uri(prediction, highest),
        # Evidence is no gaze: it has a scale of its own.
        activation="" if activation is None else map_uri(activation, _peak(activation)),
        scale=_scale(arrays, truth, prediction, highest),
        paths=_paths(arrays, max(width, height)),
        boxes=_boxes(arrays),
        predicted=_predicted(arrays),
        scores=tuple(_score(choice, key) for key in LABELS if key in row),
        findings=tuple(_finding(choice, name) for name in findings),
    )


def _load(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error}); evaluate the run again") from None
    film = arrays.get("film", np.empty(0))
    _require(
        film.ndim == 2 and film.size > 0 and film.dtype == np.uint8, path, "a uint8 film (h, w)"
    )
    pairs = [("gaze", "reader"), ("boxes", "box_labels")]
    pairs += [("predicted_boxes", f"predicted_{name}") for name in ("labels", "scores")]
    for first, second in pairs:
        if first in arrays and second in arrays:
            equal = len(arrays[first]) == len(arrays[second])
            _require(equal, path, f"one row of {second} for each of {first}")
    return arrays


def _require(met: bool, path: Path, expected: str) -> None:
    if not met:
        raise DataError(f"{path}: expected {expected}; evaluate the run again")


def _density(arrays: Arrays, name: str, path: Path) -> Density | None:
    if name not in arrays:
        return None
    density = np.asarray(arrays[name], dtype=np.float64)
    shape = arrays["film"].shape
    _require(density.shape == shape, path, f"{name} {shape} as the film, not {density.shape}")
    # All NaN is how a batch says that there was no gaze.
    return density if np.isfinite(density).any() else None


def _peak(density: Density | None) -> float:
    return 0.0 if density is None else float(density[np.isfinite(density)].max())


def _scale(
    arrays: Arrays, truth: Density | None, prediction: Density | None, highest: float
) -> Scale | None:
    if truth is None and prediction is None:
        return None
    pixels = int(np.count_nonzero(arrays.get("valid", np.ones(arrays["film"].shape, bool))))

    def shown(density: Density | None) -> str:
        return "" if density is None else times_uniform(_peak(density), pixels)

    return Scale(
        middle=times_uniform(highest / 2, pixels),
        highest=times_uniform(highest, pixels),
        truth_peak=shown(truth),
        prediction_peak=shown(prediction),
    )


def _paths(arrays: Arrays, side: float) -> tuple[Scanpath, ...]:
    gaze = np.asarray(arrays.get("gaze", np.empty((0, 4))), dtype=np.float64).reshape(-1, 4)
    reader = np.asarray(arrays.get("reader", np.zeros(len(gaze))), dtype=np.int64)
    names = [str(name) for name in arrays.get("readers", np.empty(0, dtype=str)).tolist()]
    return scanpaths(gaze, reader, names, side)


def _boxes(arrays: Arrays) -> tuple[Box, ...]:
    corners = np.asarray(arrays.get("boxes", np.empty((0, 4))), dtype=np.float64).reshape(-1, 4)
    labels = arrays.get("box_labels", np.full(len(corners), "")).tolist()
    return boxes(corners, [str(label) for label in labels])


def _predicted(arrays: Arrays) -> tuple[Box, ...]:
    """Predicted boxes with their scores, the best last, so that it is drawn on top."""
    corners = np.asarray(arrays.get("predicted_boxes", np.empty((0, 4))), dtype=np.float64)
    labels = arrays.get("predicted_labels", np.empty(0, dtype=str)).tolist()
    scores = np.asarray(arrays.get("predicted_scores", np.empty(0)), dtype=np.float64).tolist()
    named = [f"{label} {number(score, 2)}" for label, score in zip(labels, scores, strict=True)]
    return boxes(corners.reshape(-1, 4), named)[::-1]


def _score(choice: Choice, key: str) -> CaseScore:
    value = as_float(choice.row.get(key))
    order = repr(value) if math.isfinite(value) else ""
    return CaseScore(key, heading(key).label, number(value), order)


def _finding(choice: Choice, name: str) -> CaseFinding:
    label = as_float(choice.row.get(f"label_{name}"))
    probability = as_float(choice.row.get(f"probability_{name}"))
    truth = "not stated" if math.isnan(label) else "present" if label > 0.5 else "absent"
    known = math.isfinite(probability)
    return CaseFinding(
        name=name,
        truth=truth,
        probability=number(probability, 2) if known else NOT_AVAILABLE,
        width=round(100 * min(max(probability, 0.0), 1.0), 1) if known else None,
    )

"""The case gallery: film, clinicians' map and prediction of each chosen case."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiments.metric_names import LABELS

from .case_files import (
    Arrays,
    Density,
    boxes_of,
    density_of,
    film_pixels,
    gaze_of,
    load_case,
    peak_of,
    predicted_boxes_of,
    shared_top,
)
from .cases import Choice, choose_cases
from .formatting import NOT_AVAILABLE, as_float, number, text
from .gaze_marks import Box, Scanpath, boxes, coloured, reader_colours, scanpaths
from .pictures import Stop, colour_stops, film_uri, map_uri, times_uniform
from .run_folder import RunFolder
from .saliency_tables import heading


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
    findings = stated_findings(run)
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


def stated_findings(run: RunFolder) -> list[str]:
    """The findings that the table of images has labels or probabilities of, in its order."""
    names = [
        column.removeprefix(prefix)
        for column in run.columns
        for prefix in ("label_", "probability_")
        if column.startswith(prefix)
    ]
    return list(dict.fromkeys(names))


def _case(run: RunFolder, choice: Choice, findings: Sequence[str]) -> Case:
    path = run.cases[choice.index]
    arrays = load_case(path)
    film = arrays["film"].astype(np.uint8)
    height, width = film.shape
    truth, prediction, activation = (
        density_of(arrays, name, path) for name in ("truth", "prediction", "activation")
    )
    peaks = peak_of(truth), peak_of(prediction)
    highest = shared_top(*peaks)
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
        activation="" if activation is None else map_uri(activation, peak_of(activation)),
        scale=_scale(arrays, truth, prediction, highest),
        paths=scanpaths(*gaze_of(arrays), max(width, height)),
        boxes=boxes(*boxes_of(arrays)),
        predicted=boxes(*predicted_boxes_of(arrays)),
        scores=tuple(_score(choice, key) for key in LABELS if key in row),
        findings=tuple(_finding(choice, name) for name in findings),
    )


def _scale(
    arrays: Arrays, truth: Density | None, prediction: Density | None, highest: float
) -> Scale | None:
    if truth is None and prediction is None:
        return None
    pixels = film_pixels(arrays)

    def shown(density: Density | None) -> str:
        return "" if density is None else times_uniform(peak_of(density), pixels)

    return Scale(
        middle=times_uniform(highest / 2, pixels),
        highest=times_uniform(highest, pixels),
        truth_peak=shown(truth),
        prediction_peak=shown(prediction),
    )


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

"""What the viewer draws: all stored cases of a run as plain values, decoded only when shown."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.metric_names import LABELS, LOWER_IS_BETTER

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
from .cases import Choice, stored_cases
from .formatting import as_float, text
from .gaze_marks import boxes, reader_colours
from .pictures import film_webp, level_png, palette_bytes
from .replay import replays
from .run_folder import RunFolder, section, stated_findings

FILM_SIDE = 320
MAP_SIDE = 96
# Where validation chose no threshold; the page says so.
DEFAULT_THRESHOLD = 0.5
LAYERS = {"truth": "Clinicians", "prediction": "Model", "activation": "Class activation"}
GIVEN = {"truth": "People", "prediction": "Map"}

Plain = dict[str, Any]


def build_viewer(run: RunFolder, *, given_maps: bool) -> Plain | None:
    """Everything that the viewer's script reads, ready for JSON; None when no case was stored.

    Args:
        run: the run.
        given_maps: whether the maps are no network's and those who looked perhaps no clinicians.

    Returns:
        Plain values. Numbers that are unknown are None, infinite ones the text ``inf`` or ``-inf``.
    """
    choices = stored_cases(run)
    if not choices:
        return None
    findings = stated_findings(run)
    metrics = [key for key in LABELS if any(key in choice.row for choice in choices)]
    groups = sorted({choice.row.get("group", "") for choice in choices})
    twice = Counter(text(choice.row.get("image_id")) for choice in choices)
    cases = []
    for choice in choices:
        case = _case(run, choice, findings, metrics)
        case["group"] = groups.index(choice.row.get("group", ""))
        # What a link names the case by.
        case["key"] = case["id"] if twice[case["id"]] == 1 else f"{case['id']}~{choice.index}"
        cases.append(case)
    names = reader_colours([path["reader"] for case in cases for path in case["paths"]])
    return {
        "cases": cases,
        "metrics": [_metric(key) for key in metrics],
        "findings": findings,
        "groups": [_group(run, name, findings) for name in groups],
        "readers": names,
        "layers": _layers(cases, LAYERS | (GIVEN if given_maps else {})),
        "palette": palette_bytes(),
        "top": max(case["top"] or 0.0 for case in cases),
        "has_boxes": any(case["boxes"] for case in cases),
        "has_predicted": any(case["predicted"] for case in cases),
    }


def _case(run: RunFolder, choice: Choice, findings: Sequence[str], metrics: Sequence[str]) -> Plain:
    path, row = run.cases[choice.index], choice.row
    arrays = load_case(path)
    film = arrays["film"].astype("uint8")
    height, width = film.shape
    densities = {name: density_of(arrays, name, path) for name in LAYERS}
    return {
        "index": choice.index,
        "id": text(row.get("image_id")),
        "patient": text(row.get("patient_id")),
        "rank": choice.rank,
        "ranked": choice.ranked,
        "badge": choice.badge,
        "scores": [_plain(row.get(key)) for key in metrics],
        "truth": [_plain(row.get(f"label_{name}")) for name in findings],
        "probability": [_plain(row.get(f"probability_{name}")) for name in findings],
        "width": width,
        "height": height,
        "film": film_webp(film, FILM_SIDE),
        **_maps(arrays, densities),
        "paths": replays(*gaze_of(arrays)),
        "boxes": _boxes(*boxes_of(arrays)),
        "predicted": _boxes(*predicted_boxes_of(arrays)),
    }


def _maps(arrays: Arrays, densities: dict[str, Density | None]) -> Plain:
    """Each map as levels, and the density at the highest level in multiples of the uniform one.

    Gaze and its prediction share a scale; the class activation is no gaze and has its own.
    """
    pixels = film_pixels(arrays)
    peaks = {name: peak_of(density) for name, density in densities.items()}
    shared = shared_top(peaks["truth"], peaks["prediction"])
    tops = {"truth": shared, "prediction": shared, "activation": shared_top(peaks["activation"], 0)}
    either = densities["truth"] is not None or densities["prediction"] is not None
    return {
        "maps": {
            name: level_png(density, tops[name], MAP_SIDE)
            for name, density in densities.items()
            if density is not None
        },
        "top": round(shared * pixels, 3) if either else None,
        "peaks": {
            name: round(peaks[name] * pixels, 3)
            for name, density in densities.items()
            if density is not None
        },
    }


def _boxes(corners: Density, labels: Sequence[str]) -> list[list[float | str]]:
    return [[box.x, box.y, box.width, box.height, box.label] for box in boxes(corners, labels)]


def _layers(cases: Sequence[Plain], labels: Mapping[str, str]) -> list[Plain]:
    """The stops of the slider: the film, then each kind of map that some case has."""
    present = [name for name in LAYERS if any(name in case["maps"] for case in cases)]
    return [{"key": "film", "label": "Film"}] + [
        {"key": name, "label": labels[name]} for name in present
    ]


def _metric(key: str) -> Plain:
    return {"key": key, "label": LABELS[key], "lower_is_better": key in LOWER_IS_BETTER}


def _group(run: RunFolder, name: str, findings: Sequence[str]) -> Plain:
    """The thresholds at which a finding is called in this group, and whether they were chosen."""
    scored = section(section(section(run.metrics, "diagnosis"), name), "findings")
    found = [
        as_float(section(section(scored, finding), "operating_point").get("threshold"))
        for finding in findings
    ]
    return {
        "name": text(name),
        "thresholds": [DEFAULT_THRESHOLD if math.isnan(value) else value for value in found],
        "chosen": [not math.isnan(value) for value in found],
    }


def _plain(value: object) -> float | str | None:
    known = as_float(value)
    if math.isnan(known):
        return None
    return float(f"{known:.6g}") if math.isfinite(known) else f"{known}"

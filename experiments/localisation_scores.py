"""Whether evidence and gaze stand where the boxes are, beside the floor and the chance of an area.

Only films whose list of boxes is complete are scored, each finding for itself: one that is stated
and has a box.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diagnosis.metrics import TOLERANCE, BoxRegion, lift, mass_inside, pointing_game
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.density import Map
from eye_gaze_data.geometry import map_boxes
from saliency.metrics import bootstrap_statistic, ratio
from saliency.metrics.bootstrap import LeftOut

from .image_scores import Grid, ImageScorer
from .metric_names import LOCATED
from .predictor import Prediction, resample_density
from .summary import mean_entry

Numbers = npt.NDArray[np.float64]
Draws = Mapping[str, int]
CHANCE = "chance"


def score_boxes(
    scorer: ImageScorer, row: int, prediction: Prediction, classes: Sequence[str]
) -> dict[str, float]:
    """The columns of an image in ``per_image.csv``; none where its boxes are not known.

    Args:
        scorer: of the images.
        row: of the cohort.
        prediction: of the image.
        classes: names of the logits; the findings that are looked for.
    """
    cohort = scorer.cohort
    if cohort.boxes is None or not cohort.boxes.known[row]:
        return {}
    grid = scorer.grid_of(row)
    floor = scorer.centre_bias(row, grid)
    gaze = None
    if prediction.density is not None:
        gaze = resample_density(prediction, grid.frame, grid.size)
    scores: dict[str, float] = {}
    for number, name, region in _regions(cohort, row, grid, classes):
        maps: dict[str, Map | None] = {"model": gaze, "centre_bias": floor}
        if prediction.evidence is not None:
            maps["class_activation"] = resample_density(prediction, grid.frame, grid.size, number)
        scores |= {f"{LOCATED[CHANCE]}inside_{name}": region.area}
        scores |= {f"{LOCATED[CHANCE]}pointing_{name}": region.near_area}
        for kind, values in maps.items():
            if values is not None:
                scores[f"{LOCATED[kind]}inside_{name}"] = mass_inside(values, region)
                scores[f"{LOCATED[kind]}pointing_{name}"] = pointing_game(values, region)
    return scores | _overall(scores)


def _regions(
    cohort: Cohort, row: int, grid: Grid, classes: Sequence[str]
) -> Iterator[tuple[int, str, BoxRegion]]:
    """Number, name and boxes of each finding that the image has and somebody drew."""
    if cohort.boxes is None:
        return
    boxes, labels = cohort.boxes.of(row)
    for number, name in enumerate(classes):
        own = boxes[labels == cohort.pathologies.index(name)]
        moved, _ = map_boxes(grid.frame, own, grid.size, keep_area=0)
        if len(moved) and cohort.table[name].iat[row] == 1:
            yield number, name, BoxRegion.of(moved, grid.size, grid.film)


def _overall(scores: Mapping[str, float]) -> dict[str, float]:
    """The mean over the findings of the image, of each score that is defined."""
    found = {}
    for prefix in LOCATED.values():
        for metric in ("inside", "pointing"):
            start = f"{prefix}{metric}_"
            own = [v for key, v in scores.items() if key.startswith(start) and not math.isnan(v)]
            if own:
                found[f"{prefix}{metric}"] = float(np.mean(own))
    return found


def localisation_tables(
    table: pd.DataFrame, classes: Sequence[str], draws: Draws
) -> dict[str, Any]:
    """The tables of each group that has boxes.

    Args:
        table: ``per_image.csv``.
        classes: the findings.
        draws: ``resamples`` and ``seed``.
    """
    area = f"{LOCATED[CHANCE]}inside"
    if area not in table:
        return {}
    return {
        str(name): _group(part, [one for one in classes if _has(part, f"{area}_{one}")], draws)
        for name, part in table.groupby("group", sort=False)
        if _has(part, area)
    }


def _has(part: pd.DataFrame, column: str) -> bool:
    return column in part and bool(part[column].notna().any())


def _group(part: pd.DataFrame, findings: Sequence[str], draws: Draws) -> dict[str, Any]:
    boxed = part[part[f"{LOCATED[CHANCE]}inside"].notna()]
    return {
        "tolerance": TOLERANCE,
        "n_images": len(boxed),
        "n_patients": boxed["patient_id"].nunique(),
        "n_without_boxes": len(part) - len(boxed),
        "rows": {
            row: {
                "overall": _scores(boxed, prefix, "", draws),
                "findings": {name: _scores(boxed, prefix, f"_{name}", draws) for name in findings},
            }
            for row, prefix in LOCATED.items()
            if _has(boxed, f"{prefix}inside")
        },
    }


def _scores(boxed: pd.DataFrame, prefix: str, finding: str, draws: Draws) -> dict[str, Any]:
    """Both scores, and how many times chance the mass inside is, over the films with such boxes."""
    area = boxed[f"{LOCATED[CHANCE]}inside{finding}"].to_numpy(np.float64)
    part = boxed[~np.isnan(area)]
    patients = list(part["patient_id"])
    found = {
        metric: mean_entry(_column(part, f"{prefix}{metric}{finding}"), patients, draws)
        for metric in ("inside", "pointing")
    }
    inside = _column(part, f"{prefix}inside{finding}")
    area, known = area[~np.isnan(area)], ~np.isnan(inside)
    bounds = bootstrap_statistic(
        _lift_of(inside[known], area[known]),
        np.asarray(patients, object)[known],
        left_out=_lift_without(inside[known], area[known]),
        resamples=draws["resamples"],
        seed=draws["seed"],
    )
    found["lift"] = {
        "value": lift(inside, area),
        "low": bounds.low,
        "high": bounds.high,
        "n": int(known.sum()),
    }
    return found


def _column(part: pd.DataFrame, name: str) -> Numbers:
    return part[name].to_numpy(np.float64) if name in part else np.full(len(part), np.nan)


def _lift_of(inside: Numbers, area: Numbers) -> Callable[[Numbers], Numbers]:
    return lambda weights: ratio(weights @ inside, weights @ area)


def _lift_without(inside: Numbers, area: Numbers) -> LeftOut:
    """The lift without each patient: what is theirs is taken from both sums."""

    def left_out(unit: npt.NDArray[np.int64], n_units: int) -> Numbers:
        sums = (each.sum() - np.bincount(unit, each, n_units) for each in (inside, area))
        return ratio(*sums)

    return left_out

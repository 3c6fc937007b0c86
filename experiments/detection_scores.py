"""The detection table: average precision of boxes in original pixels, films with complete lists.

Groups are never pooled. A class without a true box has no average precision: NaN.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diagnosis.metrics import (
    FilmBoxes,
    Matches,
    match_boxes,
    mean_average_precision,
)
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.geometry import invert, map_boxes
from saliency.metrics import bootstrap_statistic

from .finished import FinishedStage
from .predictions import StoredPredictions
from .predictor import Prediction

Numbers = npt.NDArray[np.float64]
# Name of each metric, and which IoU thresholds it is the mean over.
THRESHOLDS = {"map": slice(None), "ap50": slice(0, 1)}


def original_boxes(prediction: Prediction, original: tuple[int, int]) -> FilmBoxes | None:
    """Predicted boxes in original pixels, clipped to the film; None of a stage without boxes.

    Args:
        prediction: with boxes in network pixels.
        original: (height, width) of the film.
    """
    found = prediction.detections
    if found is None:
        return None
    boxes, kept = map_boxes(invert(prediction.frame), found.boxes, original, keep_area=0)
    scores = None if found.scores is None else found.scores[kept]
    return FilmBoxes(boxes, found.labels[kept], scores)


def true_boxes(cohort: Cohort, row: int, classes: list[str]) -> FilmBoxes | None:
    """The boxes of a film and of these classes; None if their list is not complete."""
    if cohort.boxes is None or not cohort.boxes.known[row]:
        return None
    boxes, labels = cohort.boxes.of(row)
    number = {cohort.pathologies.index(name): place for place, name in enumerate(classes)}
    places = np.array([number.get(int(label), -1) for label in labels], np.int64)
    return FilmBoxes(boxes[places >= 0], places[places >= 0])


def detection_tables(
    finished: FinishedStage,
    cohort: Cohort,
    store: StoredPredictions,
    table: pd.DataFrame,
    draws: Mapping[str, Any],
) -> dict[str, Any]:
    """The detection table of each group with a film whose list of boxes is complete.

    Args:
        finished: the stage.
        cohort: of the run.
        store: its predictions of the rows of the table.
        table: ``per_image.csv``.
        draws: with ``resamples`` and ``seed``.
    """
    chosen = {name: int(draws[name]) for name in ("resamples", "seed")}
    found = {}
    for group, part in table.groupby("group", sort=False):
        rows = part["index"].to_numpy(np.int64)
        truths = [true_boxes(cohort, row, finished.classes) for row in rows.tolist()]
        known = np.array([truth is not None for truth in truths])
        if known.any():
            true = [truth for truth in truths if truth is not None]
            guessed = [
                original_boxes(store.of(row), cohort.size_of(row)) for row in rows[known].tolist()
            ]
            matches = match_boxes(
                [one for one in guessed if one is not None], true, len(finished.classes)
            )
            patients = part["patient_id"].astype(str).to_numpy()[known]
            found[str(group)] = {
                "n_images": int(known.sum()),
                "n_patients": len(set(patients)),
                "n_without_list": int((~known).sum()),
                **_scores(matches, finished.classes, patients, chosen),
                "truth_sha256": _hash_of(part["image_id"].to_numpy()[known], true),
            }
    return found


def _scores(
    matches: list[Matches], classes: list[str], patients: npt.NDArray[Any], draws: dict[str, int]
) -> dict[str, Any]:
    def interval(parts: list[Matches], thresholds: slice) -> dict[str, float]:
        one = bootstrap_statistic(
            lambda weights: mean_average_precision(parts, weights, thresholds), patients, **draws
        )
        return {"value": one.value, "low": one.low, "high": one.high}

    each = {
        name: {metric: interval([part], levels) for metric, levels in THRESHOLDS.items()}
        | {"n_boxes": int(part.true.sum()), "n_images": int((part.true > 0).sum())}
        for name, part in zip(classes, matches, strict=True)
    }
    whole = {metric: interval(matches, levels) for metric, levels in THRESHOLDS.items()}
    return {
        "n_boxes": sum(one["n_boxes"] for one in each.values()),
        "n_classes": sum(one["n_boxes"] > 0 for one in each.values()),
        **whole,
        "classes": each,
    }


def _hash_of(images: npt.NDArray[Any], true: list[FilmBoxes]) -> str:
    """Of the films and their true boxes, so that comparisons can refuse other ones."""
    digest = hashlib.sha256()
    for name, film in zip(images, true, strict=True):
        digest.update(str(name).encode())
        digest.update(np.ascontiguousarray(film.boxes).tobytes() + film.labels.tobytes())
    return digest.hexdigest()

"""The detection table: average precision of boxes in original pixels, films with complete lists.

Groups are never pooled. A class without a true box has no average precision: NaN.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diagnosis.metrics import (
    FilmBoxes,
    Matches,
    average_precisions,
    match_boxes,
)
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import DataError
from eye_gaze_data.files import write_text
from eye_gaze_data.geometry import invert, map_boxes
from saliency.metrics import bootstrap_statistics, mean_of_defined

from .config import EvaluateConfig
from .finished import FinishedStage
from .predictions import StoredPredictions
from .predictor import Prediction

Numbers = npt.NDArray[np.float64]
# Name of each metric, and which IoU thresholds it is the mean over.
THRESHOLDS = {"map": slice(None), "ap50": slice(0, 1)}
BOXES = "detections.csv"
CORNERS = ("x1", "y1", "x2", "y2")
_NONE = FilmBoxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


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


def count_boxes(finished: FinishedStage, cohort: Cohort, row: int) -> dict[str, float]:
    """``n_boxes`` of a film for ``per_image.csv``; NaN where its list is not complete."""
    true = true_boxes(cohort, row, finished.classes)
    return {"n_boxes": np.nan if true is None else float(len(true.labels))}


def detection_tables(
    finished: FinishedStage, cohort: Cohort, store: StoredPredictions, table: pd.DataFrame
) -> dict[str, Any]:
    """The detection table of each group with a film whose list of boxes is complete.

    Writes ``evaluate/detections.csv`` too: every box of those films in original pixels, true ones
    without a score.

    Args:
        finished: the stage.
        cohort: of the run.
        store: its predictions of the rows of the table.
        table: ``per_image.csv``.
    """
    config, classes = finished.config, finished.classes
    found, written = {}, []
    for group, part in table.groupby("group", sort=False):
        known = part[part["n_boxes"].notna()]
        if known.empty:
            continue
        guessed, true = [], []
        for row in known["index"].tolist():
            guessed.append(original_boxes(store.of(row), cohort.size_of(row)) or _NONE)
            true.append(true_boxes(cohort, row, classes) or _NONE)
        names, patients = known["image_id"].tolist(), known["patient_id"].astype(str).tolist()
        found[str(group)] = {
            "n_images": len(known),
            "n_patients": len(set(patients)),
            "n_without_list": len(part) - len(known),
            **_scores(
                match_boxes(guessed, true, len(classes)),
                classes,
                patients,
                config.evaluate,
                config.seed,
            ),
            "truth_sha256": _hash_of(names, true, classes),
        }
        written += [_as_frame(names, films, classes) for films in (true, guessed)]
    boxes = pd.concat(written, ignore_index=True) if written else _as_frame([], [], classes)
    csv = boxes.to_csv(index=False, lineterminator="\n", float_format="%.8g")
    write_text(finished.run / "evaluate" / BOXES, csv)
    return found


def read_matches(evaluate: Path, images: Sequence[str], classes: Sequence[str]) -> list[Matches]:
    """The matches of ``detections.csv``, by class, over films in the order of ``images``.

    Raises:
        DataError: if it has a box of another class.
    """
    frame = pd.read_csv(evaluate / BOXES, dtype={"image_id": str}, keep_default_na=False)
    film = pd.Index(images).get_indexer(pd.Index(frame["image_id"]))
    order = np.argsort(film, kind="stable")
    frame, film = frame.iloc[order], film[order]
    places = frame["finding"].map({name: place for place, name in enumerate(classes)})
    if places.isna().any():
        raise DataError(
            f"{evaluate / BOXES}: expected boxes of {', '.join(classes)}, found "
            f"'{frame['finding'][places.isna()].iloc[0]}'; evaluate the run again"
        )
    labels = np.asarray(places, np.int64)
    scores = pd.to_numeric(frame["score"]).to_numpy(np.float64)
    boxes = frame[list(CORNERS)].to_numpy(np.float64)

    def films(own: npt.NDArray[np.bool_]) -> list[FilmBoxes]:
        edges = np.searchsorted(film[own], np.arange(len(images) + 1))
        at, kinds, levels = boxes[own], labels[own], scores[own]
        return [FilmBoxes(at[i:j], kinds[i:j], levels[i:j]) for i, j in pairwise(edges)]

    predicted = ~np.isnan(scores)
    return match_boxes(films(predicted), films(~predicted), len(classes))


def _scores(
    matches: list[Matches],
    classes: list[str],
    patients: list[str],
    settings: EvaluateConfig,
    seed: int,
) -> dict[str, Any]:
    def precisions(weights: Numbers) -> Numbers:
        """(r, metrics x (classes + 1)) of each class, and the mean over them."""
        columns = []
        for levels in THRESHOLDS.values():
            each = [average_precisions(part, weights, levels) for part in matches]
            columns += [*each, mean_of_defined(each)]
        return np.stack(columns, 1)

    intervals = iter(
        bootstrap_statistics(precisions, patients, resamples=settings.resamples, seed=seed)
    )
    each: dict[str, dict[str, Any]] = {name: {} for name in classes}
    whole: dict[str, Any] = {}
    for metric in THRESHOLDS:
        for entry in (*each.values(), whole):
            one = next(intervals)
            entry[metric] = {"value": one.value, "low": one.low, "high": one.high}
    boxes = [int(part.true.sum()) for part in matches]
    for entry, part, number in zip(each.values(), matches, boxes, strict=True):
        entry |= {"n_boxes": number, "n_images": int((part.true > 0).sum())}
    return {
        "n_boxes": sum(boxes),
        "n_classes": sum(number > 0 for number in boxes),
        **whole,
        "classes": each,
    }


def _as_frame(
    images: Sequence[str], films: Sequence[FilmBoxes], classes: Sequence[str]
) -> pd.DataFrame:
    columns = ["image_id", "finding", "score", *CORNERS]
    rows = [
        (name, classes[label], score, *corners)
        for name, film in zip(images, films, strict=True)
        for label, score, corners in zip(
            film.labels.tolist(),
            [np.nan] * len(film.labels) if film.scores is None else film.scores.tolist(),
            film.boxes.tolist(),
            strict=True,
        )
    ]
    return pd.DataFrame(rows, columns=columns)


def _hash_of(images: Sequence[str], true: Sequence[FilmBoxes], classes: Sequence[str]) -> str:
    """Of films, classes and true boxes, so that comparisons can refuse other ones."""
    digest = hashlib.sha256("\n".join([*classes, "", *images]).encode())
    for film in true:
        digest.update(np.ascontiguousarray(film.boxes).tobytes() + film.labels.tobytes())
    return digest.hexdigest()

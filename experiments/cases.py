"""The cases that a report shows: film, densities, gaze and boxes of some images, as ``.npz``."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from diagnosis.metrics import FilmBoxes
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.density import Map
from eye_gaze_data.files import write_atomic
from eye_gaze_data.gaze import Gaze
from eye_gaze_data.geometry import film_frame, map_boxes, map_points, warp_pixels

from .image_scores import Grid, ImageScorer

LONG_SIDE = 320
MOST_BOXES = 6
NAMES = {"model": "prediction", "class_activation": "activation"}


def choose_rows(table: pd.DataFrame, count: int) -> list[int]:
    """Rows for the report: spread evenly over the ranks of CC, best, median and worst included.

    Args:
        table: ``per_image.csv``.
        count: over all groups, alike for each.
    """
    chosen: list[int] = []
    groups = [part for _, part in table.groupby("group", sort=False)]
    share = max(1, count // max(1, len(groups))) if count else 0
    for part in groups:
        ranked = part
        if "cc" in part and part["cc"].notna().any():
            ranked = part[part["cc"].notna()].sort_values("cc", ascending=False, kind="stable")
        last = len(ranked) - 1
        ranks = [round(rank) for rank in np.linspace(0, last, min(share, len(ranked)))]
        if len(ranks) > 2 and last // 2 not in ranks:
            ranks[len(ranks) // 2] = last // 2
        chosen += ranked["index"].to_numpy(np.int64)[ranks].tolist()
    return chosen


def save_cases(
    folder: Path,
    scorer: ImageScorer,
    rows: Sequence[int],
    maps: Callable[[int], Callable[[Grid], dict[str, Map]]],
    boxes: Callable[[int], FilmBoxes | None] = lambda _: None,
    classes: Sequence[str] = (),
) -> None:
    """Write one file a case, named by row; older cases are removed.

    Args:
        folder: for the files.
        scorer: of the images.
        rows: which.
        maps: gives the maps of a row on a grid.
        boxes: gives the predicted boxes of a row in original pixels, if any.
        classes: names of their labels.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        values = _case(scorer, row, maps(row))
        if (found := boxes(row)) is not None:
            values |= _predicted(found, classes, Grid.of(scorer.cohort.size_of(row), LONG_SIDE))
        write_atomic(
            folder / f"{row:06d}.npz",
            lambda file, values=values: np.savez_compressed(file, **values),  # type: ignore[misc]
        )


def _case(scorer: ImageScorer, row: int, maps: Callable[[Grid], dict[str, Map]]) -> dict[str, Any]:
    cohort = scorer.cohort
    grid = Grid.of(cohort.size_of(row), LONG_SIDE)
    values: dict[str, Any] = {"film": film_on(cohort, row, grid)}
    for name, density in maps(grid).items():
        values[NAMES[name]] = _short(density)
    if cohort.gaze is not None and cohort.has_gaze[row]:
        values |= _gaze(scorer, cohort.gaze.of(row), row, grid)
    if cohort.boxes is not None:
        boxes, labels = cohort.boxes.of(row)
        moved, kept = map_boxes(grid.frame, boxes, grid.size, keep_area=0)
        values["boxes"] = moved.astype(np.float32)
        values["box_labels"] = np.array([cohort.pathologies[i] for i in labels[kept]], np.str_)
    return values


def _predicted(found: FilmBoxes, classes: Sequence[str], grid: Grid) -> dict[str, Any]:
    """The boxes of the highest scores, the rest would hide the film."""
    scores = np.ones(len(found.labels)) if found.scores is None else found.scores
    moved, kept = map_boxes(grid.frame, found.boxes, grid.size, keep_area=0)
    labels, scores = found.labels[kept], scores[kept]
    best = np.argsort(-scores, kind="stable")[:MOST_BOXES]
    return {
        "predicted_boxes": moved[best].astype(np.float32),
        "predicted_labels": np.array([classes[label] for label in labels[best]], np.str_),
        "predicted_scores": scores[best].astype(np.float32),
    }


def film_on(cohort: Cohort, row: int, grid: Grid) -> npt.NDArray[np.uint8]:
    """The film on a grid, 0 to 255."""
    pixels = torch.from_numpy(cohort.images(row))[None]
    stored = film_frame(grid.frame, grid.original, cohort.film_size(row))
    film = warp_pixels(pixels, stored, grid.size)[0].clamp(0, 1).numpy()
    return np.round(film * 255).astype(np.uint8)


def _gaze(scorer: ImageScorer, gaze: Gaze, row: int, grid: Grid) -> dict[str, Any]:
    x, y = map_points(grid.frame, gaze.x, gaze.y)
    readers = gaze.readers
    found: dict[str, Any] = {
        "gaze": np.stack([x, y, gaze.start, gaze.duration], 1).astype(np.float32),
        "reader": np.array([readers.index(str(name)) for name in gaze.reader], np.int64),
        "readers": np.array(readers, np.str_),
    }
    truth, _ = scorer.truth(row, gaze, grid)
    if truth.density is not None:
        found["truth"] = _short(truth.density)
    return found


def _short(density: Map) -> npt.NDArray[np.float32]:
    """Rounded down by less than a thousandth: enough for a picture, and half the file."""
    bits = density.astype(np.float32).view(np.uint32)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)

"""A cohort: a table of images and labels, and readers for pixels, gaze, masks and boxes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from .errors import DataError
from .fitted import FittedFilms
from .gaze import GazeTable
from .problems import Problem

Pixels = npt.NDArray[np.float32]
SPLITS = ("train", "valid", "test")
TABLE_COLUMNS = ("image_id", "patient_id", "study_id", "split", "path", "height", "width", "source")


class ImageReader(Protocol):
    """Reads the pixels of one row."""

    def __call__(self, row: int) -> Pixels:
        """float32 (H, W) in [0, 1], upright, bone bright."""


class MaskReader(Protocol):
    """Reads the organ masks of one row."""

    def __call__(self, row: int) -> Pixels:
        """float32 (M, H, W) in [0, 1]; a plane of NaN for an organ that is not annotated.

        Of the size of the film as it is read.
        """


@runtime_checkable
class ReadsFiles(MaskReader, Protocol):
    """A reader of masks that stand in files of their own."""

    def files(self, row: int) -> list[Path]:
        """Those of one row, none if there are none."""


class BoxTable:
    """The boxes of a cohort.

    Args:
        table: columns ``row``, ``label`` (index into the pathologies), ``x1``, ``y1``, ``x2``,
            ``y2`` in original pixels.
        known: (n_rows,) whether the list of an image is complete.
    """

    def __init__(self, table: pd.DataFrame, known: npt.NDArray[np.bool_]) -> None:
        table = table.sort_values("row", kind="stable")
        self.known = known
        self._rows = table["row"].to_numpy(np.int64)
        self._labels = table["label"].to_numpy(np.int64)
        self._boxes = table[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
        self._offsets = np.searchsorted(self._rows, np.arange(len(known) + 1))

    def of(self, row: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """(n, 4) boxes in original pixels and (n,) labels of one image."""
        part = slice(self._offsets[row], self._offsets[row + 1])
        return self._boxes[part], self._labels[part]

    def frame(self) -> pd.DataFrame:
        """All boxes as a table with the columns of the constructor."""
        columns = dict(zip(("x1", "y1", "x2", "y2"), self._boxes.T, strict=True))
        return pd.DataFrame({"row": self._rows, "label": self._labels, **columns})


@dataclass(frozen=True)
class Cohort:
    """Images of patients with what is known about them.

    Attributes:
        name: how configs, logs and reports call it.
        table: one row an image: ``TABLE_COLUMNS`` and a float column for each pathology (1, 0 or
            NaN where not stated). ``split`` is train, valid or test, or empty: used by none.
        pathologies: the label columns, in the order of the batch.
        images: reads pixels by row.
        exclusive: true if exactly one pathology holds for an image (softmax, not sigmoids).
        gaze: who looked where; None if nobody did.
        organs: names of the mask planes.
        masks: reads organ masks by row; None if there are none.
        boxes: lesion boxes; None if there are none.
        patient_namespace: cohorts that share it share patients (EGD-CXR and REFLACX do).
        notes: what the reader left out and why, for ``data check`` and the manifest.
        problems: the files and rows that a reader skipped because they are wrong.
    """

    name: str
    table: pd.DataFrame
    pathologies: tuple[str, ...]
    images: ImageReader
    exclusive: bool = False
    gaze: GazeTable | None = None
    organs: tuple[str, ...] = ()
    masks: MaskReader | None = None
    boxes: BoxTable | None = None
    patient_namespace: str = ""
    notes: Sequence[str] = ()
    problems: Sequence[Problem] = ()

    def __post_init__(self) -> None:
        missing = [name for name in (*TABLE_COLUMNS, *self.pathologies) if name not in self.table]
        if missing:
            raise DataError(f"cohort '{self.name}': its table lacks the column(s) {missing}")
        twice = self.table["image_id"][self.table["image_id"].duplicated()]
        if len(twice):
            where = ", ".join(f"'{name}' (row {row})" for row, name in twice.head(3).items())
            raise DataError(
                f"cohort '{self.name}': image ids must be unique, found {len(twice)} again: {where}"
            )
        if self.boxes is not None:
            _check_boxes(self.name, self.table, self.boxes, self.pathologies)
        if not self.patient_namespace:
            object.__setattr__(self, "patient_namespace", self.name)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> Pixels:
        """float32 (N, C): 1, 0 or NaN where not stated."""
        return self.table[list(self.pathologies)].to_numpy(np.float32, copy=True)

    @property
    def has_gaze(self) -> npt.NDArray[np.bool_]:
        """Bool (N,): images that somebody looked at."""
        return np.zeros(len(self), bool) if self.gaze is None else self.gaze.counts() > 0

    def size_of(self, row: int) -> tuple[int, int]:
        """(height, width) of an image in original pixels."""
        height, width = self._sizes[0][row]
        return int(height), int(width)

    @cached_property
    def _sizes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(N, 2) of the images, and of the films as they are read."""
        sizes = self.table[["height", "width"]].to_numpy(np.int64)
        if "film_height" not in self.table:
            return sizes, sizes
        films = self.table[["film_height", "film_width"]].to_numpy(np.float64)
        # A merged cohort has no number here where its film is of the original size.
        return sizes, np.where(np.isnan(films), sizes, films).astype(np.int64)

    @cached_property
    def ids(self) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """(N,) names of the images and of their patients."""
        image, patient = (self.table[name].astype(str) for name in ("image_id", "patient_id"))
        return image.to_numpy(object), patient.to_numpy(object)

    @cached_property
    def fitted(self) -> FittedFilms:
        """The films that the data sets of stages keep."""
        return FittedFilms(len(self))

    def film_size(self, row: int) -> tuple[int, int]:
        """(height, width) of the pixels and masks that are read for an image.

        The original size, unless the table's columns ``film_height`` and ``film_width`` say that
        the film was stored smaller; gaze and boxes are in original pixels all the same.
        """
        height, width = self._sizes[1][row]
        return int(height), int(width)

    def rows_of(self, split: str, cohorts: Sequence[str] = ()) -> npt.NDArray[np.int64]:
        """The rows of a split, of all cohorts or of the named ones (after ``merge``)."""
        keep = self.table["split"] == split
        if cohorts and "cohort" in self.table:
            keep &= self.table["cohort"].isin(list(cohorts))
        return np.flatnonzero(keep.to_numpy())


def _check_boxes(
    name: str, table: pd.DataFrame, boxes: BoxTable, pathologies: Sequence[str]
) -> None:
    frame = boxes.frame()
    # A comparison with NaN is false: an unknown corner is refused, too.
    right = (frame["x1"] <= frame["x2"]) & (frame["y1"] <= frame["y2"])
    if not right.all():
        wrong = frame[~right].iloc[0]
        corners = ", ".join(f"{corner} {wrong[corner]:g}" for corner in ("x1", "y1", "x2", "y2"))
        raise DataError(
            f"cohort '{name}': expected boxes with x1 <= x2 and y1 <= y2, found "
            f"{int((~right).sum())} other(s); the first, of image "
            f"'{table['image_id'].iat[int(wrong['row'])]}', "
            f"{pathologies[int(wrong['label'])]}, has {corners}"
        )


def merge(cohorts: Sequence[Cohort], pathologies: Sequence[str] | None = None) -> Cohort:
    """All cohorts of a run as one, so that patients, rows and classes are common to all stages.

    The table gains the columns ``cohort`` and ``exclusive`` (of the row's cohort). With more than
    one cohort, image ids are prefixed by the cohort's name, patient and study ids by its patient
    namespace. A label or an organ that a cohort does not know is NaN there.

    Args:
        cohorts: at least one.
        pathologies: the classes of the run; all that occur, in order of appearance, if None.

    Raises:
        DataError: if a class is unknown.
    """
    known = list(dict.fromkeys(name for cohort in cohorts for name in cohort.pathologies))
    classes = list(pathologies) if pathologies is not None else known
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise DataError(f"label(s) {unknown} are in no cohort; known: {', '.join(known)}")
    organs = tuple(dict.fromkeys(name for cohort in cohorts for name in cohort.organs))
    starts = np.cumsum([0, *(len(cohort) for cohort in cohorts)])
    return Cohort(
        name="+".join(cohort.name for cohort in cohorts),
        table=_merged_table(cohorts, classes),
        pathologies=tuple(classes),
        images=_Joined([cohort.images for cohort in cohorts], starts),
        exclusive={cohort.exclusive for cohort in cohorts if cohort.pathologies} == {True},
        gaze=_merged_gaze(cohorts, starts),
        organs=organs,
        masks=_JoinedMasks(cohorts, starts, organs) if organs else None,
        boxes=_merged_boxes(cohorts, starts, classes),
        notes=[f"{cohort.name}: {note}" for cohort in cohorts for note in cohort.notes],
        problems=[problem for cohort in cohorts for problem in cohort.problems],
    )


def with_splits(cohort: Cohort, split: Sequence[str]) -> Cohort:
    """The cohort with another split column."""
    return replace(cohort, table=cohort.table.assign(split=list(split)))


class _Joined:
    def __init__(self, readers: Sequence[ImageReader], starts: npt.NDArray[np.int64]) -> None:
        self.readers, self.starts = list(readers), starts

    def locate(self, row: int) -> tuple[int, int]:
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return part, row - int(self.starts[part])

    def __call__(self, row: int) -> Pixels:
        part, local = self.locate(row)
        return self.readers[part](local)


class _JoinedMasks:
    def __init__(
        self, cohorts: Sequence[Cohort], starts: npt.NDArray[np.int64], organs: tuple[str, ...]
    ) -> None:
        self.cohorts, self.organs = list(cohorts), organs
        self.joined = _Joined([cohort.images for cohort in cohorts], starts)

    def __call__(self, row: int) -> Pixels:
        part, local = self.joined.locate(row)
        cohort = self.cohorts[part]
        masks = np.full((len(self.organs), *cohort.film_size(local)), np.nan, np.float32)
        if cohort.masks is not None:
            masks[[self.organs.index(name) for name in cohort.organs]] = cohort.masks(local)
        return masks

    def files(self, row: int) -> list[Path]:
        part, local = self.joined.locate(row)
        masks = self.cohorts[part].masks
        return masks.files(local) if isinstance(masks, ReadsFiles) else []


def _merged_table(cohorts: Sequence[Cohort], classes: list[str]) -> pd.DataFrame:
    parts = []
    for cohort in cohorts:
        part = cohort.table.assign(cohort=cohort.name, exclusive=cohort.exclusive)
        if len(cohorts) > 1:
            part["image_id"] = cohort.name + "/" + part["image_id"].astype(str)
            for column in ("patient_id", "study_id"):
                part[column] = cohort.patient_namespace + "/" + part[column].astype(str)
        for name in classes:
            if name not in cohort.pathologies:
                part[name] = np.nan
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _merged_gaze(cohorts: Sequence[Cohort], starts: npt.NDArray[np.int64]) -> GazeTable | None:
    tables = [(start, c.gaze) for start, c in zip(starts, cohorts, strict=False) if c.gaze]
    if not tables:
        return None
    pixels_per_degree = np.full(int(starts[-1]), np.nan)
    parts = []
    for start, gaze in tables:
        pixels_per_degree[start : start + gaze.n_rows] = gaze.pixels_per_degree
        part = gaze.frame()
        parts.append(part.assign(row=part["row"] + start))
    points = pd.concat(parts, ignore_index=True)
    samples = all(gaze.samples for _, gaze in tables)
    return GazeTable(points, int(starts[-1]), pixels_per_degree, samples=samples)


def _merged_boxes(
    cohorts: Sequence[Cohort], starts: npt.NDArray[np.int64], classes: list[str]
) -> BoxTable | None:
    if all(cohort.boxes is None for cohort in cohorts):
        return None
    known = np.zeros(int(starts[-1]), bool)
    parts = []
    for start, cohort in zip(starts, cohorts, strict=False):
        if cohort.boxes is None:
            continue
        known[start : start + len(cohort)] = cohort.boxes.known
        part = cohort.boxes.frame()
        names = [cohort.pathologies[label] for label in part["label"]]
        index = [classes.index(name) if name in classes else -1 for name in names]
        part = part.assign(row=part["row"] + start, label=np.array(index, np.int64))
        parts.append(part[part["label"] >= 0])
    return BoxTable(pd.concat(parts, ignore_index=True), known)

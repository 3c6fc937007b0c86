"""torchxrayvision both ways: its data sets as a cohort, a cohort where one of them is expected.

Duck-typed: torchxrayvision need not be installed. Its images are float32 (1, H, W) in
[-1024, 1024], its labels 1, 0 or NaN, its rows those of ``csv``.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from eye_gaze_data.cohort import Cohort, Pixels
from eye_gaze_data.errors import DataError
from eye_gaze_data.splits import split_by_patient

from .config import ReaderConfig
from .vocabulary import in_common, torchxrayvision_name

RANGE = 1024.0
_FRACTIONS: Mapping[str, float] = ReaderConfig.model_fields["fractions"].default
Transform = Callable[[Any], Any]


class TorchXRayVisionLike(Protocol):
    """What is used of a torchxrayvision data set."""

    @property
    def pathologies(self) -> Sequence[str]:
        """The columns of ``labels``."""

    @property
    def labels(self) -> npt.NDArray[Any]:
        """1, 0 or NaN, (n, K)."""

    @property
    def csv(self) -> pd.DataFrame:
        """What else is known of each row."""

    def __len__(self) -> int:
        """Number of films."""

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """``idx``, ``lab`` and ``img``."""


class _Images:
    """Reads the films of a torchxrayvision data set by row, as it transforms them."""

    def __init__(self, dataset: TorchXRayVisionLike, name: str) -> None:
        self.dataset, self.name = dataset, name

    def __call__(self, row: int) -> Pixels:
        """float32 (H, W) in [0, 1]."""
        film = np.asarray(self.dataset[int(row)]["img"], np.float32)
        if film.ndim != 3 or film.shape[0] != 1 or film.size == 0:
            raise DataError(
                f"cohort '{self.name}', row {row}: expected an image (1, H, W), found {film.shape}"
            )
        low, high = float(film.min()), float(film.max())
        # Resizing overshoots a little.
        if not (low >= -1.01 * RANGE and high <= 1.01 * RANGE):
            raise DataError(
                f"cohort '{self.name}', row {row}: expected grey levels in [-1024, 1024], "
                f"found [{low:g}, {high:g}]"
            )
        grey = film[0] / np.float32(2 * RANGE) + np.float32(0.5)
        return np.asarray(np.clip(grey, 0, 1), np.float32)


def from_torchxrayvision(
    dataset: TorchXRayVisionLike,
    name: str,
    *,
    size: tuple[int, int] | None = None,
    image_id: str | None = None,
    vocabulary: Literal["published", "common"] = "published",
    fractions: Mapping[str, float] = _FRACTIONS,
    split_seed: int = 0,
    patient_namespace: str = "",
) -> Cohort:
    """A torchxrayvision data set, merged or filtered or not, as a cohort split by patient.

    Its ``csv`` columns stay in the table as far as their names are free; ``view``, ``age_years``
    and the two of the sex become ``view``, ``age`` and ``sex``. Without a column ``patientid``
    every film is a patient of its own, which a note says. Its masks are not taken over.

    Args:
        dataset: as constructed; its own defaults (PA films, one a patient) have already left out
            films.
        name: of the cohort.
        size: (height, width) of all films after the data set's transform; each film is read once
            to learn its own if None.
        image_id: column of its ``csv`` that names films; the row number if None.
        vocabulary: label names as the data set has them, or the ``common`` ones.
        fractions: share of patients a split.
        split_seed: draws another split.
        patient_namespace: ``mimic`` for MIMIC-CXR.

    Raises:
        DataError: if labels, csv and films are not aligned, or a film is not as described.
        ConfigError: if a label has no common name.
    """
    csv, labels = _aligned(dataset, name)
    names = tuple(str(label) for label in dataset.pathologies)
    names = in_common(names) if vocabulary == "common" else names
    images = _Images(dataset, name)
    notes = []
    if "patientid" not in csv:
        notes.append("csv has no column 'patientid': every film is a patient of its own")
    ids = csv[image_id] if image_id else pd.Series(range(len(csv)))
    patients = csv.get("patientid", ids).astype(str).str.replace(r"^p(?=\d)", "", regex=True)
    sizes = [size or images(row).shape for row in range(len(csv))]
    columns: dict[str, Any] = {
        "image_id": ids.astype(str),
        "patient_id": patients,
        "study_id": ids.astype(str),
        "split": split_by_patient(list(patients), fractions, split_seed),
        "path": "",
        "height": [height for height, _ in sizes],
        "width": [width for _, width in sizes],
        "source": name,
        **dict(zip(names, labels.T, strict=True)),
        **_about(csv),
    }
    more = {str(column): csv[column] for column in csv if str(column) not in columns}
    table = pd.DataFrame({**columns, **more})
    return Cohort(
        name=name,
        table=table,
        pathologies=names,
        images=images,
        patient_namespace=patient_namespace,
        notes=notes,
    )


def _aligned(
    dataset: TorchXRayVisionLike, name: str
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """The csv with rows from 0, and the labels (n, K), which must fit it."""
    csv, labels = dataset.csv.reset_index(drop=True), np.asarray(dataset.labels, np.float64)
    if labels.shape != (len(csv), len(dataset.pathologies)) or len(dataset) != len(csv):
        raise DataError(
            f"cohort '{name}': expected {len(csv)} rows (csv) of {len(dataset.pathologies)} "
            f"labels, found labels {labels.shape} and {len(dataset)} films"
        )
    return csv, labels


def _about(csv: pd.DataFrame) -> dict[str, Any]:
    """View, age and sex by our names, where the data set knows them."""
    known: dict[str, Any] = {}
    if "view" in csv:
        known["view"] = csv["view"].fillna("").astype(str)
    if "age_years" in csv:
        known["age"] = pd.to_numeric(csv["age_years"], errors="coerce").astype(np.float64)
    if {"sex_male", "sex_female"} <= set(csv):
        male, female = (csv[name].to_numpy() == True for name in ("sex_male", "sex_female"))  # noqa: E712
        known["sex"] = np.where(male, "M", np.where(female, "F", ""))
    return known


class TorchXRayVisionView:
    """A cohort with the face of a torchxrayvision data set.

    Attributes:
        pathologies: by torchxrayvision's names, in the cohort's order.
        labels: float32 (n, K): 1, 0 or NaN.
        csv: the cohort's rows, with ``patientid``, ``view``, ``age_years``, ``sex_male``,
            ``sex_female`` where known, and ``has_masks``: whether the film has boxes.
    """

    def __init__(
        self,
        cohort: Cohort,
        rows: npt.NDArray[np.int64],
        transform: Transform | None,
        data_aug: Transform | None,
        *,
        pathology_masks: bool,
        semantic_masks: bool,
    ) -> None:
        self.cohort, self.rows = cohort, rows
        self.transform, self.data_aug = transform, data_aug
        self.pathology_masks, self.semantic_masks = pathology_masks, semantic_masks
        self.pathologies = [torchxrayvision_name(name) for name in cohort.pathologies]
        self._names = list(self.pathologies)  # relabel_dataset replaces the public list
        self.labels = cohort.labels[rows]
        self.csv = _csv(cohort, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        row = int(self.rows[idx])
        film = self.cohort.images(row)
        sample: dict[str, Any] = {
            "idx": idx,
            "lab": self.labels[idx],
            "img": (film[None] * 2 - 1) * np.float32(RANGE),
        }
        if self.pathology_masks:
            sample["pathology_masks"] = self._boxed(row, film.shape)
        if self.semantic_masks and self.cohort.masks is not None:
            planes = zip(self.cohort.organs, self.cohort.masks(row), strict=True)
            known = {organ: plane[None] for organ, plane in planes if not np.isnan(plane).any()}
            sample["semantic_masks"] = known
        for transform in (self.transform, self.data_aug):
            _transformed(sample, transform)
        return sample

    def _boxed(self, row: int, shape: tuple[int, ...]) -> dict[int, Pixels]:
        """A mask (1, H, W) for each label with boxes, by its column; 1 inside any of them."""
        masks: dict[int, Pixels] = {}
        if self.cohort.boxes is None:
            return masks
        height, width = self.cohort.size_of(row)
        across, down = shape[1] / width, shape[0] / height
        for (x1, y1, x2, y2), label in zip(*self.cohort.boxes.of(row), strict=True):
            if self._names[label] not in self.pathologies:
                continue
            column = self.pathologies.index(self._names[label])
            mask = masks.setdefault(column, np.zeros((1, *shape), np.float32))
            left, right = int(max(x1, 0) * across), int(np.ceil(x2 * across))
            top, bottom = int(max(y1, 0) * down), int(np.ceil(y2 * down))
            mask[:, top:bottom, left:right] = 1
        return masks

    def string(self) -> str:
        """What torchxrayvision prints of a data set."""
        return f"{self.cohort.name} num_samples={len(self)} data_aug={self.data_aug}"

    def __repr__(self) -> str:
        return self.string()


def as_torchxrayvision(
    cohort: Cohort,
    split: str | None = None,
    *,
    transform: Transform | None = None,
    data_aug: Transform | None = None,
    pathology_masks: bool = False,
    semantic_masks: bool = False,
) -> TorchXRayVisionView:
    """A cohort, or one of its splits, where a torchxrayvision data set is expected.

    Args:
        cohort: any.
        split: rows of this split only; all if None.
        transform: called with each image (1, H, W) in [-1024, 1024] and each mask.
        data_aug: likewise, after it. Both see the same random state for the image and its masks,
            drawn from numpy's global generator as torchxrayvision does.
        pathology_masks: whether samples carry a mask (1, H, W) for each label with boxes.
        semantic_masks: whether samples carry the organ masks by name.
    """
    rows = np.arange(len(cohort)) if split is None else cohort.rows_of(split)
    return TorchXRayVisionView(
        cohort,
        rows,
        transform,
        data_aug,
        pathology_masks=pathology_masks,
        semantic_masks=semantic_masks,
    )


def _csv(cohort: Cohort, rows: npt.NDArray[np.int64]) -> pd.DataFrame:
    table = cohort.table.iloc[rows].reset_index(drop=True)
    columns: dict[str, Any] = {"patientid": table["patient_id"].astype(str)}
    if "age" in table:
        columns["age_years"] = table["age"]
    if "sex" in table:
        columns |= {"sex_male": table["sex"] == "M", "sex_female": table["sex"] == "F"}
    boxed = [cohort.boxes is not None and len(cohort.boxes.of(row)[1]) > 0 for row in rows]
    return table.assign(**columns, has_masks=boxed)


def _transformed(sample: dict[str, Any], transform: Transform | None) -> None:
    """Apply a transform to the image and its masks, each under the same random state."""
    if transform is None:
        return
    seed = int(np.random.randint(2**31 - 1))
    parts = [(sample, "img")]
    for kind in ("pathology_masks", "semantic_masks"):
        parts += [(sample[kind], key) for key in sample.get(kind, {})]
    for holder, key in parts:
        random.seed(seed)
        torch.manual_seed(seed)
        holder[key] = transform(holder[key])

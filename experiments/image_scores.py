"""All rows of the gaze tables for one image after the other, so that memory does not grow."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.density import Map, count_fixations
from eye_gaze_data.gaze import Gaze
from eye_gaze_data.geometry import Frame
from saliency.baselines import CentreBias, leave_one_reader_out, uniform_density
from saliency.metrics import Points
from saliency.metrics.pool import FixationPool

from .config import EvaluateConfig
from .floors import Floors, lung_box_of
from .metric_names import METRICS
from .predictor import Prediction, grid_of, resample_density
from .scoring import Reasons, Truth, score_map, score_uniform, score_variants

# The rows of the table of gaze, and the prefixes of their columns in per_image.csv.
ROWS = {
    "model": "",
    "class_activation": "activation_",
    "anatomical_prior": "anatomical_prior_",
    "centre_bias": "centre_bias_",
    "uniform": "uniform_",
}
# Rows against one reader at a time, in per_reader.csv.
READER_ROWS = {"model_one_reader": "model_", "leave_one_reader_out": "others_"}
# More negatives than this are sampled by seed.
MOST_NEGATIVES = 100_000


@dataclass(frozen=True)
class Grid:
    """An evaluation grid of one image."""

    original: tuple[int, int]
    frame: Frame
    size: tuple[int, int]
    film: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, original: tuple[int, int], long_side: int) -> "Grid":
        """The grid whose long side is given; all of it is film."""
        frame, size = grid_of(original, long_side)
        return cls(original, frame, size, np.ones(size, bool))


def prediction_maps(prediction: Prediction, grid: Grid) -> dict[str, Map]:
    """What a network says of an image, on a grid."""
    found: dict[str, Map] = {}
    if prediction.density is not None:
        found["model"] = resample_density(prediction, grid.frame, grid.size)
    if prediction.activation is not None:
        found["class_activation"] = resample_density(
            prediction, grid.frame, grid.size, "activation"
        )
    return found


@dataclass(frozen=True)
class ImageScorer:
    """Scores images beside their floors.

    Attributes:
        cohort: whose images.
        dataset: renders the truth by the evaluation's recipe.
        settings: of the evaluation.
        floors: by cohort.
        seed: of samples.
        pools: fixations by group.
        reasons: why scores are undefined; grows as images are scored.
        no_likelihood: rows whose maps are no densities, so that they gain no information.
        leave_out: the floors were fitted on these very images, so that each patient's fixations
            are taken out of the centre bias before it is scored.
        enlarge: whether a small image gets the long side of ``settings.grid`` too.
    """

    cohort: Cohort
    dataset: GazeDataset
    settings: EvaluateConfig
    floors: Mapping[str, Floors]
    seed: int
    pools: dict[str, FixationPool] = field(default_factory=dict)
    reasons: Reasons = field(default_factory=Reasons)
    no_likelihood: frozenset[str] = frozenset({"class_activation"})
    leave_out: bool = False
    enlarge: bool = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of every row."""
        return (*METRICS, "emd") if self.settings.emd else METRICS

    def group_of(self, row: int) -> str:
        """What the row is reported under; a cohort without sources is a group by itself."""
        entry = self.cohort.table.iloc[row]
        return str(entry[self.settings.group] or entry["cohort"])

    def grid_of(self, row: int) -> Grid:
        """The evaluation's grid of an image."""
        original = self.cohort.size_of(row)
        side = self.settings.grid
        return Grid.of(original, side if self.enlarge else min(side, max(original)))

    def facts(self, row: int) -> dict[str, Any]:
        """What every table says of an image."""
        entry = self.cohort.table.iloc[row]
        return {
            "index": row,
            "image_id": entry["image_id"],
            "patient_id": entry["patient_id"],
            "group": self.group_of(row),
        }

    def score(self, row: int, given: Callable[[Grid], dict[str, Map]]) -> dict[str, Any]:
        """The image's row of ``per_image.csv``, without the diagnosis.

        Args:
            row: of the cohort.
            given: the maps to score beside the floors, by row of the table.
        """
        counted = {"n_fixations": 0, "n_readers": 0, "n_dropped": 0}
        gaze = None if self.cohort.gaze is None else self.cohort.gaze.of(row)
        if gaze is None or not len(gaze):
            return {**self.facts(row), **counted}
        grid, group = self.grid_of(row), self.group_of(row)
        truth, dropped = self.truth(row, gaze, grid, *self.beside(row, grid))
        counted["n_fixations"] = int(truth.counts.sum())
        counted["n_readers"], counted["n_dropped"] = len(gaze.readers), dropped
        scored: dict[str, Any] = {}
        for name, density in {**given(grid), **self._floor_maps(row, grid, truth)}.items():
            likely = name not in self.no_likelihood
            scores = score_map(density, truth, self.metrics, is_density=likely)
            if self.settings.variants:
                scores |= score_variants(density, truth)
            values = self.reasons.note(group, name, scores)
            scored |= {f"{ROWS[name]}{metric}": value for metric, value in values.items()}
        values = self.reasons.note(group, "uniform", score_uniform(truth, self.metrics))
        scored |= {f"{ROWS['uniform']}{metric}": value for metric, value in values.items()}
        return {**self.facts(row), **counted, **scored}

    def score_readers(
        self, row: int, given: Callable[[Grid], dict[str, Map]]
    ) -> Iterator[dict[str, Any]]:
        """The image's rows of ``per_reader.csv``, one a reader; none with a single reader.

        Without the earth mover's distance, which would take seconds for each of them.
        """
        ceiling = self._floors(row).ceiling
        if self.cohort.gaze is None or ceiling is None:
            return
        grid, group = self.grid_of(row), self.group_of(row)
        others, centre = self.beside(row, grid)
        prior = uniform_density(grid.film) if centre is None else centre
        model = given(grid).get("model")
        for left in leave_one_reader_out(self.cohort.gaze.of(row), grid.original):
            truth, _ = self.truth(row, left.own, grid, others, centre)
            maps = {
                "leave_one_reader_out": ceiling.density(
                    left.others, grid.original, grid.frame, grid.size, grid.film, prior
                )
            }
            if model is not None:
                maps["model_one_reader"] = model
            scored: dict[str, Any] = {"reader": left.reader, "n_others": left.n_others}
            for name, density in maps.items():
                likely = name != "model_one_reader" or "model" not in self.no_likelihood
                scores = score_map(density, truth, METRICS, is_density=likely)
                values = self.reasons.note(group, name, scores)
                prefix = READER_ROWS[name]
                scored |= {f"{prefix}{metric}": value for metric, value in values.items()}
            yield {**self.facts(row), **scored}

    def truth(
        self,
        row: int,
        gaze: Gaze,
        grid: Grid,
        others: Points | None = None,
        centre: Map | None = None,
    ) -> tuple[Truth, int]:
        """Where some points of an image are on a grid, and how many lie off the film.

        Args:
            row: of the image.
            gaze: the points.
            grid: of the image.
            others: see ``Truth``.
            centre: the centre bias on the grid.
        """
        density = self.dataset.density(row, gaze, grid.frame, grid.film)
        counts, dropped = count_fixations(gaze.x, gaze.y, grid.frame, grid.film)
        truth = Truth(
            density if counts.any() else None,
            counts,
            others,
            centre,
            None if grid.film.all() else grid.film,
        )
        return truth, dropped

    def beside(self, row: int, grid: Grid) -> tuple[Points | None, Map | None]:
        """What a truth is seen beside: fixations of other patients, and the centre bias."""
        pool = self.pools.get(self.group_of(row))
        others, bias = None, self.centre_bias(row, grid)
        if pool is not None and grid.film.all():
            patient = str(self.cohort.table["patient_id"].iat[row])
            others = pool.others(patient, grid.size, limit=MOST_NEGATIVES, seed=self.seed)
        return others, bias

    def centre_bias(self, row: int, grid: Grid) -> Map | None:
        """The centre bias on an image's grid; None where nobody's gaze is known."""
        centre = self._centre(row)
        if centre is None:
            return None
        return centre.density(grid.original, grid.frame, grid.size, grid.film)

    def _floor_maps(self, row: int, grid: Grid, truth: Truth) -> dict[str, Map]:
        found: dict[str, Map] = {}
        prior = self._floors(row).prior
        box = None if prior is None else lung_box_of(self.cohort, row)
        if prior is not None and box is not None:
            found["anatomical_prior"] = prior.density(box, grid.frame, grid.size, grid.film)
        if truth.baseline is not None:
            found["centre_bias"] = truth.baseline
        return found

    def _floors(self, row: int) -> Floors:
        return self.floors.get(str(self.cohort.table["cohort"].iat[row]), Floors())

    @cached_property
    def _rows_of_patients(self) -> dict[Any, list[int]]:
        found: dict[Any, list[int]] = {}
        for row, patient in enumerate(self.cohort.table["patient_id"]):
            found.setdefault(patient, []).append(row)
        return found

    def _centre(self, row: int) -> CentreBias | None:
        centre = self._floors(row).centre
        if centre is None or self.cohort.gaze is None or not self.leave_out:
            return centre
        patient = self.cohort.table["patient_id"].iat[row]
        for own in self._rows_of_patients[patient]:
            gaze = self.cohort.gaze.of(own)
            if len(gaze.within(self.cohort.size_of(own))):
                centre = centre.without((gaze.x, gaze.y), self.cohort.size_of(own))
        return centre

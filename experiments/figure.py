"""A figure for papers: some cases by several systems; letters, points and boxes are vectors."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.density import Map
from eye_gaze_data.errors import ConfigError, nearest
from eye_gaze_data.files import write_atomic
from eye_gaze_data.geometry import map_boxes, map_points

from .build import build_cohorts
from .cases import film_on
from .compare import ScoredRun, read_scored
from .finished import FinishedStage
from .image_scores import Grid, prediction_maps
from .predictions import StoredPredictions
from .report.pictures import coloured, times_uniform

SUFFIXES = (".pdf", ".svg", ".png")
LONG_SIDE = 512
INCHES = 1.8
NOTICE = "gazedx. Research use only. One colour scale a row, in multiples of the uniform density."
# Text stays text, so that a journal can set its own letters.
STYLE: dict[Any, object] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.size": 7,
    "svg.hashsalt": "gazedx",
}


@dataclass(frozen=True)
class System:
    """An evaluated run of the figure.

    Attributes:
        scored: what its evaluation left.
        cohort: its images.
        store: its predictions; the network runs for those that were not stored.
    """

    scored: ScoredRun
    cohort: Cohort
    store: StoredPredictions

    @classmethod
    def load(cls, run: Path) -> "System":
        """From a run folder.

        Raises:
            ConfigError: if its stage predicts no gaze.
            DataError: if it was not evaluated.
        """
        finished = FinishedStage.load(run)
        if not finished.has_saliency:
            raise ConfigError(f"{run}: stage '{finished.stage.name}' predicts no gaze to draw")
        cohort = build_cohorts(finished.config)
        return cls(read_scored(run), cohort, StoredPredictions(finished, cohort))

    def row_of(self, image: str) -> int:
        """The row of an image.

        Raises:
            ConfigError: if the run was not evaluated on it.
        """
        images = self.scored.images
        known = images["image_id"].tolist()
        if image not in known:
            where = f"{self.scored.path}: image '{image}' was not evaluated"
            raise ConfigError(f"{where}; {nearest(image, known)}")
        return int(images["index"].iloc[known.index(image)])

    def density(self, image: str, grid: Grid) -> Map:
        """The predicted density of an image on a grid."""
        row = self.row_of(image)
        self.store.ensure([row])
        return prediction_maps(self.store.of(row), grid)["model"]

    def correlation(self, image: str) -> float:
        """CC of an image, NaN where it is undefined."""
        images = self.scored.images
        if "cc" not in images:
            return float("nan")
        return float(images["cc"].iloc[images["image_id"].tolist().index(image)])


def draw_figure(runs: Sequence[Path], images: Sequence[str], path: Path) -> None:
    """Write a figure: a row a case; film, gaze of its readers, and each system's prediction.

    Args:
        runs: evaluated run folders; film, gaze and boxes are the first one's.
        images: image ids; without any, the first run's cases of best, median and worst CC.
        path: ends in .pdf, .svg or .png.

    Raises:
        ConfigError: if the ending or an image is unknown, or a run predicts no gaze.
    """
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    systems = [System.load(run) for run in runs]
    chosen = list(images) or _extremes(systems[0])
    columns = ["film", "readers", *_labels(systems)]
    with mpl.rc_context(STYLE):
        figure = Figure((INCHES * len(columns), INCHES * 1.2 * len(chosen) + 0.3))
        axes = figure.subplots(len(chosen), len(columns), squeeze=False)
        for name, axis in zip(columns, axes[0], strict=True):
            axis.set_title(name, fontsize=8)
        for image, line in zip(chosen, axes, strict=True):
            _draw_case(systems, image, line)
        figure.text(0.5, 0.005, NOTICE, ha="center", va="bottom", fontsize=5, color="0.4")
        figure.subplots_adjust(0.02, 0.04, 0.98, 0.95, wspace=0.04, hspace=0.16)
        drawn = io.BytesIO()
        facts = {"Date": None} if path.suffix == ".svg" else {}
        facts |= {"CreationDate": None} if path.suffix == ".pdf" else {}
        figure.savefig(drawn, format=path.suffix[1:], dpi=200, metadata=facts)
    write_atomic(path, lambda file: file.write(drawn.getvalue()))


def _extremes(system: System) -> list[str]:
    """The images of best, median and worst CC."""
    ranked = system.scored.images.dropna(subset="cc").sort_values("cc", ascending=False)
    names = ranked["image_id"].tolist()
    if not names:
        raise ConfigError(f"{system.scored.path}: no image has a CC; name some with --case")
    return list(dict.fromkeys([names[0], names[(len(names) - 1) // 2], names[-1]]))


def _labels(systems: Sequence[System]) -> list[str]:
    """The runs' names, or their folders' where names repeat."""
    names = [system.scored.name for system in systems]
    folders = [system.scored.path.name for system in systems]
    return names if len(set(names)) == len(names) else folders


def _draw_case(systems: Sequence[System], image: str, line: npt.NDArray[np.object_]) -> None:
    first = systems[0]
    row, cohort = first.row_of(image), first.cohort
    grid = Grid.of(cohort.size_of(row), LONG_SIDE)
    film = film_on(cohort, row, grid)
    truth = _truth(first, row, grid)
    maps = [truth, *(system.density(image, grid) for system in systems)]
    highest = max(float(np.nanmax(one)) for one in maps if one is not None)
    notes = ["", *(f"CC {system.correlation(image):.2f}" for system in systems)]
    _draw_film(line[0], film, image)
    _draw_boxes(line[0], cohort, row, grid)
    line[0].set_xlabel(f"{image}, scale to {times_uniform(highest, film.size)}", fontsize=6)
    for axis, density, note in zip(line[1:], maps, notes, strict=True):
        _draw_film(axis, film, "" if density is not None else "nobody looked")
        if density is not None:
            axis.imshow(coloured(density, highest), extent=_extent(film), interpolation="bilinear")
        axis.set_xlabel(note if "nan" not in note else "CC undefined", fontsize=6)
    _draw_fixations(line[1], cohort, row, grid)


def _truth(system: System, row: int, grid: Grid) -> Map | None:
    cohort, finished = system.cohort, system.store.finished
    if cohort.gaze is None or not cohort.has_gaze[row]:
        return None
    recipe, size = finished.config.evaluate.gaze, finished.stage.data.image_size
    dataset = GazeDataset(cohort, size, gaze=recipe)
    gaze = cohort.gaze.of(row).within(cohort.size_of(row))
    return dataset.density(row, gaze, grid.frame, grid.film)


def _extent(film: npt.NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """In the continuous frame, where pixel i spans [i, i + 1)."""
    return 0.0, float(film.shape[1]), float(film.shape[0]), 0.0


def _draw_film(axis: Axes, film: npt.NDArray[np.uint8], name: str) -> None:
    axis.imshow(film, cmap="gray", vmin=0, vmax=255, extent=_extent(film))
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_gid(name or None)


def _draw_boxes(axis: Axes, cohort: Cohort, row: int, grid: Grid) -> None:
    if cohort.boxes is None:
        return
    boxes, labels = cohort.boxes.of(row)
    moved, kept = map_boxes(grid.frame, boxes, grid.size, keep_area=0)
    for (x1, y1, x2, y2), label in zip(moved, labels[kept], strict=True):
        axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec="#ffd166", lw=0.8))
        name = cohort.pathologies[label]
        axis.text(x1, y1, name, color="#ffd166", fontsize=5, va="bottom", clip_on=True)


def _draw_fixations(axis: Axes, cohort: Cohort, row: int, grid: Grid) -> None:
    if cohort.gaze is None or not cohort.has_gaze[row]:
        return
    gaze = cohort.gaze.of(row).within(cohort.size_of(row))
    for reader in gaze.readers:
        one = gaze.of_reader(reader)
        x, y = map_points(grid.frame, one.x, one.y)
        axis.plot(x, y, ".", ms=1.2, alpha=0.6, label=str(reader))
    axis.set_xlim(0, grid.size[1])
    axis.set_ylim(grid.size[0], 0)

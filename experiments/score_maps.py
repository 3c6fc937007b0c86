"""``gazedx score``: anybody's saliency maps, scored as our models are, without any of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eye_gaze_data.config import GazeConfig, Recipe
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.density import Map
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import write_json
from eye_gaze_data.geometry import fit_frame, warp_pixels
from saliency.baselines import CentreBias, ReaderCeiling

from . import GAZEDX_VERSION
from .cases import choose_rows, save_cases
from .config import EvaluateConfig
from .floors import Floors, Rows, fit_pools
from .identity import identity
from .image_scores import MOST_NEGATIVES, Grid, ImageScorer
from .map_files import MapFolder, read_map
from .record import now, versions
from .report.write import GIVEN_MAPS
from .summary import saliency_tables, write_tables

DEFINITIONS = {
    "interval": "BCa bootstrap over patients (over images where no patient is named); over readers "
    "too where rows are readers'",
    "centre_bias": "fixations of the other patients' images, bandwidth by cross-validation",
    "leave_one_reader_out": "each reader predicted by the other readers of the same image",
    "model_one_reader": "the maps against one reader at a time, to compare with the row above",
    "sauc": f"negatives are the fixations of other patients, at most {MOST_NEGATIVES}",
    "resize": "a map of another size is brought to the grid bilinearly, antialiased; it is never "
    "scaled, shifted or clipped",
}


def score_maps(
    given: MapFolder,
    out: Path,
    settings: EvaluateConfig,
    *,
    densities: bool = False,
    seed: int = 0,
    command: str = "",
    step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Score maps and write ``run.json`` and ``evaluate/`` into a folder, but for the report.

    Args:
        given: the maps and their fixations.
        out: the folder.
        settings: grid (of longer images; shorter ones keep their own), recipe, intervals.
        densities: the maps are probability densities: they are divided by their sum, and scored by
            information gain too. Other maps have no likelihood.
        seed: of the intervals.
        command: for ``run.json``.
        step: called after each image.

    Returns:
        the content of ``metrics.json``.
    """
    started = now()
    cohort = given.cohort
    rows = np.arange(len(cohort))
    scorer = _scorer(given, settings, seed, densities=densities)

    def maps(row: int) -> Callable[[Grid], dict[str, Map]]:
        return lambda grid: {"model": map_on_grid(given.paths[row], grid, densities=densities)}

    images: list[dict[str, Any]] = []
    readers: list[dict[str, Any]] = []
    for row in rows.tolist():
        images.append(scorer.score(row, maps(row)))
        readers += scorer.score_readers(row, maps(row))
        step()
    folder = out / "evaluate"
    table, by_reader = write_tables(folder, images, readers)
    draws = {"resamples": settings.resamples, "seed": seed}
    metrics = {
        "stage": GIVEN_MAPS,
        "split": settings.split,
        "grid": settings.grid,
        "identity": identity(cohort, rows, settings),
        "bootstrap": {**draws, "level": 0.95, "unit": "patient"},
        "definitions": DEFINITIONS,
        "baselines": {name: floors.facts() for name, floors in scorer.floors.items()},
        "n_unused_maps": given.n_unused,
        "saliency": saliency_tables(scorer, table, by_reader, draws),
        "diagnosis": {},
    }
    cases = choose_rows(table, settings.cases)
    save_cases(folder / "cases", scorer, cases, lambda row: lambda grid: _shown(maps(row)(grid)))
    write_json(folder / "metrics.json", metrics)
    facts = {
        "name": out.name, "seed": seed, "gazedx": GAZEDX_VERSION, "started": started,
        "finished": now(), "versions": versions(), "device": "cpu", "command": command,
    }  # fmt: skip
    write_json(out / "run.json", facts)
    return metrics


def map_on_grid(path: Path, grid: Grid, *, densities: bool = False) -> Map:
    """A map from a file on an evaluation grid.

    Args:
        path: of the map.
        grid: of the image.
        densities: divide by the sum afterwards.

    Returns:
        float64 (h, w); infinite throughout if one of its values is not finite, as interpolation
        would spread it over a part of the map and hide it from the rest.

    Raises:
        DataError: if the map's shape is another than the image's.
    """
    values = read_map(path)
    height, width = values.shape
    stretch = (width / height) / (grid.original[1] / grid.original[0])
    # A side may be rounded by half a pixel.
    if abs(stretch - 1) > 0.5 / height + 0.5 / width + 1e-9:
        raise DataError(
            f"{path}: expected a map with the shape of its image, {grid.original[1]} wide and "
            f"{grid.original[0]} high, or scaled alike; found {width} wide and {height} high"
        )
    if not np.isfinite(values).all():
        return np.full(grid.size, np.inf)
    if values.shape != grid.size:
        frame = fit_frame((height, width), grid.size, "stretch")
        # Interpolation is in float32: large or tiny values must not leave its range.
        top = float(np.abs(values).max()) or 1.0
        moved = warp_pixels(torch.from_numpy(values / top)[None].float(), frame, grid.size)
        values = moved[0].double().numpy() * top
    total = values.sum()
    return values / total if densities and total > 0 and values.min() >= 0 else values


def _shown(maps: dict[str, Map]) -> dict[str, Map]:
    """Maps as pictures beside a density: from 0, with sum 1; NaN if they have no mass."""
    found = {}
    for name, values in maps.items():
        raised = values - min(0.0, float(values.min()))
        total = float(raised.sum())
        usable = np.isfinite(total) and total > 0
        found[name] = raised / total if usable else np.full(values.shape, np.nan)
    return found


def _scorer(
    given: MapFolder, settings: EvaluateConfig, seed: int, *, densities: bool
) -> ImageScorer:
    cohort = given.cohort
    rows = np.flatnonzero(cohort.has_gaze)
    if not len(rows):
        raise DataError("the fixation table has no fixation on any image")
    dataset = GazeDataset(cohort, (1, 1), seed, gaze=settings.gaze)
    scorer = ImageScorer(
        cohort,
        dataset,
        settings,
        {cohort.name: _floors(given, rows)},
        seed,
        no_likelihood=frozenset() if densities else frozenset({"model"}),
        leave_out=True,
        enlarge=False,
    )
    scorer.pools.update(fit_pools(cohort, scorer.group_of, rows))
    return scorer


def _floors(given: MapFolder, rows: Rows) -> Floors:
    """Fitted on all images: a patient's own are left out when one of them is scored."""
    why: dict[str, str] = {}
    centre, ceiling = None, None
    try:
        centre = CentreBias.of_cohort(given.cohort, rows)
    except DataError as error:
        why["centre_bias"] = str(error)
    try:
        ceiling = ReaderCeiling.of_cohort(given.cohort, rows)
    except DataError as error:
        why["leave_one_reader_out"] = str(error)
    return Floors(centre, None, ceiling, why)


def settings_for(
    *, grid: int, sigma: float | None, weight: str, resamples: int, variants: bool, emd: bool
) -> EvaluateConfig:
    """The evaluation's settings out of the options of the command.

    Args:
        grid: long side of the grid of longer images.
        sigma: of the true density as a fraction of the image's height; the preset ``paper`` if
            None.
        weight: ``count`` or ``duration``.
        resamples: of the bootstrap.
        variants: also the metrics of other codes.
        emd: also the earth mover's distance.

    Raises:
        ConfigError: if the weight or the sigma is out of range.
    """
    if weight not in ("count", "duration"):
        raise ConfigError(f"--weight: expected count or duration, found '{weight}'")
    if sigma is not None and not 0 < sigma <= 0.25:
        raise ConfigError(f"--sigma: expected a share of the height in (0, 0.25], found {sigma}")
    gaze = GazeConfig()
    recipe = gaze.resolved().model_dump() | {"weight": weight}
    if sigma is not None:
        recipe |= {"sigma": sigma, "cut": None}
    return EvaluateConfig(
        grid=grid,
        gaze=GazeConfig(recipe=Recipe.model_validate(recipe)),
        resamples=resamples,
        variants=variants,
        emd=emd,
        sensitivity=0,
    )

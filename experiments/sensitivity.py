"""How far the scores hang on the evaluation's own choices: sigma, grid, first fixation, padding."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.gaze import Gaze

from .image_scores import Grid, ImageScorer
from .predictions import StoredPredictions
from .predictor import Prediction, resample_density
from .scoring import score_map

METRICS = ("cc", "nss", "kld", "sim", "auc")
COMPARED = ("model", "centre_bias")
SIGMAS = (0.5, 1.0, 2.0)
GRIDS = (160, 320, 640)


@dataclass(frozen=True)
class Setting:
    """One way to score an image that differs in one choice from the evaluation.

    Attributes:
        name: in the table.
        sigma: factor on the recipe's sigma.
        grid: long side; 0 for the image's own pixels; None for the evaluation's.
        first_fixation: whether each reader's first fixation counts.
        network_grid: score on the network's grid, with ``film`` only or with ``padding`` as film.
    """

    name: str
    sigma: float = 1.0
    grid: int | None = None
    first_fixation: bool = True
    network_grid: str = ""


def settings_of(scorer: ImageScorer) -> tuple[Setting, ...]:
    """The settings that make sense for a cohort; raw samples have no first fixation."""
    found = [Setting("as evaluated")]
    found += [Setting(f"sigma × {factor:g}", sigma=factor) for factor in SIGMAS if factor != 1.0]
    found += [Setting(f"grid {side}", grid=side) for side in GRIDS if side != scorer.settings.grid]
    found.append(Setting("grid of the image's own pixels", grid=0))
    if scorer.cohort.gaze is not None and not scorer.cohort.gaze.samples:
        found.append(Setting("without each reader's first fixation", first_fixation=False))
    found.append(Setting("network grid, film only", network_grid="film"))
    found.append(Setting("network grid, padding counted as film", network_grid="padding"))
    return tuple(found)


def sensitivity_table(
    scorer: ImageScorer,
    store: StoredPredictions,
    table: pd.DataFrame,
    most: int,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Means of the model and of the centre bias under each setting, by group.

    Args:
        scorer: of the evaluation.
        store: its predictions.
        table: ``per_image.csv``.
        most: images at the most in each group, drawn by the run's seed; 0 for no table.
        step: called after each image.
    """
    found: dict[str, Any] = {}
    for group, part in table[table["n_readers"] > 0].groupby("group", sort=False):
        rows = part["index"].to_numpy(np.int64)
        if len(rows) > most:
            generator = np.random.default_rng([scorer.seed, 4])
            rows = np.sort(generator.choice(rows, most, replace=False))
        if not len(rows):
            continue
        settings = settings_of(scorer)
        datasets = {factor: _dataset(scorer, factor) for factor in SIGMAS}
        scores: dict[tuple[str, str, str], list[float]] = {}
        for row in rows.tolist():
            prediction = store.of(row)
            for setting in settings:
                one = replace(scorer, dataset=datasets[setting.sigma])
                for key, value in _score(one, prediction, row, setting):
                    scores.setdefault((setting.name, *key), []).append(value)
            step()
        found[str(group)] = {
            "n_images": len(rows),
            "rows": [{"setting": s.name, **_means(scores, s.name)} for s in settings],
        }
    return found


def _score(
    scorer: ImageScorer, prediction: Prediction, row: int, setting: Setting
) -> Iterator[tuple[tuple[str, str], float]]:
    """Row, metric and value of one image under one setting."""
    if scorer.cohort.gaze is None:
        return
    gaze, original = scorer.cohort.gaze.of(row), scorer.cohort.size_of(row)
    if not setting.first_fixation:
        gaze = without_first(gaze)
    side = scorer.settings.grid if setting.grid is None else setting.grid or max(original)
    grid = Grid.of(original, side)
    if setting.network_grid:
        size = (int(prediction.valid.shape[-2]), int(prediction.valid.shape[-1]))
        grid = Grid(original, prediction.frame, size, prediction.valid[0].numpy())
    _, centre = scorer.beside(row, grid)
    truth, _ = scorer.truth(row, gaze, grid, None, centre)
    maps = {"centre_bias": centre}
    if prediction.density is not None:
        maps["model"] = resample_density(prediction, grid.frame, grid.size)
    if setting.network_grid == "padding":
        # All maps stay 0 there; it only joins what is compared.
        truth = replace(truth, valid=None)
    for name, density in maps.items():
        if density is not None:
            scores = score_map(density, truth, METRICS)
            yield from (((name, metric), value) for metric, (value, _) in scores.items())


def without_first(gaze: Gaze) -> Gaze:
    """The points without the first of each reader; they are in order of time within a reader."""
    names = gaze.reader.astype(str)
    return gaze.select(np.r_[False, names[1:] == names[:-1]][: len(gaze)])


def _dataset(scorer: ImageScorer, factor: float) -> GazeDataset:
    gaze = scorer.settings.gaze
    recipe = gaze.resolved()
    wider = recipe.model_copy(update={"sigma": recipe.sigma * factor})
    return GazeDataset(
        scorer.cohort,
        scorer.dataset.size,
        scorer.seed,
        gaze=gaze.model_copy(update={"recipe": wider}),
    )


def _means(scores: dict[tuple[str, str, str], list[float]], setting: str) -> dict[str, Any]:
    return {
        row: {
            metric: _mean(scores[setting, row, metric])
            for metric in METRICS
            if (setting, row, metric) in scores
        }
        for row in COMPARED
        if (setting, row, METRICS[0]) in scores
    }


def _mean(values: list[float]) -> float:
    known = np.array(values)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else float("nan")

"""Detection metrics of runs side by side, and their differences on the same films."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from diagnosis.metrics import Matches, mean_average_precision, side_by_side
from eye_gaze_data.errors import ConfigError
from saliency.metrics import bootstrap_statistics
from saliency.metrics.comparison import Comparison, seed_spread

from .detection_scores import THRESHOLDS

Numbers = npt.NDArray[np.float64]
TITLES = {"map": "mAP", "ap50": "AP50"}
Tables = Mapping[str, Mapping[str, Any]]
# Each resample weighs all boxes anew: fewer of them than of means.
MOST_RESAMPLES = 2000
SWAPS = 1000
_BLOCK_ELEMENTS = 500_000


def compare_boxes(
    first: Sequence[Sequence[Matches]],
    second: Sequence[Sequence[Matches]],
    patients: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> list[Comparison]:
    """One contender's mAP and AP50 minus another's, each the mean over its seeds.

    Intervals are by the paired bootstrap over patients; p-values by swapping whole patients between
    the two sides, which needs as many seeds on both.

    Args:
        first: the matches of each class, for each seed of one contender.
        second: for each seed of the other, of the same films in the same order.
        patients: of the films, at least one.
        resamples: bootstrap draws, 2000 at the most.
        seed: of the draws and of the swaps.
    """
    resamples = min(resamples, MOST_RESAMPLES)

    def differences(weights: Numbers) -> Numbers:
        levels = THRESHOLDS.values()
        columns = [_mean(first, weights, at) - _mean(second, weights, at) for at in levels]
        return np.stack(columns, 1)

    intervals = bootstrap_statistics(differences, patients, resamples=resamples, seed=seed)
    found = []
    for interval, (name, thresholds) in zip(intervals, THRESHOLDS.items(), strict=True):
        p_value = math.nan
        if len(first) == len(second) and interval.n_patients > 1:
            p_value = _swapped(first, second, patients, thresholds, seed)
        found.append(Comparison(interval, p_value, False, 0, metric=TITLES[name]))
    return found


def _mean(runs: Sequence[Sequence[Matches]], weights: Numbers, thresholds: slice) -> Numbers:
    values = [mean_average_precision(run, weights, thresholds) for run in runs]
    return np.asarray(np.mean(values, axis=0), np.float64)


def _swapped(
    first: Sequence[Sequence[Matches]],
    second: Sequence[Sequence[Matches]],
    patients: Sequence[str],
    thresholds: slice,
    seed: int,
) -> float:
    """The two-sided p-value of swapping whole patients."""
    pairs = zip(first, second, strict=True)
    both = [[side_by_side(*parts) for parts in zip(*pair, strict=True)] for pair in pairs]
    names, owner = np.unique(np.asarray(patients, np.str_), return_inverse=True)
    generator = np.random.default_rng([seed, 5])

    def gap(patterns: npt.NDArray[np.int64]) -> Numbers:
        swap = patterns[:, owner].astype(np.float64)
        sides = np.concatenate([1 - swap, swap], 1), np.concatenate([swap, 1 - swap], 1)
        return np.abs(_mean(both, sides[0], thresholds) - _mean(both, sides[1], thresholds))

    # The pattern that swaps nobody gives the observed difference.
    observed = float(gap(np.zeros((1, len(names)), np.int64))[0])
    if math.isnan(observed):
        return math.nan
    extreme, block = 1, max(1, _BLOCK_ELEMENTS // len(owner))
    for begin in range(0, SWAPS, block):
        drawn = generator.integers(2, size=(min(block, SWAPS - begin), len(names)))
        extreme += int((gap(drawn) >= observed - 1e-12).sum())
    return extreme / (1 + SWAPS)


def detection_part(tables: Tables, group: str) -> dict[str, Any]:
    """The metrics of every run on one group, if all of them detect there.

    Args:
        tables: the detection tables of the runs, by run.
        group: of images.

    Returns:
        ``detection``: for each run mAP and AP50 with value, low and high; empty if a run has none.

    Raises:
        ConfigError: if the runs were scored on other true boxes.
    """
    if not all(group in table for table in tables.values()):
        return {}
    truths = {run: table[group]["truth_sha256"] for run, table in tables.items()}
    if len(set(truths.values())) > 1:
        raise ConfigError(
            f"{', '.join(truths)} cannot be compared: they were scored on other true boxes of "
            f"'{group}', or for other classes"
        )
    return {
        "detection": {
            run: {title: table[group][name] for name, title in TITLES.items()}
            for run, table in tables.items()
        }
    }


def detection_spread(tables: Sequence[Mapping[str, Any]], group: str) -> dict[str, dict[str, Any]]:
    """The mAP and AP50 of one contender over its seeds, for the leaderboard."""
    found = {}
    for name, title in TITLES.items():
        values = [table[group][name]["value"] for table in tables]
        known = [[math.nan if value is None else value] for value in values]
        found[title] = asdict(seed_spread(known))
    return found

"""Intervals by the bootstrap over patients: the images of one patient are not independent.

Patients are drawn with replacement, and all rows of a drawn patient come along, as often as it was
drawn. The interval is the percentile interval (Efron and Tibshirani, "An introduction to the
bootstrap", 1993, chapter 13).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from eye_gaze_data.errors import DataError

Numbers = npt.NDArray[np.float64]

# Statistic of (r, n) weights, r values. A statistic is the same function for data and resamples.
Statistic = Callable[[Numbers], Numbers]
Patients = Sequence[str] | npt.NDArray[Any]

_BLOCK_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval.

    Attributes:
        value: of the data themselves; NaN if undefined.
        low: lower bound; NaN with fewer than two patients, which tell nothing about spread.
        high: upper bound, likewise.
        n: rows that entered, those with NaN left out.
        n_patients: patients these rows belong to.
        level: the coverage aimed at.
        resamples: the resamples for which the statistic was defined.
        method: how the bounds were found.
    """

    value: float
    low: float
    high: float
    n: int
    n_patients: int
    level: float = 0.95
    resamples: int = 0
    method: str = "percentile bootstrap over patients"


def bootstrap_mean(
    values: npt.ArrayLike,
    patients: Patients,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean over rows and its interval.

    For a paired comparison pass the differences of two models, row by row.

    Args:
        values: (n,) NaN is left out.
        patients: (n,) whose row it is.
        resamples: number of draws.
        seed: of the draws; the same patients in the same order get the same draws.
        level: the coverage aimed at.

    Raises:
        DataError: if lengths differ or a value is infinite.
    """
    numbers = np.asarray(values, np.float64)
    _check(numbers, patients, resamples, level)
    known = ~np.isnan(numbers)
    group, n_patients = _groups(np.asarray(patients, object)[known])
    sums = np.bincount(group, numbers[known], n_patients)
    sizes = np.bincount(group, minlength=n_patients).astype(np.float64)
    means = [draws @ sums / (draws @ sizes) for draws in _draws(n_patients, resamples, seed)]
    value = float(sums.sum() / sizes.sum()) if n_patients else float("nan")
    return _interval(value, means, int(known.sum()), n_patients, level)


def bootstrap_statistic(
    statistic: Statistic,
    patients: Patients,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Any weighted statistic of rows and its interval.

    Args:
        statistic: maps weights float64 (r, n), how often each row counts, to r values; NaN where
            undefined. It is called with blocks of resamples, and once with ones.
        patients: (n,) whose row it is. Leave rows with unknown values out beforehand.
        resamples: number of draws.
        seed: of the draws; the same patients in the same order get the same draws.
        level: the coverage aimed at.

    Raises:
        DataError: if there are no resamples or the level is not a share.
    """
    group, n_patients = _groups(np.asarray(patients, object))
    _check(np.zeros(len(group)), patients, resamples, level)
    value = float(statistic(np.ones((1, len(group))))[0]) if n_patients else float("nan")
    blocks = _draws(n_patients, resamples, seed, width=len(group))
    found = [statistic(draws[:, group]) for draws in blocks]
    return _interval(value, found, len(group), n_patients, level)


def _draws(
    n_patients: int, resamples: int, seed: int, width: int = 0
) -> Iterator[Float64[np.ndarray, "r patients"]]:
    """How often each patient is drawn in each resample, in blocks of resamples.

    The stream of random numbers, and so the result, does not depend on the size of the blocks.
    """
    if n_patients < 2:
        return
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // max(n_patients, width))
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(n_patients, size=(rows, n_patients))
        cells = drawn + n_patients * np.arange(rows)[:, None]
        counts = np.bincount(cells.ravel(), minlength=rows * n_patients)
        yield counts.reshape(rows, n_patients).astype(np.float64)


def _groups(patients: npt.NDArray[np.object_]) -> tuple[npt.NDArray[np.int64], int]:
    """(n,) the number of each row's patient, and how many there are."""
    names, group = np.unique(patients.astype(str), return_inverse=True)
    return group.astype(np.int64), len(names)


def _interval(
    value: float, found: list[Numbers], n: int, n_patients: int, level: float
) -> Interval:
    values = np.concatenate([np.zeros(0), *found])
    values = values[~np.isnan(values)]
    low, high = float("nan"), float("nan")
    if len(values):
        tail = (1 - level) / 2
        low, high = (float(bound) for bound in np.quantile(values, [tail, 1 - tail]))
    return Interval(value, low, high, n, n_patients, level, len(values))


def _check(values: Numbers, patients: Patients, resamples: int, level: float) -> None:
    if values.shape != (len(patients),):
        raise DataError(
            f"values: expected shape ({len(patients)},), one a patient entry, found {values.shape}"
        )
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise DataError(f"values: expected numbers or NaN, found {values[row]} in row {row}")
    if resamples < 1:
        raise DataError(f"resamples: expected at least 1, found {resamples}")
    if not 0 < level < 1:
        raise DataError(f"level: expected a number between 0 and 1, found {level}")

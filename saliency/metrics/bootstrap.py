"""Intervals by the bootstrap over patients: the images of one patient are not independent.

Patients are drawn with replacement, and all rows of a drawn patient come along, as often as it was
drawn. Where several readers saw the images, readers are drawn too, crossed with the patients: a row
counts as often as its patient was drawn times its reader was (the pigeonhole bootstrap of Owen,
"The pigeonhole bootstrap", Annals of Applied Statistics 2007). The interval is BCa, bias-corrected
and accelerated (Efron, "Better bootstrap confidence intervals", JASA 1987), the acceleration from
leaving out one patient, and one reader, at a time; ``draws`` says of how many it is groups.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from eye_gaze_data.errors import DataError

from .defined import ratio
from .draws import Names, Numbers, Units, all_but_one, draws

# Statistic of (r, n) weights, r values, or (r, k) of k statistics. It is the same function for data
# and resamples.
Statistic = Callable[[Numbers], Numbers]
# The statistic without each patient, of the number of each row's patient and of how many there are.
LeftOut = Callable[[npt.NDArray[np.int64], int], Numbers]
Patients = Names

METHOD = "BCa bootstrap over patients"


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
        n_readers: readers that were drawn too; 0 if they were not.
    """

    value: float
    low: float
    high: float
    n: int
    n_patients: int
    level: float = 0.95
    resamples: int = 0
    method: str = METHOD
    n_readers: int = 0


def bootstrap_mean(
    values: npt.ArrayLike,
    patients: Patients,
    *,
    readers: Names | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean over rows and its interval.

    For a paired comparison pass the differences of two models, row by row.

    Args:
        values: (n,) NaN is left out.
        patients: (n,) whose row it is.
        readers: (n,) who looked, where each row is one reader's; None to draw patients only.
        resamples: number of draws.
        seed: of the draws; the same patients in the same order get the same draws.
        level: the coverage aimed at.

    Raises:
        DataError: if lengths differ or a value is infinite.
    """
    numbers = np.asarray(values, np.float64)
    _check(numbers, patients, readers, resamples, level)
    known = ~np.isnan(numbers)
    units = Units.of(patients, readers, known)
    # A mean needs only the sum and the number of rows of each pair of patient and reader.
    cell = units.patient * units.width + units.reader
    size = units.n_patients * units.width
    sums = np.bincount(cell, numbers[known], size).reshape(-1, units.width)
    sizes = np.bincount(cell, minlength=size).reshape(-1, units.width).astype(np.float64)

    def mean(drawn: Numbers, read: Numbers) -> Numbers:
        return ratio(*(((drawn @ table) * read).sum(1) for table in (sums, sizes)))

    def left_out(which: int) -> Numbers:
        return ratio(*(table.sum() - table.sum(1 - which) for table in (sums, sizes)))

    return _intervals(mean, left_out, units, resamples, seed, level, width=0)[0]


class BootstrapOptions(TypedDict, total=False):
    """Options of ``bootstrap_statistics``, as it describes them."""

    readers: Names | None
    left_out: LeftOut | None
    resamples: int
    seed: int
    level: float


def bootstrap_statistic(
    statistic: Statistic, patients: Patients, **options: Unpack[BootstrapOptions]
) -> Interval:
    """Any weighted statistic of rows and its interval.

    Args:
        statistic: maps weights float64 (r, n), how often each row counts, to r values; NaN where
            undefined. It is called with blocks of resamples, and once with ones.
        patients: (n,) whose row it is. Leave rows with unknown values out beforehand.
        **options: those of ``bootstrap_statistics``.

    Raises:
        DataError: if there are no resamples or the level is not a share.
    """
    return bootstrap_statistics(statistic, patients, **options)[0]


def bootstrap_statistics(
    statistic: Statistic,
    patients: Patients,
    *,
    readers: Names | None = None,
    left_out: LeftOut | None = None,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Interval]:
    """The intervals of k statistics of the same rows, from the same draws.

    Args:
        statistic: as for ``bootstrap_statistic``, but maps to (r, k); there must be rows.
        patients: (n,) as there.
        readers: (n,) who looked, where each row is one reader's; None to draw patients only.
        left_out: gives the (patients, k) statistics without each patient at once, where readers are
            not drawn. None calls ``statistic`` with weights that leave out one patient, of more
            than 2,000 patients one of 2,000 random groups of them, at a time.
        resamples: number of draws.
        seed: of the draws; the same patients in the same order get the same draws.
        level: the coverage aimed at.

    Raises:
        DataError: if there are no resamples or the level is not a share.
    """
    _check(np.zeros(len(patients)), patients, readers, resamples, level)
    units = Units.of(patients, readers, np.ones(len(patients), bool))

    def of_rows(drawn: Numbers, read: Numbers) -> Numbers:
        weights = drawn[:, units.patient]
        return statistic(weights if units.width == 1 else weights * read[:, units.reader])

    def without(which: int) -> Numbers:
        if left_out is not None and readers is None:
            return left_out(units.patient, units.n_patients)
        return _each(of_rows, all_but_one(units, which, len(patients), seed))

    return _intervals(of_rows, without, units, resamples, seed, level, width=len(patients))


def _intervals(
    statistic: Callable[[Numbers, Numbers], Numbers],
    left_out: Callable[[int], Numbers],
    units: Units,
    resamples: int,
    seed: int,
    level: float,
    width: int,
) -> list[Interval]:
    """One for each column of the statistic, or one of a statistic without columns."""
    n, n_patients, n_readers = len(units.patient), units.n_patients, units.n_readers
    ones = np.ones((1, n_patients)), np.ones((1, units.width))
    values = (statistic(*ones) if n else np.full(1, np.nan)).reshape(-1)
    found = np.zeros((0, len(values)))
    influences: list[Numbers] = []
    if n_patients > 1:
        found = _each(statistic, draws(units, resamples, seed, width)).reshape(-1, len(values))
        if not np.isnan(values).all():
            influences = [left_out(which) for which in range(1 + (n_readers > 0))]
    method = f"{METHOD} and readers" if n_readers else METHOD
    intervals = []
    for column, value in enumerate(values.tolist()):
        low = high = float("nan")
        resampled = found[:, column]
        resampled = resampled[~np.isnan(resampled)]
        if len(resampled) and not math.isnan(value):
            own = [one.reshape(-1, len(values))[:, column] for one in influences]
            low, high = bca_bounds(value, resampled, own, level)
        counts = n, n_patients, level, len(resampled), method, n_readers
        intervals.append(Interval(value, low, high, *counts))
    return intervals


def bca_bounds(
    value: float, resampled: Numbers, left_out: Sequence[Numbers], level: float
) -> tuple[float, float]:
    """The bounds of the BCa interval.

    Args:
        value: the statistic of the data.
        resampled: (r,) that of each resample.
        left_out: for each factor that was drawn, the statistic without each of its units; NaN is
            ignored.
        level: the coverage aimed at.
    """
    share = (np.mean(resampled < value) + np.mean(resampled <= value)) / 2
    # With all resamples on one side of the value the correction would be infinite.
    edge = 0.5 / len(resampled)
    bias = float(norm.ppf(np.clip(share, edge, 1 - edge)))
    influence = [
        np.nanmean(one) - one[~np.isnan(one)] for one in left_out if (~np.isnan(one)).any()
    ]
    squares = sum(float((one**2).sum()) for one in influence)
    cubes = sum(float((one**3).sum()) for one in influence)
    acceleration = cubes / (6 * squares**1.5) if squares > 0 else 0.0
    bounds = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + float(norm.ppf(tail))
        corrected = float(norm.cdf(bias + shifted / (1 - acceleration * shifted)))
        bounds.append(float(np.quantile(resampled, corrected)))
    return bounds[0], bounds[1]


def _each(
    statistic: Callable[[Numbers, Numbers], Numbers], draws: Iterator[tuple[Numbers, Numbers]]
) -> Numbers:
    return np.concatenate([statistic(*weights) for weights in draws])


def _check(
    values: Numbers, patients: Names, readers: Names | None, resamples: int, level: float
) -> None:
    for name, names in (("patients", patients), ("readers", readers)):
        if names is not None and values.shape != (len(names),):
            raise DataError(
                f"values: expected shape ({len(names)},), one for each of the {name}, "
                f"found {values.shape}"
            )
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise DataError(f"values: expected numbers or NaN, found {values[row]} in row {row}")
    if resamples < 1:
        raise DataError(f"resamples: expected at least 1, found {resamples}")
    if not 0 < level < 1:
        raise DataError(f"level: expected a number between 0 and 1, found {level}")

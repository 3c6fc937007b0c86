"""Is one run better than another? Paired by image, corrected for the number of questions asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from eye_gaze_data.errors import DataError

from .bootstrap import Interval, Patients, bootstrap_mean
from .draws import Names, Numbers

_EXACT_PATIENTS = 13  # 2^13 sign patterns are fewer than the default number of random ones
_BLOCK_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class Comparison:
    """The difference of two runs on the images that both scored.

    Attributes:
        difference: mean of first minus second, in units of the metric, with its BCa interval over
            patients (and readers).
        p_value: two-sided, by flipping the signs of whole patients; NaN with fewer than two.
        p_holm: the same after Holm's correction over the family; NaN before it.
        exact: whether all sign patterns were tried.
        n_left_out: rows for which either run has no value.
        first: name of the run.
        second: name of the run it is compared with.
        metric: what was measured.
    """

    difference: Interval
    p_value: float
    exact: bool
    n_left_out: int
    first: str = ""
    second: str = ""
    metric: str = ""
    p_holm: float = float("nan")


@dataclass(frozen=True)
class SeedSpread:
    """One metric over runs that differ in their seed alone.

    Attributes:
        mean: of the seeds' means.
        std: sample standard deviation of the seeds' means; NaN for one seed.
        low: the least of them.
        high: the greatest.
        seeds: each seed's mean over its defined images.
    """

    mean: float
    std: float
    low: float
    high: float
    seeds: tuple[float, ...]


def compare_pair(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    patients: Patients,
    *,
    readers: Names | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Compare two runs row by row.

    Under the null hypothesis the two runs are exchangeable for every patient, so the sign of a
    patient's differences is a coin's (Fisher's permutation test); with at most 13 patients all
    patterns are tried. The p-value counts the data themselves as one pattern, so it is never 0.

    Args:
        first: (n,) the metric of one run, NaN where undefined.
        second: (n,) that of the other, of the same images in the same order.
        patients: (n,) whose image it is.
        readers: (n,) who looked, where each row is one reader's; they widen the interval.
        resamples: number of bootstrap draws and of random sign patterns.
        seed: of both.
        level: coverage of the interval.

    Raises:
        DataError: if lengths differ or a value is infinite.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape:
        raise DataError(
            f"runs to compare: expected the same images, found {one.shape} and {other.shape} values"
        )
    difference = one - other
    interval = bootstrap_mean(
        difference, patients, readers=readers, resamples=resamples, seed=seed, level=level
    )
    known = ~np.isnan(difference)
    _, patient = np.unique(np.asarray(patients, object)[known].astype(str), return_inverse=True)
    sums = np.bincount(patient, difference[known])
    p_value, exact = sign_flip_p(sums, resamples, seed)
    return Comparison(interval, p_value, exact, int((~known).sum()))


def compare_runs(
    scores: Mapping[str, Mapping[str, npt.ArrayLike]],
    reference: str,
    patients: Patients,
    *,
    readers: Names | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Comparison]:
    """Compare every other run with the reference, under every metric; one family for Holm.

    Args:
        scores: by run, then by metric, the values (n,) of the same images in the same order.
        reference: name of the run that the others are compared with.
        patients: (n,) whose image it is.
        readers: (n,) who looked, where each row is one reader's.
        resamples: number of bootstrap draws and of random sign patterns.
        seed: of both, alike for all comparisons.
        level: coverage of the intervals.

    Returns:
        One comparison a run and metric, other minus reference, in the order of ``scores``.

    Raises:
        DataError: if the reference is unknown, or runs have other metrics or numbers of images.
    """
    if reference not in scores:
        raise DataError(f"run '{reference}' to compare with: expected one of {sorted(scores)}")
    found = []
    for run, metrics in scores.items():
        if set(metrics) != set(scores[reference]):
            raise DataError(
                f"run '{run}': expected the metrics {sorted(scores[reference])} of "
                f"'{reference}', found {sorted(metrics)}"
            )
        for metric in metrics if run != reference else ():
            pair = compare_pair(
                metrics[metric], scores[reference][metric], patients,
                readers=readers, resamples=resamples, seed=seed, level=level,
            )  # fmt: skip
            found.append(replace(pair, first=run, second=reference, metric=metric))
    corrected = holm([one.p_value for one in found])
    return [replace(one, p_holm=float(p)) for one, p in zip(found, corrected, strict=True)]


def holm(p_values: Sequence[float] | Numbers) -> Numbers:
    """P-values after Holm's step-down correction for the number of tests.

    Holm, "A simple sequentially rejective multiple test procedure" (Scandinavian Journal of
    Statistics 1979). NaN stays NaN and does not count.

    Raises:
        DataError: if a value is not in [0, 1].
    """
    values = np.asarray(p_values, np.float64)
    if ((values < 0) | (values > 1)).any():
        raise DataError(f"p-values: expected numbers in [0, 1], found {values.tolist()}")
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    corrected = np.full(len(values), np.nan)
    steps = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps * values[order]))
    return corrected


def sign_flip_p(
    sums: Float64[np.ndarray, " patients"], resamples: int, seed: int
) -> tuple[float, bool]:
    """Two-sided p-value of sums being symmetric about 0, and whether all patterns were tried.

    Args:
        sums: of each independent unit.
        resamples: random sign patterns, where there are too many to try all.
        seed: of the patterns.
    """
    n = len(sums)
    if n < 2:
        return float("nan"), True
    # Patterns that give the same sum in another order must not count as smaller.
    bound = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()
    if n <= _EXACT_PATIENTS:
        patterns = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float(np.mean(np.abs(patterns @ sums) >= bound)), True
    generator = np.random.default_rng([seed, 2])
    extreme, block = 0, max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        signs = 1.0 - 2.0 * generator.integers(2, size=(rows, n))
        extreme += int((np.abs(signs @ sums) >= bound).sum())
    return (1 + extreme) / (1 + resamples), False


def seed_spread(values: Sequence[npt.ArrayLike]) -> SeedSpread:
    """The mean of each seed's run and how far the seeds lie apart.

    Args:
        values: for each seed the metric of the images (n,), NaN where undefined.

    Raises:
        DataError: if there are no seeds.
    """
    if not len(values):
        raise DataError("seeds: expected the values of at least 1 run, found none")
    runs = [np.asarray(one, np.float64) for one in values]
    means = [
        float(one[~np.isnan(one)].mean()) if (~np.isnan(one)).any() else np.nan for one in runs
    ]
    std = float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")
    return SeedSpread(float(np.mean(means)), std, min(means), max(means), tuple(means))

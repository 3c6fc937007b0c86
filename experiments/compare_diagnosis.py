"""Differences of AUROC between runs on the same images, by finding and in the mean over them."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from diagnosis.metrics import compare_auroc
from saliency.metrics import bootstrap_statistics, left_out_rank_auc, resampled_rank_auc
from saliency.metrics.comparison import Comparison

Numbers = npt.NDArray[np.float64]
MACRO = "mean AUROC"
# Patterns for the permutation test.
SWAPS = 1000
_BLOCK_ELEMENTS = 1_000_000


def findings_of(tables: Sequence[pd.DataFrame]) -> list[str]:
    """The findings that every run predicts."""
    prefix = "probability_"
    columns = [str(name) for name in tables[0]]
    names = [name.removeprefix(prefix) for name in columns if name.startswith(prefix)]
    return [name for name in names if all(f"{prefix}{name}" in table for table in tables)]


def compare_auroc_of(
    first: Sequence[pd.DataFrame],
    second: Sequence[pd.DataFrame],
    findings: Sequence[str],
    *,
    resamples: int,
    seed: int,
    each: bool = True,
    swaps: int = SWAPS,
) -> list[Comparison]:
    """One contender's AUROC minus another's, each the mean over its seeds.

    Intervals are by the paired bootstrap over patients. The p-value of a finding with one run on
    each side is DeLong's; else whole patients swap sides, which needs as many seeds on both.

    Args:
        first: ``per_image.csv`` of one group, for each seed of one contender.
        second: for each seed of the other, of the same images in the same order.
        findings: names; those without positives or negatives are left out.
        resamples: bootstrap draws.
        seed: of the draws and of the swaps.
        each: also each finding by itself, after the mean over them.
        swaps: random patterns of patients that swap sides.
    """
    if not findings:
        return []
    labels = first[0][[f"label_{name}" for name in findings]].to_numpy(np.float64)
    told = [c for c in range(len(findings)) if {0.0, 1.0} <= set(labels[:, c])]
    if not told:
        return []
    names, labels = [findings[c] for c in told], labels[:, told]
    columns = [f"probability_{name}" for name in names]
    one, other = (
        np.stack([table[columns].to_numpy(np.float64) for table in tables])
        for tables in (first, second)
    )
    patients = first[0]["patient_id"].to_numpy()
    difference = partial(_difference, one, other, labels)
    intervals = bootstrap_statistics(
        lambda weights: difference(partial(_aurocs, weights=weights)),
        patients,
        left_out=lambda unit, n: difference(partial(_left_out, unit=unit, n_units=n)),
        resamples=resamples,
        seed=seed,
    )
    p_values = _swaps(one, other, labels, patients, seed, swaps)
    if each and len(one) == len(other) == 1:
        sides = zip(one[0].T, other[0].T, labels.T, strict=True)
        p_values[1:] = [compare_auroc(*side, patients).p_value for side in sides]
    unknown = np.isnan(labels)
    missing = [unknown.all(1).sum(), *unknown.sum(0)]
    titles = [MACRO, *(f"AUROC {name}" for name in names)]
    found = [
        Comparison(interval, p_value, False, int(count), metric=title)
        for interval, p_value, count, title in zip(
            intervals, p_values, missing, titles, strict=True
        )
    ]
    return found if each else found[:1]


def _difference(
    one: Numbers,
    other: Numbers,
    labels: Numbers,
    aurocs: Callable[[Numbers, Numbers], Numbers],
) -> Numbers:
    """One side minus the other, a mean over seeds: of the mean over findings, and of each.

    Returns:
        (resamples, 1 + findings).
    """
    columns = range(labels.shape[1])
    sides = [
        np.mean([[aurocs(run[:, c], labels[:, c]) for c in columns] for run in side], axis=0)
        for side in (one, other)
    ]
    return np.column_stack([sides[0].mean(0) - sides[1].mean(0), (sides[0] - sides[1]).T])


def _aurocs(scores: Numbers, labels: Numbers, weights: Numbers) -> Numbers:
    known = np.flatnonzero(~np.isnan(labels))
    own = weights if len(known) == len(labels) else weights.take(known, axis=1)
    return resampled_rank_auc(scores[known], labels[known] == 1, own)


def _left_out(
    scores: Numbers, labels: Numbers, unit: npt.NDArray[np.int64], n_units: int
) -> Numbers:
    known = ~np.isnan(labels)
    return left_out_rank_auc(scores[known], labels[known] == 1, unit[known], n_units)


def _swaps(
    one: Numbers,
    other: Numbers,
    labels: Numbers,
    patients: npt.NDArray[np.object_],
    seed: int,
    swaps: int,
) -> list[float]:
    """Two-sided p-values, of the mean over findings and of each, by swapping whole patients.

    NaN if there are other numbers of seeds on the two sides.
    """
    if one.shape != other.shape:
        return [math.nan] * (1 + labels.shape[1])
    names, owner = np.unique(patients.astype(str), return_inverse=True)
    each = [np.bincount(owner, gain) for gain in _gains(one, other, labels).T]
    gains = np.stack(each, 1).astype(np.float64)
    generator = np.random.default_rng([seed, 5])
    observed = _gaps(np.ones((1, len(names))), gains)[0]
    extreme = np.ones(len(observed))
    block = max(1, _BLOCK_ELEMENTS // len(names))
    for begin in range(0, swaps, block):
        swapped = generator.integers(2, size=(min(block, swaps - begin), len(names)))
        extreme += (_gaps(np.where(swapped, -1.0, 1.0), gains) >= observed - 1e-12).sum(0)
    return [float(p) for p in extreme / (1 + swaps)]


def _gaps(signs: Numbers, gains: Numbers) -> Numbers:
    """Sizes of the differences in the mean over findings, and of each, for each pattern of signs.

    Args:
        signs: (patterns, patients) -1 where the patient swaps sides, else 1.
        gains: (patients, findings) of the patients.
    """
    gaps = signs @ gains
    return np.asarray(np.abs(np.column_stack([gaps.mean(1), gaps])), np.float64)


def _gains(one: Numbers, other: Numbers, labels: Numbers) -> Numbers:
    r"""What each image adds to the difference of AUROCs, and takes from it if it swaps sides.

    A side wins a pair of a positive and a negative by :math:`\psi`, one, a half or nothing. Pool
    the scores of both sides, and let w be 1 for those of the first side and 0 for the others. The
    first side wins :math:`\sum w_i w_j \psi_{ij}` and the second
    :math:`\sum (1 - w_i)(1 - w_j) \psi_{ij}`. In their difference,
    :math:`\sum (w_i + w_j - 1) \psi_{ij}`, no products are left: each score counts for itself, by
    the pairs that it wins, or loses, against all scores of the other label on both sides. So one
    ranking serves all patterns.

    Args:
        one: (seeds, images, findings) scores.
        other: likewise.
        labels: (images, findings) 1, 0 or NaN.

    Returns:
        (images, findings) that sum to the difference, the mean over seeds; 0 where not stated.
    """
    gains = np.zeros(labels.shape)
    for c in range(labels.shape[1]):
        known = ~np.isnan(labels[:, c])
        positive = labels[known, c] == 1
        # Every score is there twice, once a side; half for the mean of staying and swapping.
        scale = 2 * positive.sum() * (~positive).sum() * len(one)
        for a, b in zip(one[:, known, c], other[:, known, c], strict=True):
            won = _won(np.concatenate([a, b]), np.tile(positive, 2))
            gains[known, c] += (won[: len(a)] - won[len(a) :]) / scale
    return gains


def _won(scores: Numbers, positive: npt.NDArray[np.bool_]) -> Numbers:
    """For each score: pairs with the other label in which the positive is higher; ties half."""
    ranks, won = rankdata(scores), np.empty(len(scores))
    won[positive] = ranks[positive] - rankdata(scores[positive])
    lower = ranks[~positive] - rankdata(scores[~positive])
    won[~positive] = positive.sum() - lower
    return won

"""The one exact rank AUC of the house: ties count half, no thresholds, no jitter."""

from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64, Shaped

from eye_gaze_data.errors import DataError

from .values import Numbers

Array = npt.NDArray[np.floating[Any]]
Vector = Shaped[np.ndarray, "..."]  # (n,); checked by hand with an error that a user can read

_N_BUCKETS = 16_384
_BLOCK = 32_768


def rank_auc(
    positive_scores: Vector,
    negative_scores: Vector,
    positive_weights: Vector | None = None,
    negative_weights: Vector | None = None,
) -> float:
    """The share of (positive, negative) pairs in which the positive scores higher, ties half.

    That is the area under the ROC curve, as Mann-Whitney's U over the number of pairs (Hanley and
    McNeil, Radiology 1982). Exact: sums of whole numbers up to the final division.

    Args:
        positive_scores: (n,) scores of the positives; infinities are scores like others.
        negative_scores: (m,) scores of the negatives.
        positive_weights: (n,) at least 0, how often each counts; None for once.
        negative_weights: (m,) likewise.

    Returns:
        0 to 1, 0.5 is chance; NaN if there are no positives or no negatives.

    Raises:
        DataError: if a score is NaN, a weight is negative or not finite, or lengths differ.
    """
    scores, weights = _checked("positive", positive_scores, positive_weights)
    others, other_weights = _checked("negative", negative_scores, negative_weights)
    positive = float(len(scores) if weights is None else weights.sum())
    negative = float(len(others) if other_weights is None else other_weights.sum())
    if not (positive > 0 and negative > 0):
        return float("nan")
    levels, level = np.unique(scores, return_inverse=True)
    below, equal = count_below(levels, others, other_weights)
    won = np.bincount(level, weights, len(levels)) * (below + 0.5 * equal)
    return float(won.sum() / positive / negative)


def resampled_rank_auc(
    scores: Float64[np.ndarray, " n"],
    positive: Shaped[np.ndarray, " n"],
    weights: Float64[np.ndarray, "r n"],
) -> Float64[np.ndarray, " r"]:
    """``rank_auc`` of the same scores under many weightings: one sort, then cumulative sums.

    Args:
        scores: (n,) without NaN.
        positive: bool (n,).
        weights: (r, n) at least 0, for a bootstrap how often each row was drawn.

    Returns:
        (r,) the AUC under each weighting; NaN where positives or negatives have no weight.
    """
    order = np.argsort(scores, kind="stable")
    own, others = order[positive[order]], order[~positive[order]]
    below = np.zeros((len(weights), len(others) + 1))
    np.cumsum(weights.take(others, axis=1), axis=1, out=below[:, 1:])
    gains = weights.take(own, axis=1)
    first, last = (
        np.searchsorted(scores[others], scores[own], side=side) for side in ("left", "right")
    )
    won = np.einsum("rp,rp->r", gains, below.take(first, axis=1))
    tied = first < last
    if tied.any():
        equal = below.take(last[tied], axis=1) - below.take(first[tied], axis=1)
        won += 0.5 * np.einsum("rp,rp->r", gains[:, tied], equal)
    pairs = gains.sum(1) * below[:, -1]
    aucs: Numbers = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return aucs


def left_out_rank_auc(
    scores: Float64[np.ndarray, " n"],
    positive: Shaped[np.ndarray, " n"],
    unit: Shaped[np.ndarray, " n"],
    n_units: int,
) -> Float64[np.ndarray, " units"]:
    """``rank_auc`` without the rows of each unit in turn, from one sort.

    Of all won pairs those with a row of the unit are taken off; a pair within the unit was taken
    off twice. Sums of whole and half numbers: equal to weighing by 0 and 1.

    Args:
        scores: (n,) without NaN.
        positive: bool (n,).
        unit: (n,) the number of each row's unit, as a rule its patient.
        n_units: how many there are.

    Returns:
        (units,) NaN where positives or negatives are missing.
    """
    positive = np.asarray(positive, bool)
    everyone = np.zeros(len(scores), np.int64)
    won = _below(scores, ~positive, everyone) * positive
    lost = (positive.sum() - _below(scores, positive, everyone)) * ~positive
    own = _below(scores, ~positive, unit) * positive
    total = won.sum() - np.bincount(unit, won + lost - own, n_units)
    positives, negatives = (
        side.sum() - np.bincount(unit, side, n_units) for side in (positive, ~positive)
    )
    pairs = positives * negatives
    aucs: Numbers = np.divide(total, pairs, np.full(n_units, np.nan), where=pairs > 0)
    return aucs


def _below(
    scores: Float64[np.ndarray, " n"],
    counted: npt.NDArray[np.bool_],
    group: Shaped[np.ndarray, " n"],
) -> Float64[np.ndarray, " n"]:
    """(n,) how many counted rows of each row's group score lower; equal ones are halves."""
    order = np.lexsort((scores, group))
    score, of_group, weight = scores[order], group[order], counted[order].astype(np.float64)
    other_group = np.r_[True, of_group[1:] != of_group[:-1]][: len(order)]
    other_score = np.r_[True, score[1:] != score[:-1]][: len(order)]
    tie = np.cumsum(other_group | other_score) - 1
    before = np.cumsum(weight) - weight
    first, group_first = (
        np.searchsorted(places, places) for places in (tie, np.cumsum(other_group))
    )
    found = np.empty(len(scores))
    equal = np.bincount(tie, weight)[tie]
    found[order] = before[first] - before[group_first] + 0.5 * equal
    return found


def count_below(
    levels: Array, scores: Array, weights: Numbers | None = None
) -> tuple[Numbers, Numbers]:
    """(k,) the weight of the scores below, and of those equal to, each of the sorted levels.

    A monotone map into buckets settles every comparison except those within the bucket of a level;
    only these few scores are compared exactly. No sort. The map is monotone in the scores' own
    dtype, as every rounding is.
    """
    scale = _bucket_scale(levels, scores)
    if scale is None:
        return _compare(levels, scores, weights)
    low = scores.min()
    level_bucket = ((levels - low) * scale).astype(np.int64)
    shared = np.zeros(_N_BUCKETS, bool)
    shared[level_bucket] = True
    mass, near, near_weights = np.zeros(_N_BUCKETS), [], []
    offsets, buckets = np.empty(_BLOCK, scores.dtype), np.empty(_BLOCK, np.int64)
    nears = np.empty(_BLOCK, bool)
    for start in range(0, len(scores), _BLOCK):
        part = scores[start : start + _BLOCK]
        offset, bucket, is_near = offsets[: len(part)], buckets[: len(part)], nears[: len(part)]
        np.subtract(part, low, out=offset)
        offset *= scale
        bucket[:] = offset
        weight = None if weights is None else weights[start : start + _BLOCK]
        mass += np.bincount(bucket, weight, _N_BUCKETS)
        shared.take(bucket, out=is_near, mode="clip")
        near.append(part[is_near])
        if weight is not None:
            near_weights.append(weight[is_near])
    kept = np.concatenate(near)
    # A map with a few high peaks crowds one bucket: its own range is divided again.
    count = count_below if len(kept) < len(scores) else _compare
    below, equal = count(levels, kept, None if weights is None else np.concatenate(near_weights))
    return below + np.cumsum(np.where(shared, 0, mass))[level_bucket], equal


def _bucket_scale(levels: Array, scores: Array) -> Any:  # noqa: ANN401 - a scalar of their dtype
    """Buckets a unit of score; None where buckets do not pay, or do not work."""
    if len(scores) < _N_BUCKETS:
        return None
    low, high = scores.min(), scores.max()
    if not (low <= levels[0] and levels[-1] <= high and np.isfinite([low, high]).all()):
        return None
    with np.errstate(all="ignore"):
        scale = (_N_BUCKETS - 1) / (high - low)
    # The quotient may be rounded up: the highest score must not leave the last bucket.
    return scale if 0 < scale < np.inf and (high - low) * scale < _N_BUCKETS else None


def _compare(levels: Array, scores: Array, weights: Numbers | None) -> tuple[Numbers, Numbers]:
    position = np.searchsorted(levels, scores)
    tied = levels[np.minimum(position, len(levels) - 1)] == scores
    # Cell 2i holds the scores between levels i - 1 and i, cell 2i + 1 those equal to level i.
    mass = np.bincount(2 * position + tied, weights, 2 * len(levels) + 1).astype(np.float64)
    return np.cumsum(mass)[:-1:2], mass[1::2]


def _checked(name: str, scores: Vector, weights: Vector | None) -> tuple[Numbers, Numbers | None]:
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or np.isnan(scores).any():
        found = f"shape {scores.shape} with {int(np.isnan(scores).sum())} NaN"
        raise DataError(f"{name} scores: expected shape (n,) without NaN, found {found}")
    if weights is None:
        return scores, None
    weights = np.asarray(weights, np.float64)
    if weights.shape != scores.shape:
        raise DataError(f"{name} weights: expected {scores.shape}, found {weights.shape}")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        wrong = weights[~(np.isfinite(weights) & (weights >= 0))][0]
        raise DataError(f"{name} weights: expected finite numbers of at least 0, found {wrong}")
    return scores, weights

"""Leaving out units at once, against leaving them out one by one."""

import numpy as np
import pytest

from saliency.metrics import left_out_rank_auc, rank_auc, resampled_rank_auc


@pytest.mark.parametrize("seed", range(4))
def test_leaving_out_at_once_equals_one_by_one_to_the_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Ties within units and between them, units of one kind, infinities.
    scores = rng.integers(0, 12, 80).astype(np.float64)
    scores[:4] = [np.inf, np.inf, -np.inf, np.inf]
    positive, unit = rng.random(80) < 0.4, rng.integers(0, 25, 80)
    found = left_out_rank_auc(scores, positive, unit, 25)
    weights = np.array([(unit != one).astype(np.float64) for one in range(25)])
    assert found.tolist() == resampled_rank_auc(scores, positive, weights).tolist()
    for one in range(25):
        kept = unit != one
        expected = rank_auc(scores[kept & positive], scores[kept & ~positive])
        assert found[one] == pytest.approx(expected, abs=1e-15)


def test_without_its_only_positives_there_is_no_auc() -> None:
    positive, unit = np.array([True, False, False, True]), np.array([0, 1, 2, 0])
    found = left_out_rank_auc(np.array([0.5, 0.4, 0.6, 0.6]), positive, unit, 3)
    # Pairs of the films 0 and 3 against 1: two won; against 2: one lost, one tied.
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0.25, 1.0]


def test_of_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    assert np.isnan(left_out_rank_auc(np.zeros(0), nothing.astype(bool), nothing, 2)).all()


@pytest.mark.parametrize("steps", [None, 3, 20])
@pytest.mark.parametrize("share", [0.1, 0.9])
def test_many_weightings_equal_one_weighting_at_a_time(steps: int | None, share: float) -> None:
    rng = np.random.default_rng(7)
    scores = rng.normal(size=90)
    if steps:
        scores = np.round(scores * steps) / steps
    scores[:3] = [np.inf, -np.inf, np.inf]
    positive, weights = rng.random(90) < share, rng.integers(0, 4, (12, 90)).astype(np.float64)
    weights[0], weights[1] = 0, positive
    found = resampled_rank_auc(scores, positive, weights)
    assert np.isnan(found[:2]).all()
    expected = [
        rank_auc(scores[positive], scores[~positive], one[positive], one[~positive])
        for one in weights[2:]
    ]
    assert found[2:] == pytest.approx(expected, abs=1e-15)
    for side in (positive, ~positive):
        assert np.isnan(resampled_rank_auc(scores[side], positive[side], weights[:, side])).all()

"""Paired comparison: permutation by brute force, Holm by hand, intervals in metric units."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import permutation_test

from eye_gaze_data.errors import DataError
from saliency.metrics import bootstrap_mean
from saliency.metrics.comparison import (
    compare_pair,
    compare_runs,
    holm,
    seed_spread,
    sign_flip_p,
)


def make_runs(seed: int, n: int, gain: float) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=n)
    patients = [f"p{row // 2}" for row in range(n)]
    return base + gain + 0.3 * rng.normal(size=n), base, patients


def p_by_all_patterns(sums: np.ndarray) -> float:
    patterns = itertools.product((-1, 1), repeat=len(sums))
    totals = [abs(np.dot(signs, sums)) for signs in patterns]
    return float(np.mean(np.array(totals) >= abs(sums.sum()) - 1e-12))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_few_patients_are_tested_exactly(n: int) -> None:
    sums = np.random.default_rng(n).normal(0.5, size=n)
    found, exact = sign_flip_p(sums, 10, 0)
    assert exact
    assert found == pytest.approx(p_by_all_patterns(sums))


def test_ties_of_patterns_count_as_equal() -> None:
    # 0.1 + 0.2 is not 0.3 in floating point: every pattern and its mirror must still count.
    sums = np.array([0.1, 0.2, 0.3, 0.4])
    assert sign_flip_p(sums, 10, 0)[0] == 2 / 16


def test_many_patients_are_tested_by_random_patterns() -> None:
    sums = np.random.default_rng(1).normal(0.3, size=60)
    found, exact = sign_flip_p(sums, 20_000, 3)
    expected = permutation_test(
        (sums, np.zeros(60)), lambda a, b, axis: (a - b).mean(axis),
        permutation_type="samples", n_resamples=20_000, vectorized=True, rng=1,
    )  # fmt: skip
    assert not exact
    assert found == pytest.approx(expected.pvalue, abs=0.006)
    assert sign_flip_p(sums, 20_000, 3)[0] == found


def test_the_p_value_is_never_0() -> None:
    found, _ = sign_flip_p(np.full(40, 1.0), 500, 0)
    assert found == 1 / 501


def test_the_p_value_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(2)
    found = [sign_flip_p(rng.normal(size=20), 400, seed)[0] for seed in range(400)]
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=0.055)


def test_a_pair_is_compared_on_the_images_that_both_scored() -> None:
    first, second, patients = make_runs(3, 40, gain=0.2)
    first[4], second[9] = math.nan, math.nan
    found = compare_pair(first, second, patients, resamples=2000, seed=5)
    difference = first - second
    assert found.difference == bootstrap_mean(difference, patients, resamples=2000, seed=5)
    assert found.difference.value == pytest.approx(np.nanmean(difference))
    assert found.n_left_out == 2
    assert found.difference.n == 38
    assert found.p_value < 0.03
    back = compare_pair(second, first, patients, resamples=2000, seed=5)
    assert back.p_value == found.p_value
    assert back.difference.value == -found.difference.value


def test_images_of_one_patient_flip_together() -> None:
    """Ten copies of each patient's image are not ten times the evidence."""
    first, second, _ = make_runs(4, 12, gain=0.1)
    single = compare_pair(first, second, [str(one) for one in range(12)])
    copied = compare_pair(
        np.repeat(first, 10), np.repeat(second, 10), [str(one // 10) for one in range(120)]
    )
    assert copied.p_value == single.p_value
    assert copied.exact


def test_one_patient_has_no_p_value() -> None:
    found = compare_pair([1.0, 2.0], [0.0, 0.0], ["a", "a"])
    assert math.isnan(found.p_value)
    assert math.isnan(found.difference.low)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.5: times 4, 3, 2, 1 and never decreasing.
    found = holm([0.03, 0.01, 0.5, 0.02])
    assert found == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.9, 0.3]) == pytest.approx([0.9, 0.9, 0.9])
    assert holm([0.01]) == pytest.approx([0.01])
    assert len(holm([])) == 0


def test_holm_leaves_nan_out() -> None:
    found = holm([0.02, math.nan, 0.03])
    assert found[[0, 2]] == pytest.approx([0.04, 0.04])
    assert math.isnan(found[1])
    with pytest.raises(DataError, match=r"p-values: expected numbers in \[0, 1\], found \[0.5, "):
        holm([0.5, 1.5])


def test_runs_are_one_family() -> None:
    better, base, patients = make_runs(6, 60, gain=0.5)
    alike, _, _ = make_runs(7, 60, gain=0.0)
    scores = {
        "base": {"cc": base, "nss": alike},
        "better": {"cc": better, "nss": alike + 0.01 * base},
        "other": {"cc": base + 0.02 * alike, "nss": alike},
    }
    found = compare_runs(scores, "base", patients, resamples=2000)
    assert [(one.first, one.second, one.metric) for one in found] == [
        ("better", "base", "cc"),
        ("better", "base", "nss"),
        ("other", "base", "cc"),
        ("other", "base", "nss"),
    ]
    assert [one.p_holm for one in found] == pytest.approx(holm([one.p_value for one in found]))
    assert found[0].p_holm == pytest.approx(4 / 2001)
    assert found[0].difference.low > 0.3
    assert found[3].p_value == 1.0


def test_runs_that_do_not_fit_are_refused() -> None:
    scores = {"a": {"cc": [1.0, 2.0]}, "b": {"nss": [1.0, 2.0]}}
    with pytest.raises(DataError, match=r"run 'b': expected the metrics \['cc'\] of 'a'"):
        compare_runs(scores, "a", ["x", "y"])
    with pytest.raises(DataError, match=r"run 'c' to compare with: expected one of \['a', 'b'\]"):
        compare_runs(scores, "c", ["x", "y"])
    with pytest.raises(DataError, match=r"runs to compare: expected .*, found \(2,\) and \(3,\)"):
        compare_pair([1.0, 2.0], [1.0, 2.0, 3.0], ["x", "y"])


def test_seeds_and_their_spread() -> None:
    found = seed_spread([[1.0, 3.0], [2.0, math.nan], [5.0, 5.0]])
    assert found.seeds == (2.0, 2.0, 5.0)
    assert (found.mean, found.low, found.high) == (3.0, 2.0, 5.0)
    assert found.std == pytest.approx(math.sqrt(3))
    assert math.isnan(seed_spread([[1.0, 2.0]]).std)
    with pytest.raises(DataError, match="at least 1 run, found none"):
        seed_spread([])

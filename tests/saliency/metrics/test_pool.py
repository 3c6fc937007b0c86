"""The pool of other patients' fixations."""

import numpy as np
import pytest

from eye_gaze_data.errors import DataError
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort
from saliency.metrics.pool import FixationPool


def make_pool() -> FixationPool:
    """Two images of patient a, one of b, one of c; one fixation is off its image."""
    points = [
        ([10.0, 90.0], [20.0, 40.0]),
        ([50.0], [25.0]),
        ([5.0, 5.0, 250.0], [1.0, 1.0, 3.0]),
        ([], []),
    ]
    return FixationPool(points, [(50, 100), (50, 100), (10, 200), (5, 5)], ["a", "a", "b", "c"])


def test_fixations_of_other_patients_are_rescaled_with_multiplicity() -> None:
    pool = make_pool()
    assert (len(pool), pool.n_dropped) == (5, 1)
    found = pool.others("a", (100, 400))
    assert np.asarray(found.x).tolist() == [10.0, 10.0]
    assert np.asarray(found.y).tolist() == [10.0, 10.0]
    others = pool.others("b", (50, 100))
    assert np.asarray(others.x).tolist() == [10.0, 90.0, 50.0]
    assert np.asarray(others.y).tolist() == [20.0, 40.0, 25.0]
    assert len(np.asarray(pool.others("c", (8, 8)).x)) == 5


def test_a_patient_alone_has_no_others() -> None:
    pool = FixationPool([([1.0], [1.0])], [(5, 5)], ["a"])
    assert len(np.asarray(pool.others("a", (5, 5)).x)) == 0


def test_no_fixation_is_rounded_off_the_grid() -> None:
    last = np.nextafter(3056.0, 0)
    pool = FixationPool([([last], [last])], [(3056, 3056)], ["a"])
    for side in (7, 224, 641, 10_000):
        found = pool.others("b", (side, side))
        assert float(np.asarray(found.x)[0]) < side


def test_a_sample_is_a_function_of_the_seed() -> None:
    rng = np.random.default_rng(0)
    pool = FixationPool([tuple(rng.uniform(0, 9, (2, 500)))], [(9, 9)], ["a"])
    first, again, other = (
        np.asarray(pool.others("b", (9, 9), limit=60, seed=seed).x) for seed in (1, 1, 2)
    )
    assert len(first) == 60
    assert len(np.unique(first)) == 60
    assert first.tolist() == again.tolist() != other.tolist()


def test_a_sample_of_the_others_is_that_of_the_others_alone() -> None:
    """Own fixations lie between theirs: the sample is drawn as from a list without them."""
    rng = np.random.default_rng(3)
    points = [tuple(rng.uniform(0, 9, (2, n))) for n in (40, 7, 60, 1, 25, 90)]
    sizes, patients = [(9, 9)] * 6, ["a", "b", "a", "c", "b", "d"]
    pool = FixationPool(points, sizes, patients)
    for patient in ("a", "b", "c", "d", "nobody"):
        theirs = [p for p, owner in zip(points, patients, strict=True) if owner != patient]
        x = np.concatenate([one for one, _ in theirs])
        places = np.sort(np.random.default_rng(8).choice(len(x), 30, replace=False))
        found = pool.others(patient, (9, 9), limit=30, seed=8)
        assert np.asarray(found.x).tolist() == pytest.approx(x[places].tolist(), abs=1e-14)


def test_lengths_must_agree() -> None:
    with pytest.raises(
        DataError, match="expected points, sizes and patients of .*, found 1, 2 and 1"
    ):
        FixationPool([([], [])], [(1, 1), (1, 1)], ["a"])


def test_a_cohort_without_gaze_has_no_pool() -> None:
    cohort = phantom_cohort(PhantomConfig(n_patients=2, height=64, width=64, gaze="none"))
    with pytest.raises(DataError, match=r"cohort '\w+': the fixation pool needs gaze, found none"):
        FixationPool.of_cohort(cohort, [0])

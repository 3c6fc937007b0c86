"""Calibration against scikit-learn and closed forms; the temperature is a step with a file."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from diagnosis.calibration import (
    Temperature,
    brier_score,
    exclusive_brier_score,
    reliability,
    top_reliability,
)
from diagnosis.metrics import auroc
from eye_gaze_data.errors import DataError


def make_probabilities(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.6, 0.9, n)
    return probabilities, (rng.random(n) < probabilities).astype(float)


def make_logits(seed: int, n: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, 3) that are too large by a factor, and labels drawn from the right ones."""
    rng = np.random.default_rng(seed)
    right = 1.5 * rng.normal(size=(n, 3))
    return factor * right, (rng.random((n, 3)) < expit(right)).astype(float)


def make_exclusive(seed: int, n: int, factor: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    right = 1.5 * rng.normal(size=(n, 3))
    chosen = [rng.choice(3, p=row) for row in softmax(right, axis=1)]
    return factor * right, np.eye(3)[chosen]


@pytest.mark.parametrize("binning", ["width", "count"])
def test_reliability_is_scikit_learns(binning: str) -> None:
    probabilities, labels = make_probabilities(0)
    strategy = {"width": "uniform", "count": "quantile"}[binning]
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10, strategy=strategy)
    found = reliability(probabilities, labels, bins=10, binning=binning)  # type: ignore[arg-type]
    assert found.observed.tolist() == pytest.approx(observed.tolist())
    assert found.predicted.tolist() == pytest.approx(predicted.tolist())
    assert found.counts.sum() == 300


def test_the_expected_error_by_hand() -> None:
    probabilities, labels = np.array([0.1, 0.1, 0.9, 0.9, 0.8]), np.array([0.0, 1, 1, 1, 0])
    found = reliability(probabilities, labels, bins=2)
    assert found.counts.tolist() == [2, 3]
    # |0.1 - 1/2| * 2/5 + |2.6/3 - 2/3| * 3/5
    assert found.expected_error == pytest.approx(0.4 * 0.4 + 0.2 * 0.6)


def test_a_probability_of_1_falls_into_the_last_bin() -> None:
    found = reliability(np.array([0.0, 1.0]), np.array([0.0, 1.0]), bins=4)
    assert found.counts.tolist() == [1, 1]
    assert found.expected_error == 0


def test_the_error_of_calibrated_probabilities_is_small() -> None:
    probabilities, labels = make_probabilities(1, n=20_000)
    assert reliability(probabilities, labels).expected_error < 0.015
    assert reliability(probabilities**3, labels).expected_error > 0.1


def test_the_brier_score_is_scikit_learns() -> None:
    probabilities, labels = make_probabilities(2)
    expected = brier_score_loss(labels, probabilities)
    assert brier_score(probabilities, labels) == pytest.approx(expected, abs=1e-15)
    unknown = np.r_[labels, [np.nan] * 3]
    assert brier_score(np.r_[probabilities, 0.5, 0.5, np.nan], unknown) == pytest.approx(expected)
    assert math.isnan(brier_score(np.zeros(2), np.full(2, np.nan)))


def test_exclusive_classes() -> None:
    logits, labels = make_exclusive(3, 200, 1.0)
    probabilities = softmax(logits, axis=1)
    labels[:5] = np.nan
    expected = ((probabilities - labels)[5:] ** 2).sum(1).mean()
    assert exclusive_brier_score(probabilities, labels) == pytest.approx(expected, abs=1e-15)
    right = probabilities[5:].argmax(1) == labels[5:].argmax(1)
    found = top_reliability(probabilities, labels, bins=10)
    by_hand = reliability(probabilities[5:].max(1), right.astype(float), bins=10)
    assert found.expected_error == by_hand.expected_error
    assert found.counts.sum() == 195


@pytest.mark.parametrize("factor", [0.5, 1.0, 4.0])
def test_the_temperature_of_each_finding_is_found(factor: float) -> None:
    logits, labels = make_logits(4, 4000, factor)
    labels[::7] = np.nan
    found = Temperature.fit(logits, labels, ["a", "b", "c"], exclusive=False)
    assert found.temperatures == pytest.approx((factor,) * 3, rel=0.12)
    assert found.unfitted == ()
    for column in range(3):
        known = ~np.isnan(labels[:, column])
        losses = [
            log_loss(labels[known, column], expit(logits[known, column] / one))
            for one in found.temperatures[column] * np.array([0.98, 1.0, 1.02])
        ]
        assert losses[1] == min(losses)
    assert found.loss_after <= found.loss_before
    test_logits, test_labels = make_logits(5, 4000, factor)
    calibrated = found.probabilities(test_logits)
    error = reliability(calibrated[:, 0], test_labels[:, 0]).expected_error
    assert error < 0.03
    assert auroc(calibrated[:, 0], test_labels[:, 0]) == auroc(test_logits[:, 0], test_labels[:, 0])


def test_the_temperature_of_exclusive_classes_is_one() -> None:
    logits, labels = make_exclusive(6, 4000, 3.0)
    labels[:9] = np.nan
    found = Temperature.fit(logits, labels, ["a", "b", "c"], exclusive=True)
    assert len(set(found.temperatures)) == 1
    assert found.temperatures[0] == pytest.approx(3.0, rel=0.08)
    expected = log_loss(labels[9:].argmax(1), softmax(logits[9:] / found.temperatures[0], axis=1))
    assert found.loss_after == pytest.approx(expected)
    assert found.probabilities(logits).sum(1) == pytest.approx(np.ones(4000))
    assert (found.probabilities(logits).argmax(1) == logits.argmax(1)).all()


def test_findings_without_both_labels_stay_as_they_are() -> None:
    logits, labels = make_logits(7, 100, 2.0)
    labels[:, 1], labels[:, 2] = 0, np.nan
    found = Temperature.fit(logits, labels, ["a", "b", "c"], exclusive=False)
    assert found.unfitted == ("b", "c")
    assert found.temperatures[1:] == (1.0, 1.0)
    nothing = Temperature.fit(logits, np.full((100, 3), np.nan), ["a", "b", "c"], exclusive=True)
    assert nothing.unfitted == ("a", "b", "c")
    assert math.isnan(nothing.loss_after)


def test_separable_validation_data_stop_at_the_bound() -> None:
    logits = np.array([[3.0], [2.0], [-2.0], [-3.0]])
    found = Temperature.fit(logits, np.array([[1.0], [1], [0], [0]]), ["a"], exclusive=False)
    assert found.temperatures[0] == pytest.approx(0.02, rel=1e-3)
    assert np.isfinite(found.probabilities(logits)).all()


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    logits, labels = make_logits(8, 60, 2.0)
    labels[:, 2] = np.nan
    for target in (labels, np.full_like(labels, np.nan)):
        found = Temperature.fit(logits, target, ["a", "b", "c"], exclusive=False)
        found.save(tmp_path / "temperature.json")
        loaded = Temperature.load(tmp_path / "temperature.json")
        assert repr(loaded) == repr(found)
        assert (loaded.probabilities(logits) == found.probabilities(logits)).all()
    (tmp_path / "other.json").write_text('{"temperature": 2}')
    with pytest.raises(DataError, match=r"other\.json: expected a temperature with"):
        Temperature.load(tmp_path / "other.json")


def test_bad_input_is_refused() -> None:
    probabilities, labels = make_probabilities(9, 10)
    with pytest.raises(DataError, match=r"numbers in \[0, 1\], found .*; apply the sigmoid"):
        brier_score(probabilities + 1, labels)
    with pytest.raises(DataError, match="bins: expected at least 1, found 0"):
        reliability(probabilities, labels, bins=0)
    logits, classes = make_exclusive(10, 4, 1.0)
    with pytest.raises(DataError, match="expected a sum of 1, found"):
        exclusive_brier_score(logits, classes)
    classes[1] = [1, 1, 0]
    with pytest.raises(DataError, match=r"expected one 1 and zeros, found \[1.0, 1.0, 0.0\]"):
        Temperature.fit(logits, classes, ["a", "b", "c"], exclusive=True)
    with pytest.raises(DataError, match=r"expected \(n, 2\) both, found \(4, 3\) and \(4, 3\)"):
        Temperature.fit(logits, classes, ["a", "b"], exclusive=False)
    fitted = Temperature.fit(*make_logits(11, 20, 1.0), ["a", "b", "c"], exclusive=False)
    with pytest.raises(DataError, match=r"logits: expected \(n, 3\) for a, b, c, found \(4, 2\)"):
        fitted.probabilities(logits[:, :2])
    logits[0, 0] = np.inf
    with pytest.raises(DataError, match="expected finite numbers where the class is known"):
        Temperature.fit(logits, np.eye(3)[[0, 1, 2, 0]], ["a", "b", "c"], exclusive=True)

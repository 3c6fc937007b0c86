"""AUROC and average precision of findings, their support, and the interval over patients."""

import math
import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from diagnosis.metrics import auroc, average_precision, bootstrap_auroc, diagnosis_metrics
from eye_gaze_data.errors import DataError
from saliency.metrics.bootstrap import bca_bounds


def make_cohort(seed: int, n: int = 300, steps: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels with a fifth unknown; with ``steps`` the scores have many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(float)
    scores = labels + rng.normal(size=n)
    if steps:
        scores = np.round(scores * steps) / steps
    labels[rng.random(n) < 0.2] = np.nan
    return scores, labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [None, 1, 4])
def test_agrees_with_scikit_learn(seed: int, steps: int | None) -> None:
    scores, labels = make_cohort(seed, steps=steps)
    known = ~np.isnan(labels)
    expected = roc_auc_score(labels[known], scores[known])
    assert auroc(scores, labels) == pytest.approx(expected, abs=1e-14)
    precision = average_precision_score(labels[known], scores[known])
    assert average_precision(scores, labels) == pytest.approx(precision, abs=1e-14)


def test_equal_scores_are_chance() -> None:
    labels = np.array([1.0, 0, 0, 0])
    assert auroc(np.full(4, 0.3), labels) == 0.5
    assert average_precision(np.full(4, 0.3), labels) == 0.25


def test_order_of_rows_within_ties_is_irrelevant() -> None:
    scores, labels = make_cohort(3, steps=1)
    order = np.random.default_rng(0).permutation(len(scores))
    assert auroc(scores[order], labels[order]) == auroc(scores, labels)
    assert average_precision(scores[order], labels[order]) == average_precision(scores, labels)


def test_logits_of_infinity_are_ranked() -> None:
    scores, labels = np.array([-np.inf, 0.0, np.inf]), np.array([0.0, 0.0, 1.0])
    assert auroc(scores, labels) == 1
    assert average_precision(scores, labels) == 1


def test_per_finding_with_support_and_macro_over_the_defined() -> None:
    scores, labels = (np.stack([one] * 4, 1) for one in make_cohort(1))
    scores[:, 1] *= -1
    labels[:, 2] = np.where(labels[:, 2] == 1, np.nan, labels[:, 2])  # no positives
    labels[:, 3] = np.nan  # nothing known
    found = diagnosis_metrics(scores, labels, ["a", "b", "none", "unknown"])
    first, second, none, unknown = found.findings
    assert first.auroc == auroc(scores[:, 0], labels[:, 0])
    assert second.auroc == pytest.approx(1 - first.auroc, abs=1e-14)
    assert math.isnan(none.auroc)
    assert math.isnan(none.average_precision)
    assert none.n_positive == 0
    assert none.n_negative == first.n_negative
    assert none.prevalence == 0
    assert (unknown.n_positive, unknown.n_negative, unknown.n_unknown) == (0, 0, 300)
    assert math.isnan(unknown.prevalence)
    assert first.n_positive + first.n_negative + first.n_unknown == 300
    assert first.prevalence == first.n_positive / (first.n_positive + first.n_negative)
    assert [one.finding for one in found.findings] == ["a", "b", "none", "unknown"]
    assert found.n_defined == 2
    assert found.macro_auroc == pytest.approx(0.5, abs=1e-14)
    expected = (first.average_precision + second.average_precision) / 2
    assert found.macro_average_precision == pytest.approx(expected, abs=1e-14)


def test_nothing_defined_is_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = diagnosis_metrics(np.zeros((3, 1)), np.ones((3, 1)), ["a"])
    assert math.isnan(found.macro_auroc)
    assert math.isnan(found.macro_average_precision)
    assert found.n_defined == 0
    assert math.isnan(average_precision(np.arange(3.0), np.ones(3)))  # 1 would be no achievement
    empty = diagnosis_metrics(np.zeros((0, 1)), np.zeros((0, 1)), ["a"])
    assert math.isnan(empty.findings[0].auroc)


def test_a_score_without_a_label_may_be_missing() -> None:
    scores, labels = np.array([0.1, np.nan, 0.9]), np.array([0.0, np.nan, 1.0])
    assert auroc(scores, labels) == 1


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (
            [[0.1], [np.nan]],
            [[1.0], [0.0]],
            "finding 'a': scores: expected a number where the label is known, found NaN, row 1",
        ),
        ([[0.1], [0.2]], [[1.0], [-1.0]], "finding 'a': labels: .* found -1.0 in row 1"),
        (
            [[0.1], [0.2]],
            [[1.0, 0.0]],
            r"expected \(n, 1\) both, one column a finding, found \(2, 1\) and \(1, 2\)",
        ),
        ([[0.1, 0.2]], [[1.0, 0.0]], r"expected \(n, 1\) both"),
        ([0.1, 0.2], [1.0, 0.0], r"expected \(n, 1\) both"),
    ],
)
def test_bad_input_is_refused(scores: list[float], labels: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        diagnosis_metrics(np.array(scores), np.array(labels), ["a"])


def test_a_column_must_be_one_dimensional() -> None:
    with pytest.raises(DataError, match=r"expected \(n,\) both, found \(2,\) and \(1, 2\)"):
        auroc(np.zeros(2), np.zeros((1, 2)))
    with pytest.raises(DataError, match=r"patients: expected one a row \(2,\), found 3"):
        bootstrap_auroc(np.zeros(2), np.zeros(2), ["a", "b", "c"])


def test_bootstrap_equals_a_loop_over_the_same_draws() -> None:
    scores, labels = make_cohort(2, n=60, steps=2)
    patients = [f"p{row // 3:02d}" for row in range(60)]
    known = ~np.isnan(labels)
    owners = np.array(patients)[known]
    names = sorted(set(owners))
    drawn = np.random.default_rng(5).integers(len(names), size=(200, len(names)))
    values = []
    for one in drawn:
        rows = np.concatenate([np.flatnonzero(owners == names[each]) for each in one])
        values.append(roc_auc_score(labels[known][rows], scores[known][rows]))
    found = bootstrap_auroc(scores, labels, patients, resamples=200, seed=5)
    assert found.value == pytest.approx(auroc(scores, labels), abs=1e-14)
    jackknife = [
        roc_auc_score(labels[known][owners != name], scores[known][owners != name])
        for name in names
    ]
    expected = bca_bounds(found.value, np.array(values), [np.array(jackknife)], 0.95)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert (found.n, found.n_patients, found.resamples) == (int(known.sum()), len(names), 200)


def test_resamples_with_one_class_only_are_left_out() -> None:
    scores, labels = np.array([0.9, 0.2, 0.3, 0.4]), np.array([1.0, 0, 0, 0])
    found = bootstrap_auroc(scores, labels, ["a", "b", "c", "d"], resamples=500)
    assert found.value == 1
    assert 0 < found.resamples < 500
    assert (found.low, found.high) == (1, 1)


def test_bootstrap_of_one_class_is_nan() -> None:
    found = bootstrap_auroc(np.arange(3.0), np.ones(3), ["a", "b", "c"], resamples=10)
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.resamples == 0

"""Diagnosis metrics: per finding, with support, NaN where undefined, macro over the defined ones.

torchmetrics' ``MultilabelAUROC`` scores a finding without positives 0.0 and averages that in
(Lightning-AI/torchmetrics#2494); on a small test split that is most of the macro score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from jaxtyping import Shaped

from eye_gaze_data.errors import DataError
from saliency.metrics import (
    Interval,
    bootstrap_statistic,
    left_out_rank_auc,
    mean_of_defined,
    rank_auc,
    resampled_rank_auc,
)
from saliency.metrics.bootstrap import Patients

Numbers = npt.NDArray[np.float64]
Array = Shaped[np.ndarray, "..."]  # shapes are checked by hand with an error that a user can read


@dataclass(frozen=True)
class FindingMetrics:
    """How well one finding is told.

    Attributes:
        finding: its name.
        auroc: exact area under the ROC curve, ties half; NaN without positives or negatives.
        average_precision: area under the precision-recall steps; NaN likewise. Its chance level
            is ``prevalence``.
        n_positive: images with the finding.
        n_negative: images without it.
        n_unknown: images for which it is not stated; they are left out.
    """

    finding: str
    auroc: float
    average_precision: float
    n_positive: int
    n_negative: int
    n_unknown: int

    @property
    def prevalence(self) -> float:
        """The share of positives among the images with a known label; NaN if there are none."""
        known = self.n_positive + self.n_negative
        return self.n_positive / known if known else float("nan")


@dataclass(frozen=True)
class DiagnosisMetrics:
    """All findings of a cohort.

    Attributes:
        findings: one entry a finding, in the order of the labels.
        macro_auroc: mean over the findings for which it is defined; NaN if there are none.
        macro_average_precision: likewise.
        n_defined: the number of findings both means are over.
        micro_auroc: AUROC of all known pairs of image and finding in one pool. It mixes findings of
            different prevalence and calibration: scores must be comparable over findings.
    """

    findings: tuple[FindingMetrics, ...]
    macro_auroc: float
    macro_average_precision: float
    n_defined: int
    micro_auroc: float


def diagnosis_metrics(scores: Array, labels: Array, findings: Sequence[str]) -> DiagnosisMetrics:
    """Metrics of every finding.

    Args:
        scores: (n, c) probabilities or logits: only their order counts.
        labels: (n, c) 1, 0 or NaN where not stated.
        findings: c names.

    Raises:
        DataError: if shapes do not fit, a label is another number, or a score that is needed NaN.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if scores.ndim != 2 or scores.shape != labels.shape or scores.shape[1] != len(findings):
        raise DataError(
            f"scores and labels: expected (n, {len(findings)}) both, one column a finding, "
            f"found {scores.shape} and {labels.shape}"
        )
    each = tuple(
        _finding(name, scores[:, column], labels[:, column]) for column, name in enumerate(findings)
    )
    defined = [one for one in each if not np.isnan(one.auroc)]
    return DiagnosisMetrics(
        findings=each,
        macro_auroc=_mean([one.auroc for one in defined]),
        macro_average_precision=_mean([one.average_precision for one in defined]),
        n_defined=len(defined),
        micro_auroc=auroc(scores.ravel(), labels.ravel()),
    )


def auroc(scores: Array, labels: Array) -> float:
    """Exact area under the ROC curve of one finding, ties half.

    Args:
        scores: (n,) only their order counts.
        labels: (n,) 1, 0 or NaN where not stated; these are left out.

    Returns:
        0 to 1, 0.5 is chance; NaN without positives or negatives.

    Raises:
        DataError: if shapes differ, a label is another number, or a score that is needed is NaN.
    """
    scores, positive = known_scores(scores, labels)
    return rank_auc(scores[positive], scores[~positive])


def average_precision(scores: Array, labels: Array) -> float:
    r"""Average precision of one finding, :math:`\sum_n (R_n - R_{n-1}) P_n` over distinct scores.

    The step-wise area of scikit-learn's ``average_precision_score``, not the trapezoids', which
    interpolate too favourably (Davis and Goadrich, ICML 2006). Equal scores enter together.

    Args:
        scores: (n,) only their order counts.
        labels: (n,) 1, 0 or NaN where not stated; these are left out.

    Returns:
        0 to 1, the prevalence is chance; NaN without positives or negatives.

    Raises:
        DataError: if shapes differ, a label is another number, or a score that is needed is NaN.
    """
    scores, positive = known_scores(scores, labels)
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    found = np.cumsum(positive[order])[ends]
    precision = found / (ends + 1)
    return float((np.diff(found, prepend=0) * precision).sum() / found[-1])


def bootstrap_auroc(
    scores: Array,
    labels: Array,
    patients: Patients,
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The AUROC of one finding and its interval by the bootstrap over patients.

    Args:
        scores: (n,) only their order counts.
        labels: (n,) 1, 0 or NaN where not stated; these rows are left out.
        patients: (n,) whose row it is.
        resamples: number of draws; those without positives or without negatives are left out.
        seed: of the draws.
        level: the coverage aimed at.

    Raises:
        DataError: as for ``auroc``, or if the number of patients differs.
    """
    labels = np.asarray(labels, np.float64)
    if labels.shape != (len(patients),):
        raise DataError(f"patients: expected one a row {labels.shape}, found {len(patients)}")
    known, positive = known_scores(scores, labels)
    owners = [patient for patient, label in zip(patients, labels, strict=True) if label == label]
    return bootstrap_statistic(
        lambda weights: resampled_rank_auc(known, positive, weights),
        owners,
        left_out=lambda unit, n_units: left_out_rank_auc(known, positive, unit, n_units),
        resamples=resamples,
        seed=seed,
        level=level,
    )


def bootstrap_macro_auroc(
    scores: Array,
    labels: Array,
    patients: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The mean AUROC over findings and its interval; findings share each draw of patients.

    Args:
        scores: (n, c) only their order counts.
        labels: (n, c) 1, 0 or NaN where not stated.
        patients: (n,) whose row it is.
        resamples: number of draws; in each the mean is over the findings defined in it.
        seed: of the draws.
        level: the coverage aimed at.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    columns = [known_scores(values[:, c], truth[:, c]) for c in range(truth.shape[1])]
    stated = ~np.isnan(truth)

    def macro(weights: Numbers) -> Numbers:
        return mean_of_defined(
            [
                resampled_rank_auc(known, positive, weights[:, stated[:, c]])
                for c, (known, positive) in enumerate(columns)
            ]
        )

    def without(unit: npt.NDArray[np.int64], n_units: int) -> Numbers:
        return mean_of_defined(
            [
                left_out_rank_auc(known, positive, unit[stated[:, c]], n_units)
                for c, (known, positive) in enumerate(columns)
            ]
        )

    return bootstrap_statistic(
        macro, patients, left_out=without, resamples=resamples, seed=seed, level=level
    )


def _finding(name: str, scores: Numbers, labels: Numbers) -> FindingMetrics:
    try:
        return FindingMetrics(
            finding=name,
            auroc=auroc(scores, labels),
            average_precision=average_precision(scores, labels),
            n_positive=int((labels == 1).sum()),
            n_negative=int((labels == 0).sum()),
            n_unknown=int(np.isnan(labels).sum()),
        )
    except DataError as error:
        raise DataError(f"finding '{name}': {error}") from error


def known_scores(scores: Array, labels: Array) -> tuple[Numbers, npt.NDArray[np.bool_]]:
    """(k,) the scores with a known label, and which of them are positive.

    Raises:
        DataError: if shapes differ, a label is another number, or a score that is needed is NaN.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise DataError(
            f"scores and labels: expected (n,) both, found {scores.shape} and {labels.shape}"
        )
    known = ~np.isnan(labels)
    wrong = known & (labels != 0) & (labels != 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(f"labels: expected 1, 0 or NaN, found {labels[row]} in row {row}")
    lost = known & np.isnan(scores)
    if lost.any():
        row = int(np.flatnonzero(lost)[0])
        raise DataError(f"scores: expected a number where the label is known, found NaN, row {row}")
    return scores[known], labels[known] == 1


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")

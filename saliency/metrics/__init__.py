"""Saliency metrics: pure functions of a batch of maps, running means over images, and intervals."""

from .auc import fixation_auc, rank_auc, resampled_rank_auc
from .bootstrap import Interval, bootstrap_mean, bootstrap_statistic
from .evaluators import (
    CorrelationCoefficient,
    FixationAUC,
    KLDivergence,
    NormalisedScanpathSaliency,
    SaliencyEvaluator,
    Similarity,
)
from .functional import (
    correlation_coefficient,
    kl_divergence,
    normalised_scanpath_saliency,
    similarity,
)
from .table import SALIENCY_METRICS, SaliencyMetric
from .values import MetricValues

__all__ = [
    "SALIENCY_METRICS",
    "CorrelationCoefficient",
    "FixationAUC",
    "Interval",
    "KLDivergence",
    "MetricValues",
    "NormalisedScanpathSaliency",
    "SaliencyEvaluator",
    "SaliencyMetric",
    "Similarity",
    "bootstrap_mean",
    "bootstrap_statistic",
    "correlation_coefficient",
    "fixation_auc",
    "kl_divergence",
    "normalised_scanpath_saliency",
    "rank_auc",
    "resampled_rank_auc",
    "similarity",
]

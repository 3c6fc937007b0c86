"""Saliency metrics: pure functions of maps and fixations, running means over images, statistics."""

from .auc import fixation_auc, shuffled_auc
from .bootstrap import Interval, bootstrap_mean, bootstrap_statistic, bootstrap_statistics
from .defined import mean_of_defined, ratio
from .evaluators import (
    CorrelationCoefficient,
    EarthMoversDistance,
    FixationAUC,
    InformationGain,
    KLDivergence,
    MeanOverImages,
    NormalisedScanpathSaliency,
    SaliencyEvaluator,
    ShuffledAUC,
    Similarity,
)
from .functional import (
    correlation_coefficient,
    exact_kl_divergence,
    information_gain,
    kl_divergence,
    normalised_scanpath_saliency,
    similarity,
)
from .ranks import left_out_rank_auc, rank_auc, resampled_rank_auc
from .table import ALL_METRICS, SALIENCY_METRICS, SaliencyMetric, saliency_metrics
from .transport import earth_movers_distance
from .values import MetricValues, Points

__all__ = [
    "ALL_METRICS",
    "SALIENCY_METRICS",
    "CorrelationCoefficient",
    "EarthMoversDistance",
    "FixationAUC",
    "InformationGain",
    "Interval",
    "KLDivergence",
    "MeanOverImages",
    "MetricValues",
    "NormalisedScanpathSaliency",
    "Points",
    "SaliencyEvaluator",
    "SaliencyMetric",
    "ShuffledAUC",
    "Similarity",
    "bootstrap_mean",
    "bootstrap_statistic",
    "bootstrap_statistics",
    "correlation_coefficient",
    "earth_movers_distance",
    "exact_kl_divergence",
    "fixation_auc",
    "information_gain",
    "kl_divergence",
    "left_out_rank_auc",
    "mean_of_defined",
    "normalised_scanpath_saliency",
    "rank_auc",
    "ratio",
    "resampled_rank_auc",
    "saliency_metrics",
    "shuffled_auc",
    "similarity",
]

"""Diagnosis metrics: per finding, with support and intervals, undefined ones NaN."""

from .delong import AurocComparison, compare_auroc, delong_auroc
from .detection import (
    FilmBoxes,
    Matches,
    average_precisions,
    match_boxes,
    mean_average_precision,
    overlaps,
    side_by_side,
)
from .findings import (
    DiagnosisMetrics,
    FindingMetrics,
    auroc,
    average_precision,
    bootstrap_auroc,
    bootstrap_macro_auroc,
    diagnosis_metrics,
)
from .operating import (
    OperatingPoint,
    choose_f1_threshold,
    operate,
    roc_curve,
    sensitivity_at_specificity,
)

__all__ = [
    "AurocComparison",
    "DiagnosisMetrics",
    "FilmBoxes",
    "FindingMetrics",
    "Matches",
    "OperatingPoint",
    "auroc",
    "average_precision",
    "average_precisions",
    "bootstrap_auroc",
    "bootstrap_macro_auroc",
    "choose_f1_threshold",
    "compare_auroc",
    "delong_auroc",
    "diagnosis_metrics",
    "match_boxes",
    "mean_average_precision",
    "operate",
    "overlaps",
    "roc_curve",
    "sensitivity_at_specificity",
    "side_by_side",
]

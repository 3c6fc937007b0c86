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
from .localisation import TOLERANCE, BoxRegion, lift, mass_inside, pointing_game
from .operating import (
    OperatingPoint,
    choose_f1_threshold,
    operate,
    roc_curve,
    sensitivity_at_specificity,
)

__all__ = [
    "TOLERANCE",
    "AurocComparison",
    "BoxRegion",
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
    "lift",
    "mass_inside",
    "match_boxes",
    "mean_average_precision",
    "operate",
    "overlaps",
    "pointing_game",
    "roc_curve",
    "sensitivity_at_specificity",
    "side_by_side",
]

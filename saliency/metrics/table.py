"""The saliency metrics by name: what each is computed by, from which truth, and which way is up."""

from collections.abc import Callable
from typing import NamedTuple

from .auc import fixation_auc
from .functional import (
    correlation_coefficient,
    kl_divergence,
    normalised_scanpath_saliency,
    similarity,
)
from .values import Maps, MetricValues, Truth


class SaliencyMetric(NamedTuple):
    """One metric.

    Attributes:
        function: ``(prediction, truth, valid) -> MetricValues``.
        truth: whether it compares with the gaze ``density`` or with the ``fixations``. Passing the
            wrong one is the most common mistake with these metrics.
        higher_is_better: which way is up.
    """

    function: Callable[[Maps, Maps, Maps | None], MetricValues]
    truth: Truth
    higher_is_better: bool


SALIENCY_METRICS: dict[str, SaliencyMetric] = {
    "cc": SaliencyMetric(correlation_coefficient, "density", higher_is_better=True),
    "kld": SaliencyMetric(kl_divergence, "density", higher_is_better=False),
    "nss": SaliencyMetric(normalised_scanpath_saliency, "fixations", higher_is_better=True),
    "sim": SaliencyMetric(similarity, "density", higher_is_better=True),
    "auc": SaliencyMetric(fixation_auc, "fixations", higher_is_better=True),
}

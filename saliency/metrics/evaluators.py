"""Running means of the saliency metrics over images, for monitoring on the network grid.

The mean is over images, never over batches: its value does not depend on the batch size, on an
uneven last batch, or on how the images are spread over processes.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from .table import SALIENCY_METRICS
from .values import Maps


class SaliencyEvaluator(Metric):
    """Mean of one saliency metric over the images for which it is defined.

    Args:
        arguments: passed on to ``torchmetrics.Metric``.
    """

    name: ClassVar[str]
    is_differentiable = False
    full_state_update = False

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 (torchmetrics' own)
        super().__init__(**arguments)
        # The states carry the metric's name: a MetricCollection merges metrics whose states have
        # equal names and values after the first batch, and in a batch without gaze all are zero.
        zeros = {"total": torch.float64, "defined": torch.int64, "undefined": torch.int64}
        for state, dtype in zeros.items():
            default = torch.zeros((), dtype=dtype)
            self.add_state(f"{self.name}_{state}", default, dist_reduce_fx="sum")

    def update(self, prediction: Maps, saliency: Maps, fixations: Maps, valid: Maps | None) -> None:
        """Add the images of a batch.

        Args:
            prediction: (b, 1, h, w), the predicted density.
            saliency: (b, 1, h, w), the gaze density; NaN without gaze.
            fixations: (b, 1, h, w), fixation counts; NaN without gaze.
            valid: bool (b, 1, h, w), the pixels on film; None for all.

        Raises:
            DataError: if shapes or dtypes do not fit, or counts are negative or fractional.
        """
        metric = SALIENCY_METRICS[self.name]
        truth = saliency if metric.truth == "density" else fixations
        values = metric.function(prediction, truth, valid).values
        known = ~values.isnan()
        self._add("total", values[known].sum())
        self._add("defined", known.sum())
        self._add("undefined", (~known).sum())

    def compute(self) -> Float64[Tensor, ""]:
        """float64 (): the mean over the defined images; NaN if there are none."""
        total: Tensor = getattr(self, f"{self.name}_total")
        return total / self.n_defined

    @property
    def n_defined(self) -> Int64[Tensor, ""]:
        """int64 (): the images that the mean is over (of this process, outside of compute)."""
        count: Tensor = getattr(self, f"{self.name}_defined")
        return count

    @property
    def n_undefined(self) -> Int64[Tensor, ""]:
        """int64 (): the images left out, for want of gaze or because the metric is undefined."""
        count: Tensor = getattr(self, f"{self.name}_undefined")
        return count

    def _add(self, state: str, amount: Tensor) -> None:
        before: Tensor = getattr(self, f"{self.name}_{state}")
        setattr(self, f"{self.name}_{state}", before + amount.to(before.device))


class CorrelationCoefficient(SaliencyEvaluator):
    """Mean ``correlation_coefficient`` over images."""

    name = "cc"
    higher_is_better = True


class KLDivergence(SaliencyEvaluator):
    """Mean ``kl_divergence`` over images."""

    name = "kld"
    higher_is_better = False


class Similarity(SaliencyEvaluator):
    """Mean ``similarity`` over images."""

    name = "sim"
    higher_is_better = True


class NormalisedScanpathSaliency(SaliencyEvaluator):
    """Mean ``normalised_scanpath_saliency`` over images."""

    name = "nss"
    higher_is_better = True


class FixationAUC(SaliencyEvaluator):
    """Mean ``fixation_auc`` over images."""

    name = "auc"
    higher_is_better = True

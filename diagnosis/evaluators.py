"""Diagnosis metrics as torchmetrics classes, for monitoring."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from .metrics import BoxRegion, diagnosis_metrics, mass_inside, pointing_game


class MacroAUROC(Metric):
    """Mean AUROC over the findings for which it is defined; NaN if there is none."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, scores: Float[Tensor, "b c"], labels: Float[Tensor, "b c"]) -> None:
        """Add a batch of scores and of labels (1, 0, NaN)."""
        self.scores.append(scores.detach().float())
        self.labels.append(labels.float())

    def compute(self) -> Tensor:
        """The macro AUROC, a scalar."""
        # After a synchronisation over processes the states are tensors, not lists.
        if len(self.scores) == 0:
            return torch.tensor(torch.nan)
        scores, labels = dim_zero_cat(self.scores), dim_zero_cat(self.labels)
        names = [str(column) for column in range(scores.shape[1])]
        result = diagnosis_metrics(scores.cpu().numpy(), labels.cpu().numpy(), names)
        return torch.tensor(result.macro_auroc, dtype=torch.float32)


class _Localisation(Metric):
    """Mean of a localisation score over the maps for which it is defined."""

    score: ClassVar[Callable[..., float]]
    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    defined: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("defined", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        maps: Float[Tensor, "b 1 h w"],
        boxes: Sequence[Float[Tensor, "_ 4"]],
        valid: Bool[Tensor, "b 1 h w"] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            maps: of where a finding is said to be.
            boxes: of that finding, in pixels of the map; none where it is not known to be anywhere.
            valid: film; all pixels if None.
        """
        for row, own in enumerate(boxes):
            values = maps[row, 0].detach().double().cpu().numpy()
            film = None if valid is None else valid[row, 0].cpu().numpy()
            region = BoxRegion.of(own.double().cpu().numpy(), values.shape, film)
            found = type(self).score(values, region)
            if not np.isnan(found):
                self.total += found
                self.defined += 1

    def compute(self) -> Tensor:
        """The mean, float64; NaN if it is defined for no map."""
        return self.total / self.defined


class MassInside(_Localisation):
    """Mean ``mass_inside``: the share of a density inside the boxes."""

    score = staticmethod(mass_inside)


class PointingGame(_Localisation):
    """Mean ``pointing_game``: how often the map is highest at a box."""

    score = staticmethod(pointing_game)

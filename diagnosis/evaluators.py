"""Diagnosis metrics as torchmetrics classes, for monitoring."""

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from .metrics import diagnosis_metrics


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

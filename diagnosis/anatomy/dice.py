"""Dice of organ masks: a film and organ at a time, and as a mean for monitoring."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric


def dice(
    probabilities: Float[Tensor, "b m h w"],
    masks: Float[Tensor, "b m h w"],
    valid: Bool[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b m"]:
    """``2 |P and T| / (|P| + |T|)``, both cut at one half.

    Args:
        probabilities: of the organs.
        masks: in [0, 1]; a plane with a NaN is not annotated.
        valid: film, over whose pixels is counted; all if None.

    Returns:
        float64 (b, m): in [0, 1]; NaN where an organ is not annotated, or neither map has any.
    """
    known = ~masks.flatten(2).isnan().any(2)
    film = torch.ones_like(masks, dtype=torch.bool) if valid is None else valid.expand_as(masks)
    guess, truth = (probabilities >= 0.5) & film, (masks >= 0.5) & film
    both, sizes = (guess & truth).sum((2, 3)), guess.sum((2, 3)) + truth.sum((2, 3))
    return (2 * both.double() / sizes).masked_fill(~known, torch.nan)


class OrganDice(Metric):
    """Mean over organs of the mean ``dice`` over the films for which it is defined.

    Args:
        organs: number of planes.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    total: Tensor
    films: Tensor

    def __init__(self, organs: int) -> None:
        super().__init__()
        for name in ("total", "films"):
            zeros = torch.zeros(organs, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(
        self,
        probabilities: Float[Tensor, "b m h w"],
        masks: Float[Tensor, "b m h w"],
        valid: Bool[Tensor, "b 1 h w"] | None = None,
    ) -> None:
        """Add the films of a batch."""
        values = dice(probabilities, masks, valid)
        self.total = self.total + values.nansum(0)
        self.films = self.films + (~values.isnan()).sum(0)

    def compute(self) -> Tensor:
        """A scalar; NaN if no film has any organ annotated."""
        seen = self.films > 0
        return (self.total[seen] / self.films[seen]).mean()

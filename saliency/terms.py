"""A loss before it is reduced: so that it can be normalised over all processes."""

from typing import NamedTuple

import torch
from torch import Tensor


class LossTerm(NamedTuple):
    """The values of one loss over the rows, pixels, pairs or triplets for which it is known.

    Attributes:
        values: (n,) not reduced, not weighted; empty where nothing is known.
        weights: (n,) of each value in the mean, e.g. class weights; None for equal ones.
    """

    values: Tensor
    weights: Tensor | None = None

    def sums(self) -> tuple[Tensor, Tensor]:
        """The weighted sum, with its graph, and the sum of weights."""
        if self.weights is None:
            # Counted in float32: half precision knows no odd number above 256 (or 2048).
            count = torch.tensor(float(self.values.numel()), device=self.values.device)
            return self.values.sum(), count
        return (self.values * self.weights).sum(), self.weights.sum().detach()


def joined(terms: list[LossTerm]) -> LossTerm:
    """One term over the values of several, e.g. of one loss at several sites."""
    values = torch.cat([term.values for term in terms])
    if all(term.weights is None for term in terms):
        return LossTerm(values)
    weights = [t.values.new_ones(len(t.values)) if t.weights is None else t.weights for t in terms]
    return LossTerm(values, torch.cat(weights))

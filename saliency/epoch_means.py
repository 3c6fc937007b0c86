"""Means over an epoch of validation: over the known rows of all batches and ranks."""

import math
from dataclasses import dataclass

import torch

from .terms import LossTerm


@dataclass(frozen=True)
class _Tally:
    total: float = 0.0
    count: float = 0.0
    weight: float = 0.0


class EpochMeans:
    """The mean of each loss, and their weighted sum."""

    def __init__(self) -> None:
        self._tallies: dict[str, _Tally] = {}

    def add(self, name: str, term: LossTerm, weight: float) -> None:
        """Count a batch.

        Args:
            name: of the mean.
            term: its rows, any number of them.
            weight: of the mean in the sum.
        """
        before = self._tallies.get(name, _Tally())
        total, count = (float(part) for part in term.sums())
        self._tallies[name] = _Tally(before.total + total, before.count + count, weight)

    def compute(self) -> dict[str, float]:
        """The means of all ranks, and ``loss``, their sum by weight.

        A mean over no row is NaN and no part of the sum.
        """
        parts = self._gathered()
        means, terms = {}, []
        for name in dict.fromkeys(name for part in parts for name in part):
            tallies = [part[name] for part in parts if name in part]
            count = sum(tally.count for tally in tallies)
            means[name] = sum(tally.total for tally in tallies) / count if count else math.nan
            if count and tallies[0].weight:
                terms.append(tallies[0].weight * means[name])
        return means | {"loss": sum(terms) if terms else math.nan}

    def _gathered(self) -> list[dict[str, _Tally]]:
        """Of all ranks, which may have seen different numbers of batches."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return [self._tallies]
        parts: list[dict[str, _Tally]] = [{}] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, self._tallies)
        return parts

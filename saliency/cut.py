"""Cuts: where a frozen part of a network ends, so that it is computed once for each film."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .attention.contract import AttentionModule


class Cut(NamedTuple):
    """A place in a network.

    Attributes:
        name: of what stands there.
        before: prefixes of the names of all parameters and modules before it.
        film: whether what comes after reads the film, too.
    """

    name: str
    before: tuple[str, ...]
    film: bool = False


class Computed:
    """What stands at a cut, for the rows of a cohort.

    Args:
        values: (n, ...), in memory, on a device, or mapped from a file.
        rows: (n,) the row of each; the first of equal ones counts.
        total: rows of the cohort's table.
    """

    def __init__(self, values: Tensor, rows: Tensor, total: int) -> None:
        self.values = values
        # A row that was not computed points behind the end: an error, not another row's values.
        place = torch.full((total,), len(values))
        place[rows.flip(0)] = torch.arange(len(rows)).flip(0)
        self.place = place.to(values.device)

    def of(self, index: Tensor) -> Tensor:
        """The values (B, ...) of rows, where ``index`` is.

        Raises:
            IndexError: if a row was not computed.
        """
        found: Tensor = self.values[self.place[index.to(self.place.device)]]
        return found.to(index.device)


def is_still(network: nn.Module, cut: Cut) -> bool:
    """Whether all before a cut gives the same for a film whenever it is asked.

    Nothing trains there, all is in evaluation mode, and no attention module gives losses, which
    would be lost.
    """
    parameters = [p for name, p in network.named_parameters() if name.startswith(cut.before)]
    if any(parameter.requires_grad for parameter in parameters):
        return False
    modules = [module for name, module in network.named_modules() if name.startswith(cut.before)]
    giving = any(isinstance(module, AttentionModule) and module.provides for module in modules)
    return not giving and not any(module.training for module in modules)

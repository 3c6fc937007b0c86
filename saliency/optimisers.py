"""The optimiser of a stage and its learning rate over the steps."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .config import OptimiserConfig, ScheduleConfig


def build_optimiser(
    config: OptimiserConfig,
    parameters: list[nn.Parameter] | list[dict[str, Any]],
    *,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """The optimiser of a config over parameters, or over groups of them.

    Args:
        config: of the stage.
        parameters: what it moves.
        fused: do a step in one kernel.
    """
    # None leaves the choice of its loop to torch.
    options: dict[str, Any] = {"weight_decay": config.weight_decay, "fused": fused or None}
    if config.name == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, **options)
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, config.lr, **options)


def rate_factor(config: ScheduleConfig, steps: int) -> Callable[[int], float]:
    """The relative learning rate before each step: warm-up, then constant or cosine.

    A closure, as the scheduler would write an object's attributes into the checkpoint.

    Args:
        config: of the stage.
        steps: of the whole stage.
    """
    warm = config.warmup * steps

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        if config.name == "constant":
            return 1.0
        done = min(1.0, (step - warm) / max(1.0, steps - warm))
        return config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * done))

    return factor

"""The mean teacher: an exponential moving average of a network, and the growth of its say."""

import math

import torch
from torch import nn


def warmed_decay(decay: float, step: int) -> float:
    """``min(decay, 1 - 1 / (step + 1))``, as in the original's code: a plain mean at first.

    Args:
        decay: to which it grows.
        step: of the optimiser that the average is taken after, from 1.
    """
    return min(decay, 1 - 1 / (step + 1))


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """``t <- decay t + (1 - decay) s`` over all parameters and buffers; counters are copied.

    Args:
        teacher: a copy of the student at an earlier time; changed in place.
        student: the network that is trained.
        decay: 0 copies the student.
    """
    new = student.state_dict()
    for name, old in teacher.state_dict().items():
        if old.is_floating_point() and decay:
            # Exact where both are equal, so that what is frozen is the same in both.
            old.lerp_(new[name], 1 - decay)
        else:
            old.copy_(new[name])


def ramp_up(step: int, steps: float) -> float:
    """``exp(-5 (1 - step / steps)^2)`` up to ``steps``, then 1 (Laine and Aila, ICLR 2017).

    Args:
        step: steps that are done.
        steps: after which the whole weight counts; 0 for at once.
    """
    done = min(1.0, step / steps) if steps else 1.0
    return math.exp(-5 * (1 - done) ** 2)

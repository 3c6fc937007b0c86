"""Small networks for tests."""

import torch
from torch import nn


def two_encoders() -> nn.ModuleDict:
    """Two encoders with statistics, and a head."""
    torch.manual_seed(0)
    return nn.ModuleDict({
        "encoder_a": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        "encoder_b": nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        "head": nn.Linear(2, 3),
    })  # fmt: skip

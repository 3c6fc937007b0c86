"""Films with planted squares and their boxes, for detectors on a micro backbone."""

from typing import Any

import torch
from torch import Tensor, nn

from diagnosis.detection import OneStage
from diagnosis.published.dualattnet import DualAttNet
from saliency.attention import AttentionContext

MICRO = {"growth_rate": 8, "block_config": [2, 2]}


def make(classes: int = 2, **options: object) -> DualAttNet:
    """A detector on a backbone of two blocks: strides 4 and 8."""
    torch.manual_seed(0)
    defaults = {"backbone": "densenet121", "backbone_options": MICRO, "width": 16}
    return DualAttNet(classes, **defaults | options)  # type: ignore[arg-type]


def lively(network: DualAttNet) -> DualAttNet:
    """The network with class scores that differ from place to place: at first there are none."""
    parts: Any = network.detector.parts
    if isinstance(network.detector, OneStage):
        for module in parts.head.classification_head.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
    return network


def context_of(
    boxes: list[list[list[float]]],
    classes: list[list[int]],
    known: list[bool] | None = None,
    labels: Tensor | None = None,
) -> AttentionContext:
    """Targets: boxes and their classes, film by film."""
    films = len(boxes)
    return AttentionContext(
        labels=torch.full((films, 2), torch.nan) if labels is None else labels,
        boxes=[torch.tensor(one, dtype=torch.float32).reshape(-1, 4) for one in boxes],
        box_labels=[torch.tensor(one, dtype=torch.int64) for one in classes],
        boxes_known=torch.tensor([True] * films if known is None else known),
    )


def context_of_squares(labels: Tensor, squares: Tensor) -> AttentionContext:
    """The targets of ``blobs``: the box about each square."""
    boxes: list[list[list[float]]] = []
    for film in squares:
        planes = [plane.nonzero() for plane in film if plane.any()]
        boxes.append(
            [[*map(float, (*p.min(0)[0].flip(0), *(p.max(0)[0] + 1).flip(0)))] for p in planes]
        )
    classes = [film.nonzero()[:, 0].tolist() for film in labels]
    return context_of(boxes, classes, labels=labels)

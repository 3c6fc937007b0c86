"""The dual-encoder network as one would write it down at once, to measure gazedx's own against.

One file, torchvision's DenseNet, a loop a part, no attention sites, no tasks, no checkpointing: the
forward pass always computes everything. Weights of ``DualEncoderUNet`` load into it, and both then
give the same outputs, which the benchmark asserts before it measures.
"""

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet

from diagnosis.dual_encoder import DualEncoderUNet

FULL = {"growth_rate": 32, "block_config": (6, 12, 48, 32)}


def convolution(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU()
    )


class ResSE(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(inside, outside, 3, padding=1),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1),
            nn.BatchNorm2d(outside),
        )
        self.shortcut = nn.Conv2d(inside, outside, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        squeezed = max(1, outside // 16)
        self.excitation = nn.Sequential(
            nn.Linear(outside, squeezed, bias=False),
            nn.ReLU(),
            nn.Linear(squeezed, outside, bias=False),
            nn.Sigmoid(),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.residual(x) + self.shortcut(x))
        weight = self.excitation(self.pool(out).flatten(1))
        scaled: Tensor = out * weight.view(*weight.shape, 1, 1)
        return scaled


class Level(nn.Module):
    def __init__(self, inside: int, skip: int, outside: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), convolution(inside, outside))
        self.merge = nn.Sequential(
            convolution(skip + outside, outside), convolution(outside, outside)
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        merged: Tensor = self.merge(torch.cat([skip, self.up(below)], 1))
        return merged


class ReferenceNetwork(nn.Module):
    """Both logits of an image, always."""

    def __init__(self, classes: int, widths: tuple[int, ...], densenet: dict[str, object]) -> None:
        super().__init__()
        start = 2 * int(densenet["growth_rate"])  # type: ignore[call-overload]
        self.features = DenseNet(**densenet, num_init_features=start).features
        bottom = self.features.norm5.num_features
        before, outs = (1, *widths[:-1]), (widths[0], *widths[:-1])
        self.stages = nn.ModuleList(ResSE(i, o) for i, o in zip(before, widths, strict=True))
        self.levels = nn.ModuleList(
            Level(i, s, o) for i, s, o in zip((*outs[1:], bottom), widths, outs, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.saliency_head = nn.Sequential(convolution(outs[0], outs[0]), nn.Conv2d(outs[0], 1, 1))
        self.fusion = nn.Sequential(
            nn.Linear(bottom + outs[0], 64), nn.Dropout(0.25), nn.ReLU(), nn.Linear(64, classes)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image.repeat(1, 3, 1, 1)
        for name, part in self.features.named_children():
            x = part(x)
            if name == "denseblock4":
                bottleneck = x
        skips, y = [], image
        for number, stage in enumerate(self.stages):
            y = stage(self.pool(y) if number else y)
            skips.append(y)
        decoded = bottleneck
        for level, skip in zip(reversed(self.levels), reversed(skips), strict=True):
            decoded = level(decoded, skip)
        vector = torch.cat([torch.relu(x).mean((2, 3)), decoded.mean((2, 3))], 1)
        return self.saliency_head(decoded), self.fusion(vector)


NAMES = {"encoder_a.features.": "features.", "encoder_b.stages.": "stages.", "decoder.": ""}


def pair(
    classes: int = 3,
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
    densenet: dict[str, object] | None = None,
    *,
    checkpointing: bool = False,
) -> tuple[DualEncoderUNet, ReferenceNetwork]:
    """gazedx's network and the reference with the same weights.

    Args:
        classes: of both.
        widths: of encoder B.
        densenet: growth rate and blocks; DenseNet201's if None.
        checkpointing: of gazedx's network.
    """
    densenet = densenet or FULL
    full = densenet is FULL
    torch.manual_seed(0)
    ours = DualEncoderUNet(
        classes,
        widths=widths,
        backbone="densenet201" if full else "densenet121",
        backbone_options={} if full else densenet,
        checkpointing=checkpointing,
    )
    theirs = ReferenceNetwork(classes, widths, densenet)
    state = {}
    for name, value in ours.state_dict().items():
        if name.startswith("encoder_classifier."):
            continue
        prefix = next((old for old in NAMES if name.startswith(old)), "")
        state[NAMES.get(prefix, "") + name.removeprefix(prefix)] = value
    theirs.load_state_dict(state)
    return ours, theirs

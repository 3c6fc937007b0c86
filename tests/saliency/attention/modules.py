"""Every registered module, small, with features of odd sizes and all that it may ask for."""

import torch
from torch import Tensor

from saliency.attention import AttentionContext, AttentionModule, build
from saliency.attention.contract import AttentionOutput, Features
from saliency.attention.registry import lookup

CLASSES = 3
SIZES = [(13, 17), (7, 5)]
OPTIONS: dict[str, dict[str, object]] = {
    "anatomy_aware": {"organs": 2},
    "dual_attention": {"classes": CLASSES},
    "image_level_attention": {"classes": CLASSES},
    "probabilistic_pooling": {"classes": CLASSES},
    "se": {"reduction": 4},
    "cbam": {"reduction": 4},
    "scse": {"reduction": 4},
}
SUPERVISION = {"dual_attention", "image_level_attention", "probabilistic_pooling"}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def make(use: str) -> tuple[AttentionModule, Features]:
    """A module in training and features of odd sizes: one map, or a list for a pyramid."""
    torch.manual_seed(0)
    levels = [draw(2, 16, *size, seed=i) for i, size in enumerate(SIZES)]
    pyramid = "pyramid" in lookup(use).requires
    module = build(use, [16, 16] if pyramid else 16, **OPTIONS.get(use, {}))
    return module, levels if pyramid else levels[0]


def make_context() -> AttentionContext:
    anatomy = draw(2, 2, 26, 34).sigmoid()
    anatomy[1, 1] = torch.nan
    return AttentionContext(
        valid=torch.ones(2, 1, 26, 34, dtype=torch.bool),
        anatomy=anatomy,
        organs=("heart", "lungs"),
        class_maps=tuple(draw(2, CLASSES, *size).sigmoid() for size in SIZES),
        labels=torch.tensor([[1.0, 0.0, torch.nan], [0.0, torch.nan, 1.0]]),
    )


def flat(features: Features) -> list[Tensor]:
    return [features] if isinstance(features, Tensor) else features


def everything(out: AttentionOutput) -> list[Tensor]:
    logits = [] if out.logits is None else [out.logits]
    losses = [out.losses[name].values for name in sorted(out.losses)]
    return [*flat(out.features), *(out.maps[name] for name in sorted(out.maps)), *logits, *losses]

"""DualAttNet's attention (Xu and Duan, Comput Biol Med 2024;168:107742, arXiv 2306.13813).

Evidence: verified in the released code (specs: attention systems, A.1 to A.4), but for the option
``mean`` of ``global_reduce``, which is ours. The modules supervise: they give image-level logits
and a loss and leave the features as they are, so they can be dropped after training.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from eye_gaze_data.errors import DataError
from saliency.density import full_precision

from .contract import (
    AttentionContext,
    AttentionModule,
    AttentionOutput,
    Features,
    check_choice,
    has_values,
    image_level_term,
    one_map,
)
from .registry import register

Reduce = Literal["sum", "mean"]
# Hard-coded in the released code: the hidden width of the gate is a sixteenth of the channels.
REDUCTION = 16


class ImageLevelAttention(nn.Module):
    """ILA (A.1): class maps weighed by a squeeze-and-excitation over classes.

    ``G = sigmoid(W3 ReLU(W2 GAP(X))) ReLU(BN(W1 X))``, all 1x1 convolutions without bias.

    Args:
        channels: of the level, at least 16.
        classes: K.

    Raises:
        ValueError: if there are fewer channels, or no class.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        if channels < REDUCTION:
            raise ValueError(f"channels must be at least {REDUCTION}, found {channels}")
        if classes < 1:
            raise ValueError(f"classes must be at least 1, found {classes}")
        hidden = channels // REDUCTION
        self.maps = nn.Sequential(
            nn.Conv2d(channels, classes, 1, bias=False), nn.BatchNorm2d(classes), nn.ReLU()
        )
        self.gate = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, classes, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """The global attention map, 0 or above."""
        weighed: Tensor = self.gate(features.mean((2, 3), keepdim=True)) * self.maps(features)
        return weighed


def fine_grained_attention(
    probabilities: Float[Tensor, "b h w a k"],
    size: tuple[int, int] | None = None,
    *,
    eps: float = 1e-12,
) -> Float[Tensor, "b k hf wf"]:
    """FGDA (A.2): the best anchor's probability at each place, as a share of the whole.

    Args:
        probabilities: of the classes for each anchor of each cell, 0 or above; not logits.
        size: (height, width) of the features, if another.
        eps: keeps a class without any probability at 0 instead of NaN.

    Returns:
        Maps that sum to 1 for each image and class.

    Raises:
        DataError: if a probability is negative.
    """
    best = full_precision(probabilities.amax(3).permute(0, 3, 1, 2))
    if has_values(best) and bool((best < 0).any()):
        raise DataError(
            f"class maps must be 0 or above, found {best.min():.3g}: give probabilities, not logits"
        )
    if size is not None and tuple(best.shape[-2:]) != size:
        best = F.interpolate(best, size, mode="bilinear", align_corners=True)
    return best / best.sum((2, 3), keepdim=True).clamp_min(eps)


class DualAttention(nn.Module):
    """The fusion (A.3): ``D = (V X) L + G`` and its sum over space, the image-level logits.

    Args:
        channels: of the level, at least 16.
        classes: K.
        global_reduce: how ``G`` enters the logits: ``sum`` as released, which grows with the size
            of the level, or its ``mean``.
    """

    def __init__(self, channels: int, classes: int, global_reduce: Reduce = "sum") -> None:
        super().__init__()
        self.image_level = ImageLevelAttention(channels, classes)
        self.local = nn.Conv2d(channels, classes, 1, bias=False)
        self.global_reduce = global_reduce

    def forward(
        self, features: Float[Tensor, "b c h w"], share: Float[Tensor, "b k h w"]
    ) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b k"]]:
        """The dual attention map and the logits.

        Args:
            features: of one level.
            share: what ``fine_grained_attention`` gives.
        """
        overall, local = self.image_level(features), self.local(features) * share
        return overall + local, reduced(overall, self.global_reduce) + reduced(local, "sum")


def reduced(maps: Float[Tensor, "b k h w"], how: Reduce) -> Float[Tensor, "b k"]:
    """The sum or the mean over space, in float32 or better."""
    maps = full_precision(maps)
    return maps.sum((2, 3)) if how == "sum" else maps.mean((2, 3))


@register("image_level_attention")
class ImageLevelSite(AttentionModule):
    """ILA alone, beside one map: what DualAttNet gives where there is no dense class map.

    Args:
        channels: of the features, at least 16.
        classes: K, the number of the stage's classes.
        global_reduce: see ``DualAttention``.
    """

    requires = frozenset({"labels"})
    provides = frozenset({"image_attention"})

    def __init__(self, channels: int, *, classes: int, global_reduce: Reduce = "sum") -> None:
        super().__init__()
        check_choice("global_reduce", global_reduce, get_args(Reduce))
        self.image_level = ImageLevelAttention(channels, classes)
        self.global_reduce = global_reduce

    def forward(self, features: Features, context: AttentionContext) -> AttentionOutput:
        """The features as they are, the map ``class_map``, and the loss over stated labels."""
        overall = self.image_level(one_map(features))
        logits = reduced(overall, self.global_reduce)
        losses = {}
        if context.labels is not None:
            losses["image_attention"] = image_level_term(logits, context.labels)
        return AttentionOutput(features, {"class_map": overall}, logits, losses)


@register("dual_attention")
class DualAttentionSite(AttentionModule):
    """ILA and FGDA beside a pyramid whose levels come with dense class maps.

    Its logits are the mean of the levels', its targets the classes of the boxes (A.4).

    Args:
        channels: of each level, at least 16.
        classes: K, the number of the stage's classes.
        global_reduce: see ``DualAttention``.
        detach_class: keep the loss's gradient out of the class maps.
    """

    requires = frozenset({"pyramid", "labels", "class_maps"})
    provides = frozenset({"image_attention"})

    def __init__(
        self,
        channels: list[int],
        *,
        classes: int,
        global_reduce: Reduce = "sum",
        detach_class: bool = False,
    ) -> None:
        super().__init__()
        check_choice("global_reduce", global_reduce, get_args(Reduce))
        self.classes, self.detach_class = classes, detach_class
        self.levels = nn.ModuleList(
            DualAttention(width, classes, global_reduce) for width in channels
        )

    def forward(self, features: Features, context: AttentionContext) -> AttentionOutput:
        """The features as they are, a map a level, and the loss over stated labels.

        Raises:
            DataError: if the class maps are missing, or are not of these levels and classes.
        """
        found = [m.shape[1] for m in context.class_maps or ()]
        if found != [self.classes] * len(self.levels):
            raise DataError(
                f"'dual_attention' expected {len(self.levels)} class maps of {self.classes} "
                f"classes, found maps of {found} classes"
            )
        maps, logits = {}, []
        given = zip(self.levels, features, context.class_maps or (), strict=True)
        for number, (level, part, probabilities) in enumerate(given, 1):
            cells = probabilities.detach() if self.detach_class else probabilities
            size = (part.shape[-2], part.shape[-1])
            share = fine_grained_attention(cells.permute(0, 2, 3, 1)[:, :, :, None], size)
            maps[f"level_{number}"], level_logits = level(part, share)
            logits.append(level_logits)
        mean = torch.stack(logits).mean(0)
        losses, targets = {}, self._targets(context)
        if targets is not None:
            losses["image_attention"] = image_level_term(mean, targets)
        return AttentionOutput(features, maps, mean, losses)

    def _targets(self, context: AttentionContext) -> Tensor | None:
        """The classes of the boxes where their list is complete, else the stated labels."""
        if context.labels is None or context.box_labels is None or context.boxes_known is None:
            return context.labels
        drawn = box_targets(context.box_labels, self.classes).to(context.labels)
        return drawn.where(context.boxes_known[:, None], context.labels)


def box_targets(box_labels: list[Tensor], classes: int) -> Float[Tensor, "b k"]:
    """Image-level targets of boxes (A.4): 1 for every class that has at least one box.

    Args:
        box_labels: classes (n,) of each image's boxes; -1 stands for no box.
        classes: K.
    """
    targets = torch.zeros(len(box_labels), classes)
    for row, labels in enumerate(box_labels):
        targets[row, labels[labels >= 0].cpu()] = 1
    return targets

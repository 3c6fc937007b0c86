"""Anatomy-XNet's modules (Kamal et al., IEEE JBHI 2022, arXiv 2106.05915).

Evidence: lineage. The paper's code is not known. Anatomy-aware attention (A3) is that of the same
laboratory's next system, ThoraX-PriorNet (rafizunaed/PriorAttentionNetCXR); probabilistic weighted
average pooling (PWAP) is PCAM's (Ye et al. 2020); its anatomy variant is a reconstruction
(specs: attention systems, D.1 and D.2).
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

GateDropout = Literal["pre", "post"]


class AnatomyGate(nn.Module):
    """A3 of one organ: each channel decides how far to trust the mask.

    ``F_m = F A``; ``w = sigmoid(W_o sum_i LeakyReLU_0.2(W_i s_i))`` over the four descriptors mean
    and maximum of ``F`` and of ``F_m``; ``F' = w F_m + (1 - w) F``.

    Args:
        channels: C of the features.
        ratio: width between, as a share of C.
        dropout: of the gate.
        gate_dropout: ``post``, after the sigmoid as released, where a kept gate may exceed 1; or
            ``pre``, on what the sigmoid takes.
        norm: batch norm on the result, as the newer release has it.

    Raises:
        ValueError: if an option is out of range.
    """

    def __init__(
        self,
        channels: int,
        ratio: float = 1.0,
        dropout: float = 0.1,
        gate_dropout: GateDropout = "post",
        norm: bool = False,
    ) -> None:
        super().__init__()
        if ratio <= 0:
            raise ValueError(f"ratio must be above 0, found {ratio}")
        check_choice("gate_dropout", gate_dropout, get_args(GateDropout))
        hidden = max(1, round(ratio * channels))
        self.squeeze = nn.ModuleList(nn.Linear(channels, hidden) for _ in range(4))
        self.excite = nn.Linear(hidden, channels)
        self.dropout, self.gate_dropout = nn.Dropout(dropout), gate_dropout
        self.norm = nn.BatchNorm2d(channels) if norm else nn.Identity()

    def forward(
        self, features: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c"]]:
        """The gated features, and the gate of each channel."""
        masked, positive = features * mask, features.relu()
        # A maximum under the mask means something only of features that are not negative.
        under = positive * mask
        descriptors = (
            positive.mean((2, 3)),
            positive.amax((2, 3)),
            under.amax((2, 3)),
            under.mean((2, 3)),
        )
        parts = zip(self.squeeze, descriptors, strict=True)
        excited = self.excite(sum(F.leaky_relu(part(s), 0.2) for part, s in parts))
        if self.gate_dropout == "pre":
            gate = self.dropout(excited).sigmoid()
        else:
            gate = self.dropout(excited.sigmoid())
        weight = gate[:, :, None, None]
        return self.norm(weight * masked + (1 - weight) * features), gate


def organ_mask(
    anatomy: Float[Tensor, "b m h w"], organ: int, size: tuple[int, int]
) -> Float[Tensor, "b 1 hf wf"]:
    """An organ's mask at the features' size; 1 throughout for rows where it is not annotated.

    Args:
        anatomy: organ masks in [0, 1]; a plane of NaN is not annotated.
        organ: which plane.
        size: (height, width) of the features. A larger mask is averaged over each cell.

    Raises:
        DataError: if a value is outside [0, 1], or NaN in a plane that has other values.
    """
    mask = full_precision(anatomy[:, organ : organ + 1])
    absent = mask.isnan().flatten(1).all(1)[:, None, None, None]
    mask = mask.masked_fill(absent, 1.0)
    if has_values(mask) and not bool(((mask >= 0) & (mask <= 1)).all()):
        raise DataError(
            "organ masks must lie in [0, 1], or be NaN throughout where an organ is not annotated; "
            f"found [{mask.nan_to_num(-1).min():.3g}, {mask.nan_to_num(2).max():.3g}] "
            f"and {int(mask.isnan().sum())} NaN in the plane {organ + 1}"
        )
    # Bilinear weights sum to 1 but for rounding.
    grown = F.interpolate(mask, size, mode="bilinear", align_corners=False, antialias=True)
    return grown.clamp(0, 1)


def organ_masks(context: AttentionContext, organs: int, features: Tensor) -> list[Tensor]:
    """Each organ's mask (B, 1, h, w) at the features' size; 1 throughout without any anatomy.

    Raises:
        DataError: if the batch has another number of organs, or a mask is out of range.
    """
    height, width = features.shape[-2:]
    if context.anatomy is None:
        return [torch.ones_like(features[:, :1])] * organs
    if context.anatomy.shape[1] != organs:
        raise DataError(
            f"attention by anatomy was built for {organs} organ(s), the batch has "
            f"{context.anatomy.shape[1]}; set its option 'organs'"
        )
    masks = (organ_mask(context.anatomy, organ, (height, width)) for organ in range(organs))
    return [mask.to(features) for mask in masks]


def organ_names(context: AttentionContext, organs: int) -> list[str]:
    """Names of the planes; numbers where the context has none."""
    return list(context.organs) or [f"organ_{number}" for number in range(1, organs + 1)]


@register("anatomy_aware")
class AnatomyAware(AttentionModule):
    """A3 at a site: the mean over the organs of their gated features.

    Args:
        channels: of the features.
        ratio: see ``AnatomyGate``.
        dropout: see ``AnatomyGate``.
        gate_dropout: see ``AnatomyGate``.
        norm: see ``AnatomyGate``.
        organs: number of organ planes, the stage's ``anatomy.organs``.
    """

    requires = frozenset({"anatomy"})

    def __init__(
        self,
        channels: int,
        organs: int = 1,
        ratio: float = 0.25,
        dropout: float = 0.1,
        gate_dropout: GateDropout = "post",
        norm: bool = False,
    ) -> None:
        super().__init__()
        if organs < 1:
            raise ValueError(f"organs must be at least 1, found {organs}")
        self.gates = nn.ModuleList(
            AnatomyGate(channels, ratio, dropout, gate_dropout, norm) for _ in range(organs)
        )

    def forward(self, features: Features, context: AttentionContext) -> AttentionOutput:
        """The gated features; for each organ the mask weighed by the mean gate."""
        features = one_map(features)
        masks = organ_masks(context, len(self.gates), features)
        gated, maps = [], {}
        named = zip(self.gates, masks, organ_names(context, len(masks)), strict=True)
        for part, mask, name in named:
            out, gate = part(features, mask)
            gated.append(out)
            maps[name] = gate.mean(1)[:, None, None, None] * mask
        return AttentionOutput(torch.stack(gated).mean(0), maps)


class ProbabilisticPooling(nn.Module):
    """PWAP: each class pools the map where it is probable, with the classifier's own weights.

    ``l = u F + b``, ``P = sigmoid(l)``, ``W = P / sum P``, ``z = u (sum W F) + b = sum W l``.

    Args:
        channels: of the features.
        classes: K.
        mask_weight: m in [0, 1]: ``P`` is multiplied by ``1 - m (1 - mask)``; 0 is the plain form.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, channels: int, classes: int, mask_weight: float = 0.0) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes must be at least 1, found {classes}")
        if not 0 <= mask_weight <= 1:
            raise ValueError(f"mask_weight must lie in [0, 1], found {mask_weight}")
        self.classifier = nn.Linear(channels, classes)
        self.mask_weight = mask_weight

    def forward(
        self, features: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"] | None = None
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k h w"], Float[Tensor, "b k h w"]]:
        """Pool.

        Args:
            features: to classify and pool.
            mask: union of the organs in [0, 1], if the pooling is to prefer them.

        Returns:
            the logits ``z``, the local logits ``l`` and the masked probabilities ``P``.
        """
        weight = self.classifier.weight[:, :, None, None]
        local = full_precision(F.conv2d(features, weight, self.classifier.bias))
        probability = local.sigmoid()
        if mask is not None and self.mask_weight:
            probability = probability * (1 - self.mask_weight * (1 - mask))
        total = probability.sum((2, 3)).clamp_min(1e-12)
        return (probability * local).sum((2, 3)) / total, local, probability


@register("probabilistic_pooling")
class ProbabilisticPoolingSite(AttentionModule):
    """PWAP at a site: class logits and probability maps beside the features, which stay.

    Args:
        channels: of the features.
        classes: K, the number of the stage's classes.
    """

    requires = frozenset({"labels"})
    provides = frozenset({"pooled_classes"})

    def __init__(self, channels: int, *, classes: int) -> None:
        super().__init__()
        self.pooling = ProbabilisticPooling(channels, classes)

    def forward(self, features: Features, context: AttentionContext) -> AttentionOutput:
        """The features, ``probability`` a class, the logits and their loss over stated labels."""
        logits, _, probability = self.pooling(one_map(features))
        losses = {}
        if context.labels is not None:
            losses["pooled_classes"] = image_level_term(logits, context.labels)
        return AttentionOutput(features, {"probability": probability}, logits, losses)

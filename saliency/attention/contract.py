"""What every attention module takes and gives, whichever paper it comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eye_gaze_data.errors import DataError
from saliency.density import full_precision
from saliency.terms import LossTerm

Features = Tensor | list[Tensor]
Requirement = Literal["anatomy", "class_maps", "paired_view", "pyramid", "labels"]


@dataclass(frozen=True)
class AttentionContext:
    """What is known beside the features; every field may be missing.

    Attributes:
        valid: bool (B, 1, H, W) film; what normalises over space does so over it.
        anatomy: (B, M, H, W) organ masks in [0, 1], NaN planes where not annotated.
        organs: the M names of the planes.
        class_maps: per pyramid level (B, K, h, w), non-negative maps of the classes.
        pairs: (P, 2) rows of the batch that show one image in two views.
        view_transform: (P, 2, 3) affine map from the first view's network pixels to the second's.
        labels: (B, C), 1, 0 or NaN. This and the boxes are there whenever losses are computed, in
            validation too, and never in prediction.
        boxes: B tensors (n, 4) in network pixels.
        box_labels: B tensors (n,) of classes.
        boxes_known: bool (B,), whether a list of boxes is complete.
    """

    valid: Tensor | None = None
    anatomy: Tensor | None = None
    organs: tuple[str, ...] = ()
    class_maps: tuple[Tensor, ...] | None = None
    pairs: Tensor | None = None
    view_transform: Tensor | None = None
    labels: Tensor | None = None
    boxes: list[Tensor] | None = None
    box_labels: list[Tensor] | None = None
    boxes_known: Tensor | None = None


@dataclass(frozen=True)
class AttentionOutput:
    """What a module gives.

    Attributes:
        features: of the same structure and shapes as the input.
        maps: named activations (B, K or 1, h, w), not normalised; ``to_density`` alone does that.
        logits: (B, K) image-level logits, or None.
        losses: named auxiliary losses over what is known, neither reduced nor weighted; a config
            weighs them by these names.
    """

    features: Features
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None
    losses: Mapping[str, LossTerm] = field(default_factory=dict)


class AttentionModule(nn.Module):
    """Base of all attention modules.

    Attributes:
        requires: what of the context, or which kind of features, the module cannot do without.
            ``pyramid`` stands for a list of feature maps; without it a module gets one map.
        provides: names of the losses that it gives.
    """

    requires: ClassVar[frozenset[Requirement]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()

    def forward(self, features: Features, context: AttentionContext) -> AttentionOutput:
        """Attend to ``features``; shapes are kept."""
        raise NotImplementedError


def one_map(features: Features) -> Tensor:
    """The features of a module for single maps.

    Raises:
        TypeError: if they are a list.
    """
    if not isinstance(features, Tensor):
        raise TypeError("expected one feature map, found a list")
    return features


def has_values(tensor: Tensor) -> bool:
    """Whether there are numbers to look at: a traced graph and the ``meta`` device have none."""
    return not (torch.compiler.is_exporting() or tensor.is_meta)


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse an option, read from a config, that is none of its choices.

    Raises:
        ValueError: with the choices.
    """
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}, found '{value}'")


def image_level_term(logits: Tensor, labels: Tensor) -> LossTerm:
    """Binary cross-entropy of image-level logits (B, K) over the stated labels (B, K).

    Raises:
        DataError: if the module was built for another number of classes.
    """
    if logits.shape != labels.shape:
        raise DataError(
            f"an attention module was built for {logits.shape[1]} class(es), the batch has labels "
            f"{tuple(labels.shape)}; set its option 'classes'"
        )
    known = ~labels.isnan()
    values = F.binary_cross_entropy_with_logits(
        full_precision(logits)[known], labels[known], reduction="none"
    )
    return LossTerm(values)


def to_density(attention: Tensor, valid: Tensor | None = None) -> Tensor:
    """An attention map as a density: negative values cut off, divided by the sum.

    Args:
        attention: (B, K, h, w) activations.
        valid: bool (B, 1, h, w) film, or None for all pixels.

    Returns:
        (B, K, h, w), summing to 1 in each plane, in float32 or better; uniform over the film where
        nothing is positive, NaN where a value on the film is NaN. Without film every pixel counts.
    """
    attention = full_precision(attention)
    film = torch.ones_like(attention, dtype=torch.bool)
    if valid is not None:
        film = (valid | ~valid.flatten(1).any(1)[:, None, None, None]).expand_as(attention)
    weights = attention.clamp_min(0).masked_fill(~film, 0)
    mass = weights.sum((2, 3), keepdim=True)
    uniform = film.to(weights) / film.sum((2, 3), keepdim=True)
    return (weights / mass.where(mass != 0, mass.new_ones(()))).where(mass != 0, uniform)

"""Contrastive losses over pairs and triplets; those of two views are lightly's."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from saliency.density import full_precision


def triplet_loss(
    embeddings: Float[Tensor, "b d"],
    alike: Bool[Tensor, "b b"],
    unlike: Bool[Tensor, "b b"],
    margin: float = 1.0,
    *,
    active_only: bool = True,
) -> Float[Tensor, " n"]:
    """The hinge of every active triplet: ``max(0, |a - p| - |a - n| + margin)``, where positive.

    All valid triplets of the batch are formed at once; the mean over the active ones is the loss
    (main system, section 3, which recommends it over the released code's sum).

    Args:
        embeddings: one row an image or view.
        alike: (anchor, positive).
        unlike: (anchor, negative).
        margin: of the hinge.
        active_only: false keeps the triplets beyond the margin, with value 0: a mean over the
            active ones alone does not compare between epochs.

    Returns:
        (n,) the values of the n active triplets; empty if none is active.
    """
    distance = pairwise_distance(embeddings)
    hinge = distance[:, :, None] - distance[:, None, :] + margin
    triplets = alike[:, :, None] & unlike[:, None, :]
    if active_only:
        triplets = triplets & (hinge > 0)
    return hinge[triplets].clamp_min(0)


def semi_hard_triplet_loss(
    embeddings: Float[Tensor, "b d"],
    alike: Bool[Tensor, "b b"],
    unlike: Bool[Tensor, "b b"],
    margin: float = 1.0,
) -> Float[Tensor, " n"]:
    """The hinge of each anchor and positive with the nearest negative beyond the positive.

    Semi-hard negatives are farther than the positive, by less than the margin (Schroff et al.,
    "FaceNet", CVPR 2015, equation 4); the nearest stands for all.

    Args:
        embeddings: one row an image or view.
        alike: (anchor, positive).
        unlike: (anchor, negative).
        margin: of the hinge.

    Returns:
        (n,) values above 0; none for a pair without a semi-hard negative.
    """
    distance = pairwise_distance(embeddings)
    beyond = unlike[:, None, :] & (distance[:, None, :] > distance[:, :, None])
    nearest = torch.where(beyond, distance[:, None, :], torch.inf).min(2).values
    hinge = distance - nearest + margin
    return hinge[alike & (hinge > 0)]


def supcon_loss(
    embeddings: Float[Tensor, "b d"],
    alike: Bool[Tensor, "b b"],
    unlike: Bool[Tensor, "b b"],
    temperature: float = 0.1,
) -> Float[Tensor, " n"]:
    """Minus the mean log probability of an anchor's positives among the rows it is compared with.

    Khosla et al., "Supervised contrastive learning" (NeurIPS 2020), equation 2; with the other view
    as the only positive it is NT-Xent. The denominator holds the rows that are alike or unlike; an
    anchor without a positive or without a negative teaches nothing and gives no value.

    Args:
        embeddings: of any length; their cosines are compared.
        alike: (anchor, positive).
        unlike: (anchor, negative).
        temperature: divides the cosines.

    Returns:
        (n,) the values of the n anchors.
    """
    anchors = alike.any(1) & unlike.any(1)
    units = F.normalize(full_precision(embeddings), dim=1)
    # Cosines of half precision, divided by a low temperature, point elsewhere.
    with torch.autocast(embeddings.device.type, enabled=False):
        logits = units[anchors] @ units.T / temperature
    alike, unlike = alike[anchors], unlike[anchors]
    total = logits.masked_fill(~(alike | unlike), -torch.inf).logsumexp(1, keepdim=True)
    return (total - logits).masked_fill(~alike, 0).sum(1) / alike.sum(1)


def unpooled_triplet_loss(
    maps: Float[Tensor, "b c h w"],
    alike: Bool[Tensor, "b b"],
    unlike: Bool[Tensor, "b b"],
    margin: float = 1.0,
) -> Float[Tensor, " b"]:
    """The released code's triplet loss on maps that were not pooled, summed for each anchor.

    ``torch.nn.TripletMarginLoss`` measures along the last axis alone, so that a map gives one
    distance for each channel and row; the hinge is taken there and averaged, and all triplets are
    summed (main system, section 3). As in torch, 1e-6 is added to each difference.

    Args:
        maps: the encoder's last map.
        alike: (anchor, positive).
        unlike: (anchor, negative).
        margin: of the hinge.

    Returns:
        (b,) the sum over the triplets of each anchor, 0 where it has none; the loss is their sum,
        the released code monitors their mean.
    """
    elements = maps.flatten(1, 2)
    sums = []
    for anchor, row in enumerate(elements):
        distance = (row - elements + 1e-6).norm(dim=-1)
        positive, negative = distance[alike[anchor]], distance[unlike[anchor]]
        hinge = (positive[:, None] - negative[None] + margin).clamp_min(0)
        sums.append(hinge.mean(-1).sum())
    return torch.stack(sums)


def pairwise_distance(embeddings: Float[Tensor, "b d"]) -> Float[Tensor, "b b"]:
    """Euclidean distances; the gradient is zero, not infinite, where two rows are equal."""
    embeddings = full_precision(embeddings)
    return torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")

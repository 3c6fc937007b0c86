"""Losses of the anatomy stage: Dice and cross-entropy on annotated planes, agreement on all films.

Mean teacher: Tarvainen and Valpola, NeurIPS 2017; the stage as a whole is a reconstruction (specs:
attention systems, D.3).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from saliency.consistency import warp_view
from saliency.density import full_precision

# Pixels that are added above and below the line, so that an organ off the film is no 0 / 0.
_SMOOTH = 1.0


def dice_bce(
    logits: Float[Tensor, "b m h w"],
    masks: Float[Tensor, "b m h w"],
    valid: Bool[Tensor, "b 1 h w"],
) -> Float[Tensor, " n"]:
    """``1 - (2 sum p t + 1) / (sum p + sum t + 1)`` plus the mean binary cross-entropy, a plane.

    Args:
        logits: of the organs.
        masks: in [0, 1]; a plane with a NaN is not annotated and left out.
        valid: film; both parts are over its pixels.

    Returns:
        (n,) one value for each annotated plane.
    """
    known = ~masks.flatten(2).isnan().any(2)
    film = valid.expand_as(masks)[known].flatten(1)
    scores, truth = full_precision(logits)[known].flatten(1), masks[known].flatten(1)
    truth = truth.to(scores.dtype).masked_fill(~film, 0)
    guess = scores.sigmoid().masked_fill(~film, 0)
    overlap = 2 * (guess * truth).sum(1) + _SMOOTH
    dice = 1 - overlap / (guess.sum(1) + truth.sum(1) + _SMOOTH)
    entropy = F.binary_cross_entropy_with_logits(scores, truth, reduction="none")
    return dice + entropy.masked_fill(~film, 0).sum(1) / film.sum(1)


def teacher_consistency(
    student: Float[Tensor, "b m h w"],
    teacher: Float[Tensor, "b m h w"],
    transform: Float[Tensor, "b 2 3"],
    valid: Bool[Tensor, "b 1 h w"],
    teacher_valid: Bool[Tensor, "b 1 h w"],
) -> Float[Tensor, " n"]:
    """Squared differences between the student's masks and the teacher's, moved to its view.

    Args:
        student: logits of the strong view.
        teacher: logits of the weak view; no gradient flows into them.
        transform: affine maps from the weak view's network pixels to the strong view's.
        valid: film of the strong view.
        teacher_valid: film of the weak view.

    Returns:
        (n,) one value for each organ and pixel that is film in both views.
    """
    target = full_precision(teacher).detach().sigmoid()
    if not torch.equal(transform, transform.new_tensor(_IDENTITY).expand_as(transform)):
        target, shown = warp_view(target, transform, teacher_valid, valid)
    else:
        shown = valid & teacher_valid
    return (full_precision(student).sigmoid() - target).square()[shown.expand_as(target)]


_IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]

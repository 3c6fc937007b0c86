"""From a batch to what attention modules may use of it."""

import torch
from torch import Tensor

from eye_gaze_data.batch import Batch

from .attention import AttentionContext


def attention_context(
    batch: Batch, organs: tuple[str, ...] = (), *, targets: bool = False
) -> AttentionContext:
    """What attention modules may use of a batch.

    Args:
        batch: of one or several views.
        organs: names of the anatomy planes.
        targets: give what losses are computed from; never in prediction.
    """
    pairs, transform = paired_views(batch)
    return AttentionContext(
        valid=batch["valid"],
        anatomy=batch["anatomy"] if organs else None,
        organs=organs,
        pairs=pairs,
        view_transform=transform,
        labels=batch["labels"] if targets else None,
        boxes=batch["boxes"] if targets else None,
        box_labels=batch["box_labels"] if targets else None,
        boxes_known=batch["boxes_known"] if targets else None,
    )


def paired_views(batch: Batch) -> tuple[Tensor | None, Tensor | None]:
    """Rows (P, 2) that show one image in its first and a further view, and the map between them.

    Returns:
        pairs and (P, 2, 3) affine maps from the first view's network pixels to the other's; None
        for both if the batch has one view an image.
    """
    view = batch["view"]
    rows = torch.arange(len(view), device=view.device)
    # Not by index, which a weighted mix may hold twice: views of one draw stand B / V rows apart.
    images = (view == 0).sum()
    pairs = torch.stack([rows % images, rows], 1)[view > 0]
    if not len(pairs):
        return None, None
    frame = batch["frame"].double()
    one, other = frame[pairs[:, 0]], frame[pairs[:, 1]]
    linear = other[:, :, :2] @ torch.linalg.inv(one[:, :, :2])
    shift = other[:, :, 2:] - linear @ one[:, :, 2:]
    return pairs, torch.cat([linear, shift], 2).to(batch["frame"].dtype)

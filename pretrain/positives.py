"""Which rows of a batch belong together, and which do not: by image, label or patient.

Every function gives two symmetric masks, alike and unlike; a pair of which nothing is known is in
neither, and nobody is alike or unlike to itself.
"""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Pairs = tuple[Bool[Tensor, "b b"], Bool[Tensor, "b b"]]


def label_pairs(
    labels: Float[Tensor, "b c"], index: Tensor | None = None, jaccard: float = 0.5
) -> Pairs:
    """Which rows of a batch are alike by their labels, and which are not.

    Two rows are alike if their sets of findings overlap with a Jaccard index of at least
    ``jaccard``, or if both have no finding; they are unlike if the sets are disjoint and not both
    empty. In between they are neither. A row with an unstated label is compared with nobody but
    other views of its own image.

    Args:
        labels: 1, 0 or NaN.
        index: (B,) which image a row shows; views of one image are alike.
        jaccard: threshold.

    Returns:
        alike and unlike, both symmetric; nobody is alike or unlike to itself.
    """
    stated = ~labels.isnan().any(1)
    comparable = stated[:, None] & stated[None]
    findings = labels.nan_to_num(0)
    both = findings @ findings.T
    either = findings.sum(1)[:, None] + findings.sum(1)[None] - both
    normal = either == 0
    # The tolerance is for rounding: in float32 0.6 times 25 is above 15.
    alike = comparable & (normal | (both >= jaccard * either - 1e-5))
    unlike = comparable & (both == 0) & ~normal
    if index is not None:
        same_image = index[:, None] == index[None]
        alike, unlike = alike | same_image, unlike & ~same_image
    return alike & ~itself(labels), unlike & ~itself(labels)


def group_pairs(group: Int64[Tensor, " b"]) -> Pairs:
    """Rows of one group are alike, all others unlike: views of an image, or films of a patient.

    Args:
        group: a number for each row.
    """
    same = group[:, None] == group[None]
    return same & ~itself(group), ~same


def numbered(names: Sequence[str], device: torch.device) -> Int64[Tensor, " b"]:
    """A number for each name, the same in every process: 63 bits of its hash."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return torch.tensor([int.from_bytes(d, "big") >> 1 for d in digests], device=device)


def itself(rows: Tensor) -> Bool[Tensor, "b b"]:
    """The diagonal."""
    return torch.eye(len(rows), dtype=torch.bool, device=rows.device)

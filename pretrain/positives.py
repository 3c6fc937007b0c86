"""Which rows of a batch belong together, and which do not: by image, label, patient or gaze.

Every function gives two symmetric masks, alike and unlike; a pair of which nothing is known is in
neither, and nobody is alike or unlike to itself.
"""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

Pairs = tuple[Bool[Tensor, "b b"], Bool[Tensor, "b b"]]
CELLS = 16


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
    return alike & ~_itself(labels), unlike & ~_itself(labels)


def group_pairs(group: Int64[Tensor, " b"]) -> Pairs:
    """Rows of one group are alike, all others unlike: views of an image, or films of a patient.

    Args:
        group: a number for each row.
    """
    same = group[:, None] == group[None]
    return same & ~_itself(group), ~same


def gaze_pairs(
    cells: Float[Tensor, "b p"], index: Int64[Tensor, " b"], threshold: float = 0.7
) -> Pairs:
    """Films that were looked at alike; a film without gaze is compared with nobody.

    Pairs by gaze similarity are McGIP's idea (Zhao et al., AAAI 2024), which compares scanpaths
    and hashes of gaze maps at a threshold of 0.7. Here two rows are alike if their densities
    correlate by at least ``threshold`` over the cells that are film in both, as the network sees
    them: views that were moved apart correlate less.

    Args:
        cells: of ``coarse_gaze``.
        index: which image a row shows; views of one image are alike.
        threshold: of the correlation.
    """
    similarity = correlations(cells)
    same_image = index[:, None] == index[None]
    alike, unlike = similarity >= threshold, similarity < threshold
    return (alike | same_image) & ~_itself(index), unlike & ~same_image


def coarse_gaze(
    saliency: Float[Tensor, "b 1 h w"], valid: Bool[Tensor, "b 1 h w"], side: int = CELLS
) -> Float[Tensor, "b p"]:
    """Mean density of each of ``side`` x ``side`` cells.

    Returns:
        NaN for a cell of which less than half is film, and all NaN for a row without gaze.
    """
    film = F.adaptive_avg_pool2d(valid.float(), side).flatten(1)
    density = F.adaptive_avg_pool2d(saliency, side).flatten(1)
    return (density / film).where(film >= 0.5, torch.nan)


def correlations(cells: Float[Tensor, "b p"]) -> Float[Tensor, "b b"]:
    """Pearson's correlation of each pair of rows over the cells that both know.

    Returns:
        float64; NaN where they share fewer than two cells, or one of them is constant there.
    """
    known = ~cells.isnan()
    mass = cells.nansum(1, keepdim=True).clamp_min(torch.finfo(cells.dtype).tiny)
    # To a mean of about 1, so that squares keep their digits.
    values = (cells / mass * cells.shape[1]).double().nan_to_num(0)
    both = known.double()
    n = both @ both.T
    sums = values @ both.T
    squares = values.square() @ both.T - sums.square() / n
    products = values @ values.T - sums * sums.T / n
    spread = (squares.clamp_min(0) * squares.T.clamp_min(0)).sqrt()
    return (products / spread).where((n >= 2) & (spread > 1e-9), torch.nan)


def numbered(names: Sequence[str], device: torch.device) -> Int64[Tensor, " b"]:
    """A number for each name, the same in every process: 63 bits of its hash."""
    digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names)
    return torch.tensor([int.from_bytes(d, "big") >> 1 for d in digests], device=device)


def _itself(rows: Tensor) -> Tensor:
    return torch.eye(len(rows), dtype=torch.bool, device=rows.device)

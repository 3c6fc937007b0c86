"""Positives by gaze: which films were looked at alike, by their densities before augmentation."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.geometry import fit_frame, valid_pixels

from .positives import Pairs, itself

CELLS = 16


def film_gaze(dataset: GazeDataset, rows: Iterable[int]) -> dict[int, Float[Tensor, " p"]]:
    """The coarse density of each film with gaze, all its readers together, on the unmoved grid.

    Args:
        dataset: says recipe, grid and fit.
        rows: of its cohort.
    """
    found, cohort = {}, dataset.cohort
    for row in map(int, rows):
        if cohort.gaze is None or not cohort.has_gaze[row]:
            continue
        original = cohort.size_of(row)
        frame = fit_frame(original, dataset.size, dataset.fit, dataset.stride)
        valid = valid_pixels(original, frame, dataset.size)
        gaze = cohort.gaze.of(row).within(original)
        density = dataset.density(row, gaze, frame, valid[0].numpy()) if len(gaze) else None
        if density is not None:
            saliency = torch.from_numpy(density)[None, None].float()
            found[row] = coarse_gaze(saliency, valid[None])[0]
    return found


def cells_of(gaze: Mapping[int, Tensor], index: Int64[Tensor, " b"]) -> Float[Tensor, "b p"]:
    """The cells of the films that rows show; NaN for a film without gaze."""
    unknown = torch.full((CELLS**2,), torch.nan)
    return torch.stack([gaze.get(row, unknown) for row in index.tolist()]).to(index.device)


def gaze_pairs(
    cells: Float[Tensor, "b p"], index: Int64[Tensor, " b"], threshold: float = 0.7
) -> Pairs:
    """Films that were looked at alike; a film without gaze is compared with nobody.

    Pairs by gaze similarity are McGIP's idea (Zhao et al., AAAI 2024), which compares scanpaths
    and hashes of gaze maps at a threshold of 0.7. Here two rows are alike if the densities of
    their films correlate by at least ``threshold`` over the cells that are film in both.

    Args:
        cells: of each row's film, see ``film_gaze``; all NaN without gaze.
        index: which image a row shows; views of one image are alike.
        threshold: of the correlation.
    """
    similarity = correlations(cells)
    same_image = index[:, None] == index[None]
    alike, unlike = similarity >= threshold, similarity < threshold
    return (alike | same_image) & ~itself(index), unlike & ~same_image


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

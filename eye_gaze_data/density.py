"""From points to maps: gaze density and fixation counts, rendered once, on the target grid.

A density is a sum of Gaussians; a Gaussian is separable, so the whole map is one product of two
small matrices, and nothing is ever blurred at full resolution.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from .config import Recipe
from .errors import ConfigError
from .gaze import Gaze
from .geometry import Frame, map_points, scales

Map = npt.NDArray[np.float64]


def sigma_pixels(recipe: Recipe, height: int, pixels_per_degree: float, image_id: str) -> float:
    """The recipe's sigma in original pixels.

    Args:
        recipe: the density recipe.
        height: original image height in pixels.
        pixels_per_degree: original pixels per degree of visual angle; NaN unknown.
        image_id: for the message.

    Raises:
        ConfigError: if degrees are asked for and the cohort does not know its pixels per degree.
    """
    if recipe.unit == "height":
        return recipe.sigma * height
    if not np.isfinite(pixels_per_degree):
        raise ConfigError(
            f"image '{image_id}': the gaze recipe has sigma in degrees, but the cohort has no "
            "pixels per degree; state them in the cohort or use unit 'height'"
        )
    return recipe.sigma * pixels_per_degree


def point_weights(gaze: Gaze, weight: str, image_id: str) -> Map:
    """(n,) the weight of each point.

    Raises:
        ConfigError: if durations are asked for and one is unknown.
    """
    if weight == "count":
        return np.ones(len(gaze))
    if np.isnan(gaze.duration).any():
        raise ConfigError(
            f"image '{image_id}': the gaze recipe weighs by duration, but a point has none; "
            "declare the duration column or use weight 'count'"
        )
    return gaze.duration


def render_density(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    weights: npt.ArrayLike,
    sigma: float,
    frame: Frame,
    original: tuple[int, int],
    size: tuple[int, int],
    valid: npt.NDArray[np.bool_],
    *,
    border: Literal["reflect", "cut"] = "reflect",
    cut: float | None = None,
) -> Map | None:
    """The gaze density on the network grid.

    Args:
        x: (n,) positions in original pixels, continuous; points off the film are dropped.
        y: (n,) likewise.
        weights: (n,) weight of each point.
        sigma: standard deviation in original pixels; follows the scale of ``frame``.
        frame: original to network pixels.
        original: (height, width) of the image.
        size: (height, width) of the grid.
        valid: (H, W) film.
        border: see ``Recipe``.
        cut: see ``Recipe``; ignored under a rotation, where the cut is not separable.

    Returns:
        float64 (H, W) that sums to 1 over ``valid`` and is 0 elsewhere; None if no mass is left.
    """
    height, width = original
    x, y, weights = (np.asarray(values, np.float64) for values in (x, y, weights))
    on_film = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y, weights = x[on_film], y[on_film], weights[on_film]
    scale_x, scale_y = scales(frame)
    if border == "reflect":
        x, y, weights = _mirrored(x, y, weights, original, 4 * sigma)
    x, y = map_points(frame, x, y)
    rotated = abs(frame[0, 1]) > 1e-9 or abs(frame[1, 0]) > 1e-9
    reach = None if rotated else cut
    across = _gaussians(x, size[1], sigma * scale_x, reach)
    down = _gaussians(y, size[0], sigma * scale_y, reach)
    density = np.where(valid, (down * weights) @ across.T, 0.0)
    total = density.sum()
    return density / total if total > 0 else None


def count_fixations(
    x: npt.ArrayLike, y: npt.ArrayLike, frame: Frame, valid: npt.NDArray[np.bool_]
) -> tuple[Map, int]:
    """How many points fall into each network pixel, repeats counted.

    Args:
        x: (n,) positions in original pixels, continuous.
        y: (n,) likewise.
        frame: original to network pixels.
        valid: (H, W) film.

    Returns:
        float64 (H, W) of whole numbers, and the number of points that fell outside the film.
    """
    height, width = valid.shape
    moved_x, moved_y = map_points(frame, x, y)
    inside = (moved_x >= 0) & (moved_x < width) & (moved_y >= 0) & (moved_y < height)
    column, row = moved_x[inside].astype(np.int64), moved_y[inside].astype(np.int64)
    on_film = valid[row, column]
    cells = np.bincount((row * width + column)[on_film], minlength=height * width)
    dropped = inside.size - int(on_film.sum())
    return cells.reshape(height, width).astype(np.float64), dropped


def _gaussians(position: Map, length: int, sigma: float, cut: float | None) -> Map:
    """(length, n): the Gaussian of every point at every pixel centre along one axis."""
    distance = (np.arange(length)[:, None] + 0.5 - position[None]) / sigma
    values = np.exp(-0.5 * distance**2)
    return values if cut is None else np.where(np.abs(distance) <= cut + 1e-9, values, 0.0)


def _mirrored(
    x: Map, y: Map, weights: Map, original: tuple[int, int], reach: float
) -> tuple[Map, Map, Map]:
    """The points, and the images of those near a border, mirrored about the outermost pixel centre.

    That is "reflect-101" of OpenCV and "mirror" of scipy: the border pixel itself is not doubled.
    """
    for axis, length in ((0, original[1]), (1, original[0])):
        near, far = 0.5, length - 0.5
        position = (x, y)[axis]
        low, high = position - near < reach, far - position < reach
        copies = []
        for which, about in ((low, near), (high, far)):
            # A point on the mirror line is its own image; it must not count twice.
            which = which & (np.abs(position - about) > 1e-9)
            mirrored = 2 * about - position[which]
            copies.append(
                (mirrored, y[which], weights[which])
                if axis == 0
                else (x[which], mirrored, weights[which])
            )
        x, y, weights = (
            np.concatenate([values, *(copy[i] for copy in copies)])
            for i, values in enumerate((x, y, weights))
        )
    return x, y, weights

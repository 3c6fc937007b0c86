"""Geometry: one affine map from original to network pixels moves everything together.

Coordinates are continuous: pixel i spans [i, i + 1), its centre is i + 0.5. A frame is a (2, 3)
float64 matrix; ``frame @ (x, y, 1)`` gives network coordinates. torchvision resizes the pixels
(antialiased); the remaining affine map is a single ``grid_sample``, because torchvision's own
transforms flip key points one pixel off and clamp them at the border.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as tv

from .errors import ConfigError

Frame = npt.NDArray[np.float64]
Fit = Literal["pad", "crop", "stretch", "strided"]


@dataclass(frozen=True)
class Augmentation:
    """One draw of the geometric augmentation, in network pixels about the image centre.

    Attributes:
        degrees: rotation, clockwise on the screen.
        scale: above 1 enlarges.
        shift: (x, y) as a fraction of the network width and height.
        flip: mirror left and right (the heart has a side: off unless asked for).
    """

    degrees: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    flip: bool = False


def fit_frame(
    original: tuple[int, int], size: tuple[int, int], fit: Fit = "pad", stride: int = 1
) -> Frame:
    """The frame that brings an image onto the network grid.

    Args:
        original: (height, width) of the image in pixels.
        size: (height, width) of the network grid.
        fit: ``pad`` keeps the aspect and shows the whole film, centred; ``crop`` keeps the aspect
            and fills the grid; ``stretch`` fills the grid and changes the aspect; ``strided`` pads
            or cuts the film about its centre to ``stride`` times the grid, and takes every
            stride-th pixel (the released code, main system, section 5.3).
        stride: of ``strided``.
    """
    if fit == "strided":
        # Grid pixel j shows original pixel j * stride - before: centre upon centre.
        before = [
            int((stride * side - pixels) / 2) for side, pixels in zip(size, original, strict=True)
        ]
        shift_y, shift_x = ((pixels - 0.5) / stride + 0.5 for pixels in before)
        return np.array([[1 / stride, 0.0, shift_x], [0.0, 1 / stride, shift_y]])
    ratio = np.array([size[1] / original[1], size[0] / original[0]])
    if fit != "stretch":
        ratio = np.full(2, ratio.min() if fit == "pad" else ratio.max())
    shift = (np.array([size[1], size[0]]) - ratio * np.array([original[1], original[0]])) / 2
    return np.array([[ratio[0], 0.0, shift[0]], [0.0, ratio[1], shift[1]]])


def augment_frame(size: tuple[int, int], draw: Augmentation) -> Frame:
    """The map of an augmentation, network to network pixels, about the grid's centre."""
    height, width = size
    angle = math.radians(draw.degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = draw.scale * turn @ np.diag([-1.0 if draw.flip else 1.0, 1.0])
    centre = np.array([width / 2, height / 2])
    shift = centre - linear @ centre + np.array([draw.shift[0] * width, draw.shift[1] * height])
    return np.column_stack([linear, shift])


def compose(outer: Frame, inner: Frame) -> Frame:
    """The frame that applies ``inner`` first, then ``outer``."""
    linear = outer[:, :2] @ inner[:, :2]
    return np.column_stack([linear, outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def film_frame(frame: Frame, original: tuple[int, int], film: tuple[int, int]) -> Frame:
    """A frame from original pixels as a frame from the pixels of a film stored at another size.

    Args:
        frame: original to network pixels.
        original: (height, width) of the image.
        film: (height, width) of the stored film.
    """
    if film == original:
        return frame
    grow = np.diag([original[1] / film[1], original[0] / film[0]])
    return compose(frame, np.column_stack([grow, np.zeros(2)]))


def invert(frame: Frame) -> Frame:
    """The frame that undoes another: it takes predictions and boxes back to original pixels."""
    linear = np.linalg.inv(frame[:, :2])
    return np.column_stack([linear, -linear @ frame[:, 2]])


def map_points(frame: Frame, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Frame, Frame]:
    """The points (n,) after a frame, as two arrays (n,)."""
    points = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)])
    moved = frame[:, :2] @ points + frame[:, 2:]
    return moved[0], moved[1]


def map_boxes(
    frame: Frame, boxes: npt.NDArray[np.float64], size: tuple[int, int], keep_area: float = 0.1
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Boxes after a frame: the upright box about the moved corners, clipped to the grid.

    Args:
        frame: original to network pixels.
        boxes: (n, 4) x1, y1, x2, y2 in original pixels.
        size: (height, width) of the network grid.
        keep_area: a box that keeps less than this share of its area inside the grid is dropped.

    Returns:
        The boxes that are left (k, 4), and which of the n they are.
    """
    corners_x = boxes[:, [0, 2, 2, 0]].ravel()
    corners_y = boxes[:, [1, 1, 3, 3]].ravel()
    x, y = (values.reshape(-1, 4) for values in map_points(frame, corners_x, corners_y))
    moved = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], 1)
    limit = np.array([size[1], size[0], size[1], size[0]], np.float64)
    clipped = np.clip(moved, 0, limit)
    sides, whole = clipped[:, 2:] - clipped[:, :2], moved[:, 2:] - moved[:, :2]
    keep = (sides > 0).all(1) & (sides.prod(1) >= keep_area * whole.prod(1))
    return clipped[keep], keep


def scales(frame: Frame) -> tuple[float, float]:
    """How much a frame enlarges along the original x and y axes.

    Raises:
        ConfigError: if the frame shears, for then a round Gaussian does not stay one.
    """
    across, down = frame[:, 0], frame[:, 1]
    scale_x, scale_y = float(np.hypot(*across)), float(np.hypot(*down))
    upright = max(abs(frame[0, 1]), abs(frame[1, 0])) < 1e-9 * max(scale_x, scale_y)
    similar = abs(scale_x - scale_y) < 1e-6 * scale_x and abs(across @ down) < 1e-6 * scale_x**2
    if not (upright or similar):
        raise ConfigError(
            f"a frame must scale and rotate without shear, found {frame.tolist()}; "
            "use fit 'pad' or 'crop' together with rotation"
        )
    return scale_x, scale_y


def warp_pixels(
    pixels: Tensor,
    frame: Frame,
    size: tuple[int, int],
    *,
    mode: str = "bilinear",
    outside: Literal["zero", "edge"] = "zero",
) -> Tensor:
    """Pixels on the network grid, antialiased.

    Args:
        pixels: float (C, H0, W0) in original pixels.
        frame: original to network pixels.
        size: (height, width) of the network grid.
        mode: ``bilinear``, or ``nearest``, the pixel at each centre, for masks that must stay 0 and
            1 and for the fit ``strided``.
        outside: what stands outside the film: ``zero``, or ``edge``, the nearest pixel of the
            film, for pixels that are to be warped again.

    Returns:
        float (C, H, W).
    """
    height, width = pixels.shape[-2:]
    scale_x, scale_y = (float(np.hypot(*frame[:, axis])) for axis in (0, 1))
    small = [max(1, round(height * min(1.0, scale_y))), max(1, round(width * min(1.0, scale_x)))]
    if small != [height, width] and mode == "bilinear":
        pixels = tv.resize(pixels, small, antialias=True)
        shrink = np.diag([width / small[1], height / small[0]])
        frame = compose(frame, np.column_stack([shrink, np.zeros(2)]))
        height, width = small
    if size == (height, width) and np.allclose(frame, np.eye(2, 3), 0, 1e-9):
        return pixels
    moved, on_film = _sample(pixels, invert(frame), size, mode)
    return moved * on_film if outside == "zero" else moved


def valid_pixels(original: tuple[int, int], frame: Frame, size: tuple[int, int]) -> Tensor:
    """Bool (1, H, W): network pixels whose centre falls on the film."""
    back = invert(frame)
    x, y = grid_centres(back, size)
    if not (back[0, 1] or back[1, 0]):
        # Upright: a column of the grid has one x, a row one y.
        x, y = x[:1], y[:, :1]
    return torch.from_numpy(_on_film(x, y, original))[None]


def fit_film(
    pixels: npt.NDArray[np.float32], size: tuple[int, int], fit: Fit = "pad", stride: int = 1
) -> tuple[Tensor, Tensor, Frame]:
    """A film on the network grid.

    Args:
        pixels: float32 (H0, W0) in [0, 1].
        size: (height, width) of the grid.
        fit: see ``fit_frame``.
        stride: of the fit ``strided``.

    Returns:
        the image float32 (1, H, W), where it is film, bool (1, H, W), and the frame.
    """
    original = (int(pixels.shape[0]), int(pixels.shape[1]))
    frame = fit_frame(original, size, fit, stride)
    valid = valid_pixels(original, frame, size)
    mode = "nearest" if fit == "strided" else "bilinear"
    image = warp_pixels(torch.from_numpy(pixels)[None], frame, size, mode=mode)
    return (image * valid).clamp(0, 1), valid, frame


def grid_centres(back: Frame, size: tuple[int, int]) -> tuple[Frame, Frame]:
    """The centres of all grid pixels after the map ``back``, as two arrays (H, W)."""
    rows, columns = (np.arange(length) + 0.5 for length in size)
    # A sum of a column and a row: ten times as fast as mapping each pixel for itself.
    x, y = (np.add.outer(axis[1] * rows + axis[2], axis[0] * columns) for axis in back)
    return x, y


def _sample(pixels: Tensor, back: Frame, size: tuple[int, int], mode: str) -> tuple[Tensor, Tensor]:
    """The pixels on the grid, the film's edge drawn out, and where the grid is film."""
    height, width = pixels.shape[-2:]
    x, y = grid_centres(back, size)
    grid = np.stack([2 * x / width - 1, 2 * y / height - 1], -1)
    moved = F.grid_sample(
        pixels[None].float(),
        torch.from_numpy(grid[None]).float(),
        mode=mode,
        # The film's last row must not fade into the padding.
        padding_mode="border",
        align_corners=False,
    )[0]
    return moved, torch.from_numpy(_on_film(x, y, (height, width)))


def _on_film(x: Frame, y: Frame, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Whether points lie on [0, W) x [0, H), whatever the rounding of a centre on the border."""
    x, y = x + 1e-6, y + 1e-6
    return (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])

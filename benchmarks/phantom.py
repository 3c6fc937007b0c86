"""Phantom films against the same drawing by plain means, at full resolution, one thing at a time.

The peer blurs the whole film with scipy instead of a coarse copy, interpolates noise with scipy
instead of two small matrices, and draws tubes one by one instead of many at once. Its films are
ours to about a grey level of 255, what a blur of a coarse copy differs by.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from eye_gaze_data.phantom import PhantomConfig
from eye_gaze_data.phantom.cohort import PhantomFilms
from eye_gaze_data.phantom.physics import Field, Placement
from eye_gaze_data.phantom.rendering import render

from .table import Row, cpu

FILMS, SIDES = 8, (256, 1024)
DRAWING = ("skeleton", "lesions", "mimics", "finish")


def rows() -> Iterator[Row]:
    for side in SIDES:
        yield phantom_row(side)


def phantom_row(side: int) -> Row:
    films = list(PhantomFilms(PhantomConfig(n_patients=FILMS, height=side, width=side)))[:FILMS]

    def ours() -> list[Field]:
        return [render(film) for film in films]

    def theirs() -> list[Field]:
        with plainly():
            return ours()

    difference = np.abs(np.array(ours()) - np.array(theirs()))
    assert difference.mean() < 5e-3
    assert difference.max() < 0.05
    what = f"{FILMS} phantom films of {side}x{side}"
    peer = "the same by scipy and a loop over tubes"
    # Compared above: both are warm.
    return Row(what, cpu(ours), peer, cpu(theirs), rounds=3, thrown=0)


def plainly() -> ExitStack:
    """The phantom drawn by plain means until the stack is closed."""
    stack, folder = ExitStack(), "eye_gaze_data.phantom"
    stack.enter_context(patch(f"{folder}.physics.broad_blur", blurred))
    stack.enter_context(patch(f"{folder}.physics.upsample", interpolated))
    for module in DRAWING:
        stack.enter_context(patch(f"{folder}.{module}.draw_tubes", one_by_one))
    return stack


def blurred(image: Field, fraction: float) -> Field:
    """A Gaussian blur with a sigma of a fraction of the shorter side."""
    found: Field = ndimage.gaussian_filter(image, fraction * min(image.shape), mode="nearest")
    return found


def interpolated(coarse: Field, shape: tuple[int, int]) -> Field:
    """A coarse grid on a fine one, by cubic B-splines."""
    step = [(few - 1) / many for few, many in zip(coarse.shape, shape, strict=True)]
    found: Field = ndimage.affine_transform(
        coarse, step, [one / 2 for one in step], shape, order=3, mode="nearest", prefilter=False
    )
    return found


def one_by_one(
    path: Field, placement: Placement, tubes: npt.NDArray[np.float64], gain: float = 1.0
) -> None:
    """Tubes in the box about each; where tubes meet, the thicker counts."""
    scale = placement.pixels_per_centimetre
    for x1, y1, radius1, x2, y2, radius2 in tubes:
        (left, right), (top, bottom) = placement.to_pixels([x1, x2], [y1, y2])
        reach = max(radius1, radius2) * scale + 1
        rows = np.arange(max(0, int(min(top, bottom) - reach)), path.shape[0])
        rows = rows[rows < max(top, bottom) + reach + 1]
        columns = np.arange(max(0, int(min(left, right) - reach)), path.shape[1])
        columns = columns[columns < max(left, right) + reach + 1]
        if not (len(rows) and len(columns)):
            continue
        x, y = columns[None] + 0.5 - left, rows[:, None] + 0.5 - top
        across, down = right - left, bottom - top
        along = np.clip((x * across + y * down) / (across**2 + down**2 + 1e-9), 0, 1)
        distance = np.hypot(x - along * across, y - along * down)
        radius = (radius1 + along * (radius2 - radius1)) * scale
        wide = np.maximum(radius, 0.7)
        chord = 2 * np.sqrt(np.maximum(wide**2 - distance**2, 0)) * radius / wide
        box = path[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        np.maximum(box, gain / scale * chord, out=box, casting="same_kind")

"""Densities as files for people and other programs: an overlay with a colour bar, a 16-bit TIFF."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from eye_gaze_data.files import write_atomic

from .prediction_config import NOTICE

Density = npt.NDArray[np.float64]
Grey = npt.NDArray[np.uint8]
COLOURS = "inferno"
BOXES = "#35d0ff"
# A picture shows the boxes of the highest scores; the files have all.
MOST_DRAWN = 6
UNIT = "times\nuniform"
_DEEPEST = 65535


def write_overlay(path: Path, film: Grey, density: Density) -> None:
    """The overlay as PNG, with the notice in its footer and in its text.

    Args:
        path: of the file.
        film: uint8 (H, W).
        density: (H, W) that sums to 1.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", NOTICE)
    text.add_text("Density maximum", repr(float(density.max())))
    picture = framed(draw_overlay(film, density), density)
    # Level 1 is four times as fast as the default and a tenth larger.
    write_atomic(path, lambda file: picture.save(file, "PNG", pnginfo=text, compress_level=1))


def draw_overlay(film: Grey, density: Density) -> Grey:
    """The film with the density in colour over it, uint8 (H, W, 3).

    The colour's strength follows the density relative to its maximum.
    """
    share = (density / density.max()).astype(np.float32)
    # 256 colours and strengths: what the eye can tell, and a table is quick.
    steps = np.round(share * 255).astype(np.uint8)
    strength = 0.65 * np.sqrt(np.arange(256, dtype=np.float32) / 255)
    colours = (colormaps[COLOURS](np.arange(256))[:, :3] * 255).astype(np.float32)
    mixed = (1 - strength)[steps][..., None] * film[..., None]
    mixed = mixed + (strength[:, None] * colours)[steps]
    return np.asarray(np.round(mixed), np.uint8)


def write_boxes(path: Path, film: Grey, detections: Sequence[Mapping[str, Any]]) -> None:
    """The film with the boxes of the highest scores as PNG, with the notice in its text.

    Args:
        path: of the file.
        film: uint8 (H, W).
        detections: records with ``finding``, ``score`` and ``box``, the best first.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", NOTICE)
    picture = draw_boxes(film, detections)
    write_atomic(path, lambda file: picture.save(file, "PNG", pnginfo=text, compress_level=1))


def draw_boxes(film: Grey, detections: Sequence[Mapping[str, Any]]) -> Image.Image:
    """The film with its best boxes, each with finding and score; below it the notice."""
    height, width = film.shape
    side = max(film.shape)
    size = max(8, side // 40)
    picture = Image.new("RGB", (width, height + 2 * size), "black")
    picture.paste(Image.fromarray(film), (0, 0))
    pen = ImageDraw.Draw(picture)
    for record in reversed(detections[:MOST_DRAWN]):
        x1, y1, x2, y2 = record["box"]
        pen.rectangle((x1, y1, x2, y2), outline=BOXES, width=max(1, side // 300))
        text = f"{record['finding']} {record['score']:.2f}"
        pen.text((x1, max(0, y1 - size)), text, fill=BOXES, font_size=size)
    pen.text((size // 2, height + size // 2), NOTICE, fill="white", font_size=size)
    return picture


def framed(overlay: Grey, density: Density) -> Image.Image:
    """The overlay at the upper left, a colour bar at its right, the notice below.

    The bar counts in multiples of the uniform map: 1 is gaze spread evenly over the film.
    """
    height, width = overlay.shape[:2]
    letters = max(10, height // 50)
    font = ImageFont.load_default(letters)
    top = density.max() * density.size
    ticks = [f"{value:.3g}" for value in (top, top / 2, 0.0)]
    bar = max(8, letters)
    right = 3 * bar + int(max(font.getlength(text) for text in [*ticks, *UNIT.split()]))
    across = max(width + right, int(font.getlength(NOTICE)) + letters)
    down = max(height, 9 * letters)
    picture = Image.new("RGB", (across, down + 2 * letters), "black")
    picture.paste(Image.fromarray(overlay), (0, 0))
    draw = ImageDraw.Draw(picture)
    scale = (colormaps[COLOURS](np.linspace(1, 0, 256))[:, :3] * 255).astype(np.uint8)
    first, last = 4 * letters, down - letters
    strip = Image.fromarray(np.repeat(scale[:, None], bar, 1)).resize((bar, last - first))
    left = width + bar
    picture.paste(strip, (left, first))
    for number, text in enumerate(ticks):
        place = first + (last - first) * number / (len(ticks) - 1)
        draw.text((left + 1.5 * bar, place), text, "white", font, anchor="lm")
    draw.multiline_text((left, letters // 2), UNIT, "white", font)
    draw.text((letters // 2, down + letters // 2), NOTICE, "white", font)
    return picture


def write_tiff(path: Path, density: Density) -> float:
    """The density as 16-bit TIFF: its maximum becomes 65535.

    The description of the file (tag 270) is JSON with the notice and ``density_per_level``.

    Returns:
        the factor that turns a stored level into a density.
    """
    factor = float(density.max()) / _DEEPEST
    levels = np.round(density / factor).astype(np.uint16)
    said = {"notice": NOTICE, "density_per_level": factor}
    picture = Image.fromarray(levels)
    write_atomic(
        path,
        lambda file: picture.save(
            file, "TIFF", compression="tiff_adobe_deflate", tiffinfo={270: json.dumps(said)}
        ),
    )
    return factor

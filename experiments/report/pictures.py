"""Films and maps as small pictures in Base64."""

import base64
import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from .formatting import TIMES, number

COLOURS = "inferno"
# Below this share of the shared maximum a map fades out, so that the film stays readable.
OPAQUE_FROM = 0.35

Array = NDArray[np.float64]


def coloured(density: Array, highest: float) -> Array:
    """A density as colours and opacity, float64 (h, w, 4) in [0, 1]; not finite is transparent."""
    clean = np.nan_to_num(density, nan=0.0, posinf=highest, neginf=0.0)
    level = np.clip(np.rint(clean / highest * 255), 0, 255).astype(np.int64)
    colours, opacity = _palette()
    return np.concatenate([colours[level], opacity[level][..., None]], -1)


def film_webp(film: NDArray[np.uint8], side: int) -> str:
    """A grey film as WebP in Base64, which takes half of what a JPEG does."""
    return _encoded(_shrunk(Image.fromarray(film), side), "webp", quality=80, method=4)


def level_png(density: Array, highest: float, side: int) -> str:
    """A density as a grey PNG in Base64: 0 at 0, 255 at ``highest``; the page colours it."""
    return _encoded(Image.fromarray(_levels(density, highest, side)), "png", optimize=True)


def palette_bytes() -> str:
    """Red, green, blue and opacity of the 256 levels, in Base64."""
    colours, opacity = _palette()
    table = np.concatenate([colours, opacity[:, None]], axis=1)
    return base64.b64encode((table * 255).round().astype(np.uint8).tobytes()).decode()


def times_uniform(density: float, pixels: int) -> str:
    """A density in multiples of the uniform one, which is readable at any image size."""
    return f"{number(density * pixels, 1)}{TIMES}"


def _levels(density: Array, highest: float, side: int) -> NDArray[np.uint8]:
    clean = np.nan_to_num(density, nan=0.0, posinf=highest, neginf=0.0).astype(np.float32)
    small = np.asarray(_shrunk(Image.fromarray(clean), side))
    return np.clip(np.rint(small / highest * 255), 0, 255).astype(np.uint8)


def _palette() -> tuple[Array, Array]:
    level = np.linspace(0.0, 1.0, 256)
    # Inferno's black start would only darken the film.
    colours = np.asarray(colormaps[COLOURS](0.12 + 0.86 * level), dtype=np.float64)[:, :3]
    rise = np.clip(level / OPAQUE_FROM, 0.0, 1.0)
    return colours, rise * rise * (3 - 2 * rise)


def _shrunk(image: Image.Image, side: int) -> Image.Image:
    factor = side / max(image.size)
    if factor >= 1:
        return image
    width, height = (max(1, round(length * factor)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BOX)


def _encoded(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()

"""Films and maps as data URIs, small enough that a report with two dozen cases can be mailed."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from .formatting import TIMES, number

FILM_SIDE = 512
MAP_SIDE = 224
COLOURS = "inferno"
# Below this share of the shared maximum a map fades out, so that the film stays readable.
OPAQUE_FROM = 0.35

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stop:
    """A colour of the bar beside a case."""

    offset: float
    colour: str
    opacity: float


def film_uri(film: NDArray[np.uint8]) -> str:
    """A grey film as a JPEG data URI."""
    image = Image.fromarray(film)
    return _uri(_shrunk(image, FILM_SIDE), "jpeg", quality=82)


def map_uri(density: Array, highest: float) -> str:
    """A density as a PNG data URI: a colour and an opacity for each of 256 levels.

    Args:
        density: (h, w); what is not finite is transparent.
        highest: the density that gets the last colour.
    """
    image = Image.fromarray(_levels(density, highest, MAP_SIDE))
    colours, opacity = _palette()
    image.putpalette((colours * 255).round().astype(np.uint8).tobytes())
    return _uri(image, "png", transparency=(opacity * 255).round().astype(np.uint8).tobytes())


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


def colour_stops(number_of: int = 17) -> tuple[Stop, ...]:
    """The colours and opacities of maps, from zero to the highest density."""
    colours, opacity = _palette()
    chosen = np.linspace(0, 255, number_of).round().astype(int)
    return tuple(
        Stop(
            offset=round(i / 255, 4),
            colour="#" + bytes((colours[i] * 255).round().astype(np.uint8)).hex(),
            opacity=round(float(opacity[i]), 3),
        )
        for i in chosen.tolist()
    )


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


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    return f"data:image/{kind};base64,{_encoded(image, kind, optimize=True, **options)}"


def _encoded(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()

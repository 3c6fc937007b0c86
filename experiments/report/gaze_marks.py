"""Boxes over a film in its pixels, and the readers' colours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Bright and far apart in hue, so that they stand out on grey and on the map's colours.
READER_COLOURS = (
    "#35d0ff", "#9bff6a", "#ff8ad8", "#ffd23f", "#b69cff", "#ffffff", "#ff8552", "#4dffd2",
)  # fmt: skip

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A labelled rectangle."""

    x: float
    y: float
    width: float
    height: float
    label: str


def reader_colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each reader, the same in all cases; colours repeat after eight readers."""
    ordered = sorted(set(names))
    return {name: READER_COLOURS[i % len(READER_COLOURS)] for i, name in enumerate(ordered)}


def boxes(corners: Array, labels: Sequence[str]) -> tuple[Box, ...]:
    """Rectangles out of (m, 4) corners x1, y1, x2, y2."""
    return tuple(
        Box(round(x1, 1), round(y1, 1), round(x2 - x1, 1), round(y2 - y1, 1), label)
        for (x1, y1, x2, y2), label in zip(corners.tolist(), labels, strict=True)
        if math.isfinite(x1 + y1 + x2 + y2) and x2 > x1 and y2 > y1
    )

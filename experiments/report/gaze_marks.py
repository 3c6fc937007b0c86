"""Fixations and boxes as marks over a film, in the film's pixels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .formatting import number

# Bright and far apart in hue, so that they stand out on grey and on the map's colours.
READER_COLOURS = (
    "#35d0ff", "#9bff6a", "#ff8ad8", "#ffd23f", "#b69cff", "#ffffff", "#ff8552", "#4dffd2",
)  # fmt: skip
MOST_NUMBERS = 24

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Dot:
    """A fixation; ``order`` is empty where there are too many to number each."""

    x: float
    y: float
    radius: float
    order: str
    title: str


@dataclass(frozen=True)
class Scanpath:
    """The fixations of one reader in the order of time."""

    reader: str
    colour: str
    dots: tuple[Dot, ...]

    @property
    def path(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{dot.x:g},{dot.y:g}" for dot in self.dots)


@dataclass(frozen=True)
class Box:
    """A labelled rectangle."""

    x: float
    y: float
    width: float
    height: float
    label: str


def scanpaths(
    gaze: Array, reader: NDArray[np.int64], names: Sequence[str], side: float
) -> tuple[Scanpath, ...]:
    """The fixations of a case by reader.

    Args:
        gaze: (n, 4): x, y, start and duration in seconds; the times may be NaN.
        reader: (n,) positions in ``names``.
        names: the readers' names.
        side: the film's longer side, which the dots' size follows.
    """
    placed = np.isfinite(gaze[:, :2]).all(axis=1)
    gaze, reader = gaze[placed], reader[placed]
    known = gaze[np.isfinite(gaze[:, 3]) & (gaze[:, 3] > 0), 3]
    typical = float(np.median(known)) if len(known) else math.nan
    # Many readers share the numbers, or the film disappears below them.
    most = max(4, MOST_NUMBERS // max(1, len(np.unique(reader))))
    paths = []
    for position in np.unique(reader).tolist():
        name = names[position] if 0 <= position < len(names) else f"reader {position}"
        own = gaze[reader == position]
        # Points without a start keep the order in which they were stored, after the others.
        own = own[np.argsort(own[:, 2], kind="stable")]
        paths.append(Scanpath(name, "", _dots(own, name, typical, side, most)))
    return tuple(paths)


def coloured(paths: Sequence[Scanpath], colours: Mapping[str, str]) -> tuple[Scanpath, ...]:
    """The same scanpaths in the readers' colours."""
    return tuple(Scanpath(path.reader, colours[path.reader], path.dots) for path in paths)


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


def _dots(own: Array, name: str, typical: float, side: float, most: int) -> tuple[Dot, ...]:
    step = math.ceil(len(own) / most)
    dots = []
    for order, (x, y, start, lasted) in enumerate(own.tolist(), start=1):
        # The area follows the duration, within limits that keep every dot visible.
        factor = math.sqrt(lasted / typical) if lasted > 0 and typical > 0 else 1.0
        radius = side * 0.011 * min(max(factor, 0.5), 2.0)
        numbered = order == 1 or order == len(own) or order % step == 0
        title = f"{name}, fixation {order}, start {number(start, 2)} s, {number(lasted, 2)} s long"
        label = str(order) if numbered else ""
        dots.append(Dot(round(x, 1), round(y, 1), round(radius, 2), label, title))
    return tuple(dots)

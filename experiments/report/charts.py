"""Geometry of the report's small charts; the template draws them, so that they follow its colours.

matplotlib gives the round tick values. Its own SVG is not used: it fixes the colours of one theme.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.ticker import MaxNLocator

from .formatting import significant

Point = tuple[float, float]
Range = tuple[float, float]

LEFT, RIGHT, TOP, BOTTOM = 48.0, 8.0, 8.0, 22.0
FEW_POINTS = 12
HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    position: float
    label: str


@dataclass(frozen=True)
class Line:
    """A series of a line chart, in the chart's own units."""

    name: str
    points: tuple[Point, ...]
    dotted: bool

    @property
    def path(self) -> str:
        """The points as SVG writes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Form:
    """How a chart looks.

    Attributes:
        width: of the whole drawing.
        height: of the whole drawing.
        spans: the ranges of x and y; those of the points, with whole ticks of x, when None.
        diagonal: draw the line y = x.
        dots: draw a dot at each point where there are few.
    """

    width: float = 280.0
    height: float = 150.0
    spans: tuple[Range, Range] | None = None
    diagonal: bool = False
    dots: bool = True


@dataclass(frozen=True)
class Chart:
    """A small chart, ready to be drawn."""

    title: str
    summary: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    mark: float | None
    diagonal: bool
    width: float
    height: float
    right: float
    bottom: float
    left: float = LEFT
    top: float = TOP
    bars: tuple[Bar, ...] = ()


PLAIN = Form()


def ticks(span: Range, low: float, high: float, bins: int = 4, whole: bool = False) -> list[Tick]:
    """Round values inside a range, placed between two positions."""
    locator = MaxNLocator(nbins=bins, steps=[1, 2, 2.5, 5, 10], integer=whole)
    slack = 1e-9 * (span[1] - span[0])
    inside = [v for v in locator.tick_values(*span) if span[0] - slack <= v <= span[1] + slack]
    return [Tick(place(float(v), span, low, high), significant(v + 0.0, 6)) for v in inside]


def widened(values: Sequence[float], margin: float = 0.06) -> Range:
    """The range of some numbers with a margin; a constant gets room on both sides."""
    low, high = min(values), max(values)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - room, high + room


def line_chart(
    title: str,
    series: Mapping[str, Sequence[Point]],
    form: Form = PLAIN,
    mark: float | None = None,
) -> Chart | None:
    """Lay out a line chart.

    Args:
        title: what is drawn.
        series: points (x, y) by name; those that are not finite are left out.
        form: size, ranges and marks of the chart.
        mark: an x to draw a vertical line at.

    Returns:
        The chart; None when no point is finite.
    """
    finite = {name: [p for p in points if _finite(p)] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return None
    spans = form.spans or _spans([point for points in finite.values() for point in points])
    x_span, y_span = spans
    right, bottom = form.width - RIGHT, form.height - BOTTOM
    shown = mark is not None and x_span[0] <= mark <= x_span[1]
    return Chart(
        title=title,
        summary=f"{title}: " + "; ".join(_summary(name, p) for name, p in finite.items()),
        x_ticks=tuple(ticks(x_span, LEFT, right, bins=5, whole=form.spans is None)),
        y_ticks=tuple(ticks(y_span, bottom, TOP)),
        lines=tuple(_line(name, points, spans, form) for name, points in finite.items()),
        mark=place(mark, x_span, LEFT, right) if mark is not None and shown else None,
        diagonal=form.diagonal,
        width=form.width,
        height=form.height,
        right=right,
        bottom=bottom,
    )


def histogram(title: str, values: Sequence[float], outline: Sequence[float]) -> Chart:
    """Lay out the distribution of some numbers as bars, and of others as a line above them.

    Args:
        title: what is drawn.
        values: the numbers of the bars, at least one.
        outline: the numbers of the line; may be empty.
    """
    edges = np.linspace(*widened([*values, *outline], 0.01), HISTOGRAM_BINS + 1)
    bars, steps = (np.histogram(numbers, edges)[0].tolist() for numbers in (values, outline))
    spans = (float(edges[0]), float(edges[-1])), (0.0, max(bars + steps) * 1.05)
    corners = [
        (float(x), float(height))
        for height, *pair in zip(steps, edges[:-1], edges[1:], strict=True)
        for x in pair
    ]
    chart = line_chart(title, {"outline": corners}, Form(spans=spans, dots=False))
    assert chart is not None  # noqa: S101 - the corners are finite
    width = (chart.right - chart.left) / HISTOGRAM_BINS
    tops = [place(height, spans[1], chart.bottom, chart.top) for height in bars]
    median = significant(float(np.median(values)))
    return replace(
        chart,
        summary=f"{title} of {len(values)} images, median {median}",
        y_ticks=tuple(ticks(spans[1], chart.bottom, chart.top, bins=3, whole=True)),
        lines=chart.lines if outline else (),
        bars=tuple(
            Bar(chart.left + i * width, top, width - 1, chart.bottom - top)
            for i, top in enumerate(tops)
        ),
    )


def place(value: float, span: Range, low: float, high: float) -> float:
    """Where a value of a range stands between two positions."""
    return low + (value - span[0]) / (span[1] - span[0]) * (high - low)


def _line(name: str, points: Sequence[Point], spans: tuple[Range, Range], form: Form) -> Line:
    right, bottom = form.width - RIGHT, form.height - BOTTOM
    placed = tuple(
        (place(x, spans[0], LEFT, right), place(y, spans[1], bottom, TOP)) for x, y in points
    )
    return Line(name, placed, dotted=form.dots and len(points) <= FEW_POINTS)


def _spans(points: Sequence[Point]) -> tuple[Range, Range]:
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    # A single epoch stands in the middle.
    x_span = (low, high) if high > low else (low - 0.5, high + 0.5)
    return x_span, widened([y for _, y in points])


def _finite(point: Point) -> bool:
    return math.isfinite(point[0]) and math.isfinite(point[1])


def _summary(name: str, points: Sequence[Point]) -> str:
    first, last = significant(points[0][1]), significant(points[-1][1])
    return f"{name} from {first} to {last} over {len(points)} points"

"""Paired differences with their intervals: a row a cell, a column a metric, zero in each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.compare_text import titled, verdict

from .charts import Range, Tick, place, ticks, widened
from .formatting import interval, number

# A difference is off the axis when it is so many times what three quarters of them reach.
FAR = 3.0
NAMES, COLUMN, GAP, ROW, TOP, FOOT = 128.0, 176.0, 22.0, 19.0, 24.0, 22.0


@dataclass(frozen=True)
class Difference:
    """A difference and its interval, placed.

    Attributes:
        y: of its row.
        centre: of the dot, or the end of the axis that it lies beyond.
        low: left end of the interval.
        high: right end.
        verdict: better, worse or empty.
        beyond: the value, where it lies beyond the axis; else empty.
        label: all numbers.
    """

    y: float
    centre: float
    low: float
    high: float
    verdict: str
    beyond: str
    label: str


@dataclass(frozen=True)
class Column:
    """All differences of one metric on one axis."""

    title: str
    left: float
    right: float
    zero: float
    ticks: tuple[Tick, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Forest:
    """The differences of one group of images."""

    group: str
    n_images: int
    reference: str
    names: tuple[tuple[str, float], ...]
    columns: tuple[Column, ...]
    width: float
    height: float
    top: float
    bottom: float


def forests(differences: Mapping[str, Any]) -> tuple[Forest, ...]:
    """One figure a group of images.

    Args:
        differences: of ``result_differences``.
    """
    return tuple(
        _forest(str(differences["reference"]), group, part)
        for group, part in differences["groups"].items()
    )


def _forest(reference: str, group: str, part: Mapping[str, Any]) -> Forest:
    found: Sequence[Mapping[str, Any]] = part["comparisons"]
    cells = list(dict.fromkeys(one["first"] for one in found))
    metrics = list(dict.fromkeys(one["metric"] for one in found))
    rows = {cell: TOP + (place_of + 0.5) * ROW for place_of, cell in enumerate(cells)}
    columns = []
    for at, metric in enumerate(metrics):
        left = NAMES + at * (COLUMN + GAP)
        own = [one for one in found if one["metric"] == metric]
        columns.append(_column(own, metric, rows, left))
    bottom = TOP + len(cells) * ROW
    width = NAMES + len(metrics) * (COLUMN + GAP)
    names = tuple(rows.items())
    return Forest(
        group, int(part["n_images"]), reference, names, tuple(columns),
        width, bottom + FOOT, TOP, bottom,
    )  # fmt: skip


def _column(
    found: Sequence[Mapping[str, Any]], metric: str, rows: Mapping[str, float], left: float
) -> Column:
    right = left + COLUMN
    span = _span([one["difference"] for one in found])
    return Column(
        title=titled(metric),
        left=left,
        right=right,
        zero=place(0.0, span, left, right),
        ticks=tuple(ticks(span, left, right, bins=4)),
        differences=tuple(
            _difference(one, rows[one["first"]], span, left, right)
            for one in found
            if math.isfinite(one["difference"]["value"])
        ),
    )


def _span(found: Sequence[Mapping[str, float]]) -> Range:
    """From the least to the greatest end with zero; one cell far from all others is left out."""
    reach = [max(abs(v) for v in _ends(one)) for one in found if math.isfinite(one["value"])]
    most = FAR * float(np.quantile(reach, 0.75)) if reach else 0.0
    shown = [one for one in found if math.isfinite(one["value"]) and abs(one["value"]) <= most]
    return widened([0.0, *(v for one in shown for v in _ends(one))])


def _ends(found: Mapping[str, float]) -> tuple[float, float]:
    """The interval; the value itself where there is none."""
    known = math.isfinite(found["low"] + found["high"])
    return (found["low"], found["high"]) if known else (found["value"], found["value"])


def _difference(
    one: Mapping[str, Any], y: float, span: Range, left: float, right: float
) -> Difference:
    found = one["difference"]
    inside = (min(max(v, span[0]), span[1]) for v in (found["value"], *_ends(found)))
    centre, low, high = (place(v, span, left, right) for v in inside)
    beyond = "" if span[0] <= found["value"] <= span[1] else number(found["value"], 2)
    told = f"{one['first']}: {number(found['value'])} {interval(found['low'], found['high'])}"
    label = f"{told}, p after Holm’s correction {number(one['p_holm'])}"  # noqa: RUF001
    return Difference(y, centre, low, high, verdict(one), beyond, label)

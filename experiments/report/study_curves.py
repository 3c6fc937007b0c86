"""Validation curves of a study's cells over all their stages, one panel a cell."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .charts import Point, Range, Tick, place, ticks, widened
from .formatting import as_float, number
from .run_folder import Stage, read_stages

# Each with its heading and what it is measured against: a constant, or a column of the log.
METRICS: dict[str, tuple[str, float | str]] = {
    "valid/auroc": ("AUROC ↑", 0.5),
    "valid/cc": ("CC ↑", "valid/cc_centre_bias"),
    "valid/kld": ("KLD ↓", math.nan),
    "valid/map": ("mAP ↑", math.nan),
}
# A first epoch may lie far from all others: what is beyond this share of the values is cut.
SHOWN = 0.98
WIDTH, LEFT, RIGHT, TOP, STRIP, GAP, FOOT = 246.0, 36.0, 34.0, 46.0, 58.0, 17.0, 20.0


@dataclass(frozen=True)
class Span:
    """Where a stage stands on the axis of epochs; ``label`` is empty where there is no room."""

    name: str
    task: str
    x: float
    width: float
    label: str


@dataclass(frozen=True)
class Strip:
    """One metric in a panel.

    Attributes:
        key: of the metric, for its colour.
        title: its heading.
        top: upper end.
        bottom: lower end.
        y_ticks: of its axis.
        seeds: lines of the seeds, as SVG writes them.
        means: lines of the mean over seeds; broken where nothing was logged.
        floor: y of what it is measured against, if that is known.
        last: place and text of the last mean.
        summary: in words.
    """

    key: str
    title: str
    top: float
    bottom: float
    y_ticks: tuple[Tick, ...]
    seeds: tuple[str, ...]
    means: tuple[str, ...]
    floor: float | None
    last: tuple[float, float, str] | None
    summary: str


@dataclass(frozen=True)
class Panel:
    """The curves of one cell."""

    cell: str
    about: str
    seeds: int
    spans: tuple[Span, ...]
    strips: tuple[Strip, ...]
    x_ticks: tuple[Tick, ...]
    width: float
    height: float
    left: float
    right: float


@dataclass(frozen=True)
class Cell:
    """The logs of a cell: for each seed its stages."""

    name: str
    about: str
    seeds: tuple[tuple[Stage, ...], ...]

    @property
    def lengths(self) -> dict[str, int]:
        """Epochs of each stage, of the seed that took most; stages without any are left out."""
        found: dict[str, int] = {}
        for stage in (stage for seed in self.seeds for stage in seed):
            found[stage.folder] = max(found.get(stage.folder, 0), len(stage.epochs))
        return {name: found[name] for name in sorted(found) if found[name]}

    def curve(self, seed: int, metric: str) -> dict[int, float]:
        """The metric by epoch on the common axis, where the seed logged it."""
        starts = np.cumsum([0, *self.lengths.values()]).tolist()
        begins = dict(zip(self.lengths, starts, strict=False))
        return {
            begins[stage.folder] + int(as_float(row.get("epoch"))) + 1: value
            for stage in self.seeds[seed]
            for row in stage.epochs
            if math.isfinite(value := as_float(row.get(metric)))
        }

    def mean(self, metric: str) -> dict[int, float]:
        """The mean over the seeds that logged an epoch."""
        curves = [self.curve(seed, metric) for seed in range(len(self.seeds))]
        epochs = sorted({epoch for curve in curves for epoch in curve})
        return {e: float(np.mean([c[e] for c in curves if e in c])) for e in epochs}


def read_cell(name: str, about: str, runs: Sequence[Path]) -> Cell:
    """The logs of a cell's runs; those that were not begun are left out.

    Args:
        name: of the cell.
        about: what it is.
        runs: a run folder a seed.
    """
    stages = (read_stages(run) for run in runs)
    return Cell(name, about, tuple(found for found in stages if any(s.epochs for s in found)))


def curve_panels(cells: Sequence[Cell]) -> tuple[Panel, ...]:
    """A panel for each cell that logged an epoch; a metric has one scale in all of them."""
    begun = [cell for cell in cells if cell.seeds]
    ranges = {metric: span for metric in METRICS if (span := _range(begun, metric)) is not None}
    return tuple(_panel(cell, ranges) for cell in begun)


def tasks_of(panels: Sequence[Panel]) -> tuple[str, ...]:
    """The tasks of all stages, each once, for the legend."""
    return tuple(dict.fromkeys(span.task for panel in panels for span in panel.spans))


def _range(cells: Sequence[Cell], metric: str) -> Range | None:
    values = [
        v for c in cells for seed in range(len(c.seeds)) for v in c.curve(seed, metric).values()
    ]
    if not values:
        return None
    low, high = np.quantile(values, [1 - SHOWN, SHOWN]).tolist()
    floors = [floor for cell in cells if math.isfinite(floor := _floor(cell, metric))]
    return widened([low, high, *floors], 0.08)


def _floor(cell: Cell, metric: str) -> float:
    against = METRICS[metric][1]
    if isinstance(against, float):
        return against
    return next(iter(cell.mean(against).values()), math.nan)


def _panel(cell: Cell, ranges: Mapping[str, Range]) -> Panel:
    lengths = cell.lengths
    total = sum(lengths.values())
    right = WIDTH - RIGHT
    axis = (0.0, float(total))
    tasks = {s.folder: (str(s.facts.get("name") or s.folder), str(s.facts.get("task") or ""))
             for seed in cell.seeds for s in seed}  # fmt: skip
    spans, begin = [], 0
    for folder, epochs in lengths.items():
        x, end = (place(float(v), axis, LEFT, right) for v in (begin, begin + epochs))
        name, task = tasks[folder]
        label = name if len(name) * 4.6 < end - x else ""
        spans.append(Span(name, task, x, end - x, label))
        begin += epochs
    strips = tuple(
        _strip(cell, metric, span, axis, TOP + number * (STRIP + GAP))
        for number, (metric, span) in enumerate(ranges.items())
    )
    bottom = strips[-1].bottom if strips else TOP
    marks = tuple(ticks(axis, LEFT, right, bins=5, whole=True))
    return Panel(
        cell.name, cell.about, len(cell.seeds), tuple(spans), strips, marks,
        WIDTH, bottom + FOOT, LEFT, right,
    )  # fmt: skip


def _strip(cell: Cell, metric: str, span: Range, axis: Range, top: float) -> Strip:
    bottom, right = top + STRIP, WIDTH - RIGHT
    title = METRICS[metric][0]

    def lines(curve: Mapping[int, float]) -> tuple[str, ...]:
        return tuple(
            " ".join(
                f"{place(float(x), axis, LEFT, right):.1f},{place(y, span, bottom, top):.1f}"
                for x, y in part
            )
            for part in _unbroken(curve.items())
        )

    mean = cell.mean(metric)
    floor = _floor(cell, metric) if mean else math.nan
    last = None
    if mean:
        value = list(mean.values())[-1]
        inside = min(max(value, span[0]), span[1])
        last = right + 4, place(inside, span, bottom, top), number(value)
    return Strip(
        key=metric.partition("/")[2],
        title=title,
        top=top,
        bottom=bottom,
        y_ticks=tuple(ticks(span, bottom, top, bins=4)),
        seeds=tuple(
            line for seed in range(len(cell.seeds)) for line in lines(cell.curve(seed, metric))
        )
        if len(cell.seeds) > 1
        else (),
        means=lines(mean),
        floor=place(floor, span, bottom, top) if math.isfinite(floor) else None,
        last=last,
        summary=f"{title} ends at {last[2]}" if last else f"{title} was not logged",
    )


def _unbroken(points: Iterable[tuple[int, float]]) -> list[list[Point]]:
    """The points in parts whose epochs follow each other; a part of one becomes a short line."""
    parts: list[list[Point]] = []
    for epoch, value in points:
        if parts and epoch - parts[-1][-1][0] == 1:
            parts[-1].append((float(epoch), value))
        else:
            parts.append([(float(epoch), value)])
    return [part if len(part) > 1 else [(part[0][0] - 0.5, part[0][1]), part[0]] for part in parts]

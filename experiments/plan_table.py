"""The plan of a run as a table for people: a row a stage."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 150


def print_plan(rows: list[dict[str, Any]]) -> None:
    """Print a plan.

    Args:
        rows: of ``plan``.
    """
    table = Table(show_lines=True)
    for column in ("stage", "what trains", "frozen", "handed over", "losses", "pace"):
        table.add_column(column, overflow="fold")
    for row in rows:
        frozen = row["frozen"]
        table.add_row(
            "\n".join(_stage(row)),
            "\n".join(_trains(row)),
            _count(frozen),
            "\n".join(_sources(row)) or "from scratch",
            "\n".join(_losses(row)),
            "\n".join(_pace(row)),
        )
    Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH, markup=False, highlight=False
    ).print(table)


def _stage(row: Mapping[str, Any]) -> list[str]:
    lines = [row["stage"], f"{row['kind']}: {row['task']}", f"{row['images']} images"]
    for kind, part in row.get("supervision", {}).items():
        lines.append(f"  {part['share']:g} {kind} (of {part['images']})")
    place = row["round"]
    if place is not None:
        lines.append(f"round {place['number']} of {place['of']}")
        if place["until"] == "no_gain":
            lines.append(f"until no gain > {place['tolerance']:g}")
    return [*lines, row["then"]]


def _trains(row: Mapping[str, Any]) -> list[str]:
    lines = [f"{glob}  {_count(size)}" for glob, size in row["trains"].items()]
    return lines + [f"from epoch {epoch}: {glob}" for glob, epoch in row["unfreeze"].items()]


def _sources(row: Mapping[str, Any]) -> list[str]:
    lines = []
    for source in row["handed_over"]:
        lines.append(f"from {source['from']}")
        if source["best_round"]:
            lines.append("  or the best round")
        for old, new in source["prefixes"].items():
            moved = "everything" if old == new == "" else old if old == new else f"{old} as {new}"
            lines.append(f"  {moved}")
        lines.append(f"  {source['loaded']} loaded, {source['fresh']} fresh")
    return lines


def _losses(row: Mapping[str, Any]) -> list[str]:
    lines = [f"{name}  {_weight(weight)}" for name, weight in row["losses"].items()]
    if row["weighting"] != "fixed":
        lines.append(f"weighting: {row['weighting']}")
    for name, task in row["tasks"].items():
        own = f"{', '.join(task['losses'])}; {', '.join(task['parameters'])}"
        lines.append(f"task {name}: {own}")
        stop = "goes on to the end"
        if task["stop_after"] is not None:
            stop = f"mature after {task['stop_after']} without gain"
        lines.append(f"  {stop}; {_monitor(task['monitor'])}; rate x{task['rate']:g}")
    return lines


def _pace(row: Mapping[str, Any]) -> list[str]:
    optimiser, schedule = row["optimiser"], row["schedule"]
    lines = [f"{optimiser['name']} {optimiser['lr']:g}, {schedule['name']}"]
    lines += [f"  x{rate:g}  {glob}" for glob, rate in optimiser["rates"].items()]
    if schedule["warmup"]:
        lines.append(f"warm-up {schedule['warmup']:.0%}")
    lines.append(f"{row['epochs']} epochs, batches of {row['batch_size']}")
    lines.append(f"best {_monitor(row['monitor'])}")
    if row["stop_after"] is not None:
        lines.append(f"ends after {row['stop_after']} without gain")
    return lines


def _monitor(monitor: Mapping[str, str]) -> str:
    return f"{monitor['mode']} {monitor['metric']}"


def _weight(weight: Any) -> str:  # noqa: ANN401
    if isinstance(weight, list | tuple):
        return f"{', '.join(f'{w:g}' for w in weight)}, by epoch"
    return f"{weight:g}"


def _count(value: Any) -> str:  # noqa: ANN401
    return f"{value:,}" if isinstance(value, int) else str(value)

"""A comparison of runs as Markdown and as text: leaderboards, then differences."""

from collections.abc import Mapping, Sequence
from typing import Any

from .metric_names import LABELS, LOCALISATION, LOWER_IS_BETTER


def comparison_markdown(found: Mapping[str, Any]) -> str:
    """The page that ``--out`` writes."""
    lines = ["# Comparison of runs", ""]
    for name, contender in found["contenders"].items():
        seeds = ", ".join(str(seed) for seed in contender["seeds"])
        lines.append(f"- `{name}`: {', '.join(contender['runs'])} (seeds {seeds})")
    for group, part in found["groups"].items():
        lines += ["", f"## {group} ({part['n_images']} images)", "", *as_table(_board(part))]
        if "detection" in part:
            lines += ["", "Boxes of each run, with 95 % intervals", ""]
            lines += as_table(detection_rows(part["detection"]))
        if part["comparisons"]:
            lines += ["", f"Differences from `{found['reference']}`", ""]
            lines += as_table(difference_rows(part["comparisons"]))
    for metric, why in found["left_out"].items():
        lines += ["", f"Not compared: {metric}, {why}."]
    lines += [
        "",
        "Means over images; ± is the standard deviation over seeds. Differences are paired by "
        "image, seeds averaged first, in units of the metric, with the 95 % interval of the "
        f"bootstrap over patients ({found['resamples']} resamples, of boxes 2000 at the most, seed "
        f"{found['seed']}). p by flipping the signs of whole patients (of AUROC: DeLong, or "
        "swapping whole patients, as of boxes), "
        "after Holm's correction over all differences on this page.",
        "",
    ]
    return "\n".join(lines)


def comparison_text(found: Mapping[str, Any]) -> str:
    """The same for a terminal."""
    lines: list[str] = []
    for group, part in found["groups"].items():
        lines += [f"{group} ({part['n_images']} images)", *_aligned(_board(part)), ""]
        if "detection" in part:
            lines += ["boxes of each run, with 95 % intervals"]
            lines += [*_aligned(detection_rows(part["detection"])), ""]
        if part["comparisons"]:
            lines += [f"differences from {found['reference']}"]
            lines += [*_aligned(difference_rows(part["comparisons"])), ""]
    lines += [f"not compared: {metric}, {why}" for metric, why in found["left_out"].items()]
    return "\n".join(lines).rstrip()


def difference_rows(comparisons: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Head and rows of the table of differences."""
    rows = [["run", "metric", "difference", "95 % interval", "p", "p (Holm)", "images", ""]]
    for one in comparisons:
        interval = one["difference"]
        rows.append(
            [
                one["first"],
                titled(one["metric"]),
                f"{interval['value']:+.3f}",
                f"[{interval['low']:+.3f}, {interval['high']:+.3f}]",
                _p(one["p_value"]),
                _p(one["p_holm"]),
                str(interval["n"]),
                verdict(one),
            ]
        )
    return rows


def detection_rows(runs: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Head and rows of the table of boxes."""
    titles = list(next(iter(runs.values())))
    rows = [["run", *(f"{title} ↑" for title in titles)]]
    for run, entries in runs.items():
        cells = [
            f"{_number(entry['value'])} [{_number(entry['low'])}, {_number(entry['high'])}]"
            for entry in entries.values()
        ]
        rows.append([run, *cells])
    return rows


def _number(value: float | None) -> str:
    return "n/a" if value is None or value != value else f"{value:.3f}"


def _board(part: Mapping[str, Any]) -> list[list[str]]:
    board = part["leaderboard"]
    metrics = list(next(iter(board.values())))
    rows = [["run", *(titled(metric) for metric in metrics), "seeds"]]
    for name, line in board.items():
        cells = [_spread(line[metric]) for metric in metrics]
        seeds = len(line[metrics[0]]["seeds"]) if metrics else 0
        rows.append([name, *cells, str(seeds)])
    return rows


def _spread(entry: Mapping[str, Any]) -> str:
    mean, std = entry["mean"], entry["std"]
    if mean is None or mean != mean:
        return "n/a"
    return f"{mean:.3f}" if std is None or std != std else f"{mean:.3f} ± {std:.3f}"


def titled(metric: str) -> str:
    """A metric's name with the better direction."""
    if "AUROC" in metric or metric in {"mAP", "AP50"}:
        return f"{metric} ↑"
    label = LABELS.get(metric) or LOCALISATION.get(metric, metric)
    return f"{label} {'↓' if metric in LOWER_IS_BETTER else '↑'}"


def _p(value: float) -> str:
    if value != value:
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def verdict(one: Mapping[str, Any]) -> str:
    """Better or worse where the corrected test says so at 5 %."""
    if not one["p_holm"] < 0.05:
        return ""
    up = one["difference"]["value"] > 0
    return "better" if up != (one["metric"] in LOWER_IS_BETTER) else "worse"


def as_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Head and rows as a Markdown table."""
    ruled = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return ["| " + " | ".join(row) + " |" for row in ruled]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]

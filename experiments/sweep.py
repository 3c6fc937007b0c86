"""Runs a study: every cell with every seed, evaluated, and one table over all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from eye_gaze_data.errors import ConfigError
from eye_gaze_data.files import read_json, write_json, write_text

from .compare import Contender, compare_contenders, read_scored
from .compare_diagnosis import MACRO
from .compare_text import as_table, difference_rows
from .config import RunConfig
from .evaluate import evaluate
from .record import read_stage, stage_folder
from .report import write_report
from .rounds import result_stage
from .runner import run
from .study import StudyConfig

# Columns of the table: heading, where metrics.json has it, and the better direction.
COLUMNS = {
    "CC": ("saliency", "cc", "↑"),
    "NSS": ("saliency", "nss", "↑"),
    "KLD": ("saliency", "kld", "↓"),
    "mean AUROC": ("diagnosis", "macro_auroc", "↑"),
    "evidence in boxes": ("localisation", "lift", "↑"),
    "mAP": ("detection", "map", "↑"),
    "AP50": ("detection", "ap50", "↑"),
}
# Of the table of differences.
COMPARED = ("cc", "nss", "kld", MACRO, "activation_inside", "mAP", "AP50")


def sweep(
    study: StudyConfig, configs: dict[str, RunConfig], folder: Path, *, say: Callable[[str], None]
) -> str:
    """Run what is not finished yet, and write ``study.json`` and ``table.md``.

    Args:
        study: the cells' names and seeds.
        configs: the run config of each cell.
        folder: of the study; each run stands in ``<cell>/seed-<n>``.
        say: takes lines for the user.

    Returns:
        the table as Markdown.
    """
    results: dict[str, dict[str, Any]] = {name: {} for name in configs}
    # Seeds outside, so that a sweep that is stopped early has something of every cell.
    for seed in study.seeds:
        for name, config in configs.items():
            out = folder / name / f"seed-{seed}"
            seeded = config.model_copy(update={"seed": seed})
            say(f"{study.name}: {name}, seed {seed}")
            run(seeded, out, say=lambda _: None)
            results[name][str(seed)] = _evaluated(seeded, out)
    table = study_table(study, results) + "\n" + difference_table(study, folder)
    write_json(folder / "study.json", {"study": study.model_dump(mode="json"), "results": results})
    write_text(folder / "table.md", table)
    return table


def difference_table(study: StudyConfig, folder: Path) -> str:
    """Each cell minus the first, paired by image, as Markdown; seeds are averaged image by image.

    Args:
        study: the cells in order.
        folder: of the study, its runs evaluated.

    Returns:
        One table a group, or why there is none.
    """
    cells = [
        Contender(name, tuple(read_scored(folder / name / f"seed-{n}") for n in study.seeds))
        for name in study.cells
    ]
    if len(cells) < 2:
        return ""
    try:
        found = compare_contenders(cells, cells[0])
    except ConfigError as error:
        return f"No paired differences: {error}\n"
    lines = [f"Differences from {cells[0].name}, paired by image, p after Holm's correction"]
    for group, part in found["groups"].items():
        shown = [one for one in part["comparisons"] if one["metric"] in COMPARED]
        lines += ["", f"{group}, {part['n_images']} images", "", *as_table(difference_rows(shown))]
    return "\n".join(lines) + "\n"


def study_table(study: StudyConfig, results: dict[str, dict[str, Any]]) -> str:
    """Mean and standard deviation over seeds, a row a cell.

    Args:
        study: the cells in order.
        results: ``metrics.json`` by cell and seed.
    """
    runs = {name: list(results.get(name, {}).values()) for name in study.cells}
    scores = {name: _scores(cell, "model") for name, cell in runs.items()}
    first = next((cell[:1] for cell in runs.values() if cell), [])
    floor = _scores(first, "centre_bias")
    # A study of detectors has no gaze, and most have no detector.
    shown = [place for place in range(len(COLUMNS)) if any(row[place] for row in scores.values())]
    heads = [f"{name} {arrow}" for name, (_, _, arrow) in COLUMNS.items()]
    lines = [["cell", *(heads[place] for place in shown), "seeds", ""]]
    for name, cell in study.cells.items():
        values = [scores[name][place] for place in shown]
        lines.append([name, *values, str(len(runs[name])), cell.about])
    if any(floor):
        values = [floor[place] for place in shown]
        lines.append(["centre bias", *values, "", "where people look on the training films"])
    table = as_table(lines)
    if any(one.get("localisation") for runs in results.values() for one in runs.values()):
        table += ["", "Evidence in boxes: times the share of the film that the boxes cover."]
    return "\n".join(table) + "\n"


def _evaluated(config: RunConfig, out: Path) -> dict[str, Any]:
    """``metrics.json`` of these weights and settings; written afresh if it is of others."""
    path = out / "evaluate" / "metrics.json"
    record = read_stage(stage_folder(out, config, result_stage(config, out))) or {}
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    wanted = record.get("weights_sha256"), config.evaluate.model_dump(mode="json")
    if (found.get("weights_sha256"), found.get("settings")) != wanted:
        evaluate(out)
        write_report(out)
        found = read_json(path)
    return found


def _scores(runs: list[dict[str, Any]], row: str) -> list[str]:
    """A cell of the table for each column."""
    return [
        _spread([_value(one, part, metric, row) for one in runs])
        for part, metric, _ in COLUMNS.values()
    ]


def _value(metrics: dict[str, Any], part: str, metric: str, row: str) -> float:
    """The mean over groups of one score; NaN where it is not defined."""
    values = []
    for group in metrics.get(part, {}).values():
        if part == "saliency":
            values.append(group["rows"].get(row, {}).get(metric, {}).get("value"))
        elif part == "localisation":
            located = "class_activation" if row == "model" else row
            overall = group["rows"].get(located, {}).get("overall", {})
            values.append(overall.get(metric, {}).get("value"))
        elif row == "model":
            values.append(group[metric]["value"])
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _spread(values: list[float]) -> str:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return ""
    if len(known) == 1:
        return f"{known[0]:.3f}"
    return f"{np.mean(known):.3f} ± {np.std(known, ddof=1):.3f}"

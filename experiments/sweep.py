"""Runs a study: every cell with every seed, evaluated, and one page over all of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from eye_gaze_data.files import read_json, write_json, write_text

from .compare_text import as_table, difference_rows
from .config import RunConfig
from .evaluate import evaluate
from .record import read_stage, stage_folder
from .report import write_report, write_study_page
from .rounds import result_stage
from .runner import run
from .study import StudyConfig
from .study_results import read_results, result_differences, result_rows

STUDY = "study.json"


def sweep(
    study: StudyConfig, configs: dict[str, RunConfig], folder: Path, *, say: Callable[[str], None]
) -> str:
    """Run what is not finished yet, and write the study's tables, plots and page.

    Args:
        study: the cells' names and seeds.
        configs: the run config of each cell.
        folder: of the study; each run stands in ``<cell>/seed-<n>``.
        say: takes lines for the user.

    Returns:
        the table as Markdown.
    """
    if not (folder / STUDY).is_file() or read_study(folder) != study:
        # So that gazedx report can show what there is before all runs are finished.
        write_json(folder / STUDY, {"study": study.model_dump(mode="json")})
    # Seeds outside, so that a sweep that is stopped early has something of every cell.
    for seed in study.seeds:
        for name, config in configs.items():
            out = folder / name / f"seed-{seed}"
            seeded = config.model_copy(update={"seed": seed})
            say(f"{study.name}: {name}, seed {seed}")
            run(seeded, out, say=lambda _: None)
            _ensure_evaluated(seeded, out)
    return write_study(study, folder)


def write_study(study: StudyConfig, folder: Path) -> str:
    """Write ``study.json``, ``table.md``, the plots and ``study.html`` of the runs there are.

    Args:
        study: the cells' names and seeds.
        folder: of the study; runs that were not evaluated are left out of the tables.

    Returns:
        the table as Markdown.
    """
    results = read_results(study, folder)
    rows, differences = result_rows(study, results), result_differences(study, folder, results)
    facts = {"study": study.model_dump(mode="json"), "results": results, "differences": differences}
    write_json(folder / STUDY, facts)
    table = study_table(rows, results) + "\n" + difference_table(differences)
    write_text(folder / "table.md", table)
    write_study_page(study, folder, rows, differences)
    return table


def read_study(folder: Path) -> StudyConfig:
    """The study that a folder was begun with."""
    return StudyConfig.model_validate(read_json(folder / STUDY)["study"])


def study_table(rows: list[list[str]], results: dict[str, dict[str, Any]]) -> str:
    """The cells as Markdown.

    Args:
        rows: of ``result_rows``.
        results: ``metrics.json`` by cell and seed.
    """
    table = as_table(rows)
    if any(one.get("localisation") for runs in results.values() for one in runs.values()):
        table += ["", "Evidence in boxes: times the share of the film that the boxes cover."]
    return "\n".join(table) + "\n"


def difference_table(differences: dict[str, Any]) -> str:
    """The differences of ``result_differences`` as Markdown, one table a group."""
    lines: list[str] = []
    if differences["groups"]:
        reference = differences["reference"]
        lines += [f"Differences from {reference}, paired by image, p after Holm's correction"]
    for group, part in differences["groups"].items():
        lines += ["", f"{group}, {part['n_images']} images", ""]
        lines += as_table(difference_rows(part["comparisons"]))
    for cell, why in differences["left_out"].items():
        lines += ["", f"Not compared: {cell}, {why}."]
    return "\n".join(lines) + "\n" if lines else ""


def _ensure_evaluated(config: RunConfig, out: Path) -> None:
    """Evaluate unless ``metrics.json`` is of these weights and settings."""
    path = out / "evaluate" / "metrics.json"
    record = read_stage(stage_folder(out, config, result_stage(config, out))) or {}
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    wanted = record.get("weights_sha256"), config.evaluate.model_dump(mode="json")
    if (found.get("weights_sha256"), found.get("settings")) != wanted:
        evaluate(out)
        write_report(out)

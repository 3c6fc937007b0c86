"""What the finished runs of a study say: a row a cell, and paired differences from the first."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from eye_gaze_data.errors import ConfigError
from eye_gaze_data.files import read_json
from saliency.metrics.comparison import Comparison, holm

from .compare import Contender, ScoredRun, compare_two, read_scored, shared_metrics
from .compare_diagnosis import MACRO, findings_of
from .metric_names import LOCALISATION
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
# What makes gaze scores comparable, beside the images.
TRUTH_OF_GAZE = ("data", "grid", "gaze", "gaze_readers")

Results = Mapping[str, Mapping[str, Any]]


def read_results(study: StudyConfig, folder: Path) -> dict[str, dict[str, Any]]:
    """``metrics.json`` by cell and seed, of the runs that were evaluated.

    Args:
        study: the cells and seeds.
        folder: of the study.
    """
    found: dict[str, dict[str, Any]] = {name: {} for name in study.cells}
    for name in study.cells:
        for seed in study.seeds:
            path = folder / name / f"seed-{seed}" / "evaluate" / "metrics.json"
            if path.is_file():
                found[name][str(seed)] = read_json(path)
    return found


def result_rows(study: StudyConfig, results: Results) -> list[list[str]]:
    """Head and rows of the table: mean and standard deviation over seeds, a row a cell.

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
    rows = [["cell", *(heads[place] for place in shown), "seeds", ""]]
    for name, cell in study.cells.items():
        values = [scores[name][place] for place in shown]
        rows.append([name, *values, str(len(runs[name])), cell.about])
    if any(floor):
        values = [floor[place] for place in shown]
        rows.append(["centre bias", *values, "", "where people look on the training films"])
    return rows


def result_differences(
    study: StudyConfig, folder: Path, results: Results, *, resamples: int = 10_000
) -> dict[str, Any]:
    """Each cell minus the first, paired by image, seeds averaged image by image.

    A cell is compared by what it shares with the first: another truth of gaze leaves the diagnosis.

    Args:
        study: the cells in order.
        folder: of the study.
        results: the runs that were evaluated.
        resamples: bootstrap draws and random sign patterns.

    Returns:
        ``reference``; ``groups`` with ``n_images`` and ``comparisons`` as ``gazedx compare`` has
        them, p-values corrected over all of them; ``left_out``: why a cell, or a part of it, is not
        compared.
    """
    cells = [
        Contender(name, tuple(read_scored(folder / name / f"seed-{n}") for n in results[name]))
        for name in study.cells
        if results.get(name)
    ]
    reference = next(iter(study.cells))
    found: dict[str, Any] = {"reference": reference, "groups": {}, "left_out": {}}
    if not cells or cells[0].name != reference:
        return found
    pairs: list[tuple[str, Comparison]] = []
    for cell in cells[1:]:
        try:
            metrics, findings, why = _shared(cells[0], cell)
        except ConfigError as error:
            found["left_out"][cell.name] = str(error)
            continue
        if why:
            found["left_out"][cell.name] = why
        for group in cells[0].runs[0].images["group"].unique().tolist():
            # As many swaps as resamples: Holm's correction over many cells needs small p-values.
            compared = compare_two(
                cell, cells[0], group, metrics, findings, resamples, 0, each=False, swaps=resamples
            )
            pairs += [(group, one) for one in compared]
    corrected = holm([one.p_value for _, one in pairs])
    for (group, one), p in zip(pairs, corrected, strict=True):
        n_images = int((cells[0].runs[0].images["group"] == group).sum())
        part = found["groups"].setdefault(group, {"n_images": n_images, "comparisons": []})
        part["comparisons"].append(asdict(replace(one, p_holm=float(p))))
    return found


def _shared(first: Contender, other: Contender) -> tuple[list[str], list[str], str]:
    """Metrics and findings that two cells can be compared by, and what is left out and why.

    Raises:
        ConfigError: if they were scored on other films or other labels.
    """
    runs = [*first.runs, *other.runs]
    for run in runs[1:]:
        _refuse_other_films(runs[0], run)
    metrics = [metric for metric in shared_metrics(runs)[0] if metric in COMPARED]
    identities = [[run.identity.get(key) for key in TRUTH_OF_GAZE] for run in runs]
    why = ""
    if any(one != identities[0] for one in identities[1:]):
        # How evidence lies in boxes does not depend on the gaze that was recorded.
        metrics = [metric for metric in metrics if metric in LOCALISATION]
        why = "gaze scores are against another truth"
    return metrics, findings_of([run.images for run in runs]), why


def _refuse_other_films(first: ScoredRun, run: ScoredRun) -> None:
    columns = ["image_id", "patient_id", "group"]
    labels = [str(name) for name in first.images if str(name).startswith("label_")]
    columns += [name for name in labels if name in run.images]
    ours, theirs = (one.images[columns] for one in (first, run))
    if first.identity.get("split") != run.identity.get("split") or not ours.equals(theirs):
        raise ConfigError("scored on other films or other labels")


def _scores(runs: Sequence[Mapping[str, Any]], row: str) -> list[str]:
    """A cell of the table for each column."""
    return [
        _spread([_value(one, part, metric, row) for one in runs])
        for part, metric, _ in COLUMNS.values()
    ]


def _value(metrics: Mapping[str, Any], part: str, metric: str, row: str) -> float:
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


def _spread(values: Sequence[float]) -> str:
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return ""
    if len(known) == 1:
        return f"{known[0]:.3f}"
    return f"{np.mean(known):.3f} ± {np.std(known, ddof=1):.3f}"

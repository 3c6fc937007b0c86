"""How far a run is, and its numbers in a few lines."""

from pathlib import Path
from typing import Any

from .config import RunConfig
from .record import read_stage, stage_folder


def run_status(run: Path, config: RunConfig) -> list[dict[str, Any]]:
    """One row a stage: status, epochs, best epoch (counted from 1), monitored value."""
    rows = []
    for stage in config.stages:
        record = read_stage(stage_folder(run, config, stage.name)) or {"status": "not begun"}
        monitor = record.get("monitor")
        value = f"{monitor['metric']} {_shown(monitor['value'])}" if monitor else ""
        if "stands_in" in record:
            value = f"{record['stands_in']} stands in"
        rows.append(
            {
                "stage": stage.name,
                "kind": stage.kind,
                "task": stage.task,
                "status": record["status"],
                "epochs": f"{record.get('epochs', '-')}/{stage.epochs}",
                "best": record["best_epoch"] + 1 if "best_epoch" in record else "-",
                "monitor": value,
                "error": record.get("error") or record.get("reason"),
            }
        )
    return rows


def metric_lines(metrics: dict[str, Any]) -> list[str]:
    """The headline numbers of ``metrics.json``."""
    lines = []
    for group, part in metrics["saliency"].items():
        names = list(next(iter(part["rows"].values())))
        readers = ", one reader" if part["n_readers"] == 1 else ""
        title = f"gaze, {group} ({part['n_images']} images, {metrics['split']}{readers})"
        lines.append(title.ljust(44) + "".join(name.upper().rjust(9) for name in names))
        for row, entry in part["rows"].items():
            values = "".join(_shown(entry.get(name, {}).get("value")).rjust(9) for name in names)
            lines.append(f"  {row.replace('_', ' ')}".ljust(44) + values)
    for group, part in metrics["diagnosis"].items():
        macro = part["macro_auroc"]
        lines.append(
            f"diagnosis, {group} ({part['n_images']} images): mean AUROC {_shown(macro['value'])} "
            f"[{_shown(macro['low'])}, {_shown(macro['high'])}] over {macro['n_findings']} findings"
        )
        ideal = part.get("ideal_observer", {"findings": {}})
        if ideal["findings"]:
            mean = ideal["macro_auroc"]
            lines.append(
                f"  ideal observer: {_shown(mean['value'])} "
                f"[{_shown(mean['low'])}, {_shown(mean['high'])}]; it knows how the films were made"
            )
        for name, entry in part["findings"].items():
            auroc = entry["auroc"]
            lines.append(
                f"  {name}".ljust(28)
                + f"{_shown(auroc['value'])} [{_shown(auroc['low'])}, {_shown(auroc['high'])}]"
                + f"   AP {_shown(entry['average_precision'])}"
                + f"   {entry['n_positive']} of {entry['n_positive'] + entry['n_negative']}"
                + (
                    f"   ideal {_shown(ideal['findings'][name]['value'])}"
                    if name in ideal["findings"]
                    else ""
                )
            )
    for group, part in metrics.get("detection", {}).items():
        lines.append(
            f"detection, {group} ({part['n_images']} images with a complete list): "
            f"mAP {_bounds(part['map'])}, AP50 {_bounds(part['ap50'])}"
        )
        lines += [
            f"  {name}".ljust(28)
            + f"mAP {_bounds(entry['map'])}   AP50 {_bounds(entry['ap50'])}"
            + f"   {entry['n_boxes']} boxes"
            for name, entry in part["classes"].items()
        ]
    return lines


def _bounds(entry: dict[str, float]) -> str:
    return f"{_shown(entry['value'])} [{_shown(entry['low'])}, {_shown(entry['high'])}]"


def _beside(ideal: dict[str, float] | None) -> str:
    return "" if ideal is None else f"   ideal {_shown(ideal['value'])}"


def _shown(value: float | None) -> str:
    return "n/a" if value is None or value != value else f"{value:.3f}"

"""Hyperparameters with the final metrics, written once, at the end, for TensorBoard's table."""

import shutil
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from .config import RunConfig

Value = bool | str | float | int


def write_hyperparameters(run: Path, config: RunConfig, metrics: dict[str, Any]) -> None:
    """Write ``evaluate/tensorboard``; an older one is replaced.

    Args:
        run: the run folder.
        config: of the run.
        metrics: content of ``metrics.json``.
    """
    folder = run / "evaluate" / "tensorboard"
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        writer.add_hparams(hyperparameters(config), final_metrics(metrics), run_name=".")


def hyperparameters(config: RunConfig) -> dict[str, Value]:
    """The choices that runs usually differ in, one flat name each."""
    found: dict[str, Value] = {"seed": config.seed}
    for name, model in config.models.items():
        for key, value in model.model_dump(mode="json").items():
            found[f"{name}/{key}"] = value if isinstance(value, Value) else str(value)
    for stage in config.stages:
        found |= {
            f"{stage.name}/lr": stage.optimiser.lr,
            f"{stage.name}/optimiser": stage.optimiser.name,
            f"{stage.name}/schedule": stage.schedule.name,
            f"{stage.name}/epochs": stage.epochs,
            f"{stage.name}/batch_size": stage.batch_size,
            f"{stage.name}/losses": ", ".join(stage.losses),
        }
    return found


def final_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """``<split>/<group>/<metric>`` of the model; undefined ones are left out."""
    found = {}
    for group, part in metrics["saliency"].items():
        for name, entry in part["rows"].get("model", {}).items():
            found[f"{metrics['split']}/{group}/{name}"] = entry["value"]
    for group, part in metrics["diagnosis"].items():
        found[f"{metrics['split']}/{group}/auroc"] = part["macro_auroc"]["value"]
    for group, part in metrics.get("detection", {}).items():
        for name in ("map", "ap50"):
            found[f"{metrics['split']}/{group}/{name}"] = part[name]["value"]
    return {name: value for name, value in found.items() if value is not None and value == value}

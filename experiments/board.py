"""What TensorBoard shows of a run: tags by task, one axis of epochs over all stages, a layout.

Each stage is a run of its own in TensorBoard, so that it has its colour and can be hidden; the tags
are the same in all stages and epochs are counted on, so that curves join over the stages.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from .check import FINDING_LOSSES
from .check_cooperation import GAZE_LOSSES
from .config import RunConfig
from .metric_names import METRICS
from .record import read_stage, stage_folder

FLOOR = "_centre_bias"
TASKS = {
    **dict.fromkeys((*METRICS, *GAZE_LOSSES), "gaze"),
    **dict.fromkeys(("auroc", "average_precision", "cross_entropy", *FINDING_LOSSES), "diagnosis"),
    **dict.fromkeys(("attention_consistency", "image_attention", "pooled_classes"), "attention"),
    **dict.fromkeys(("loss", "lr"), "optimisation"),
}
# Learned uncertainties and weights that change from epoch to epoch, each with its loss's name.
WEIGHTS = ("sigma_", "weight_")
# What belongs to a task by the stage it is logged in.
STAGE_TASKS = {"contrast": "contrast", "segment": "anatomy", "detect": "detection"}
LAYOUT = {
    "All stages": {
        "Both tasks: AUROC of the diagnosis, CC of the gaze": [
            "Multiline",
            ["^diagnosis/valid/auroc$", "^gaze/valid/cc$"],
        ],
        "Gaze: CC and the centre bias": [
            "Multiline",
            ["^gaze/valid/cc$", f"^gaze/valid/cc{FLOOR}$"],
        ],
        "Loss of training and validation": [
            "Multiline",
            ["^optimisation/train/loss$", "^optimisation/valid/loss$"],
        ],
    }
}


def tag_of(name: str, task: str) -> str:
    """``<group>/<split>/<metric>``: TensorBoard shows what has the same first part together.

    Args:
        name: ``<split>/<metric>`` as in ``metrics.csv``.
        task: of the stage.
    """
    metric = name.partition("/")[2].removesuffix(FLOOR)
    if metric.startswith(WEIGHTS):
        return f"optimisation/{name}"
    return f"{TASKS.get(metric, STAGE_TASKS.get(task, 'other'))}/{name}"


def epochs_before(run: Path, config: RunConfig, name: str) -> int:
    """Epochs of the stages before one: where its own begin on the common axis."""
    names = [stage.name for stage in config.stages]
    return sum(_epochs(run, config, stage) for stage in names[: names.index(name)])


def write_precision_recall(
    run: Path, config: RunConfig, stage: str, table: pd.DataFrame, classes: list[str]
) -> None:
    """A curve of precision over recall for each group and finding with both labels.

    They go into ``evaluate/tensorboard``, at the epoch where the stage ended.

    Args:
        run: the run folder.
        config: of the run.
        stage: that was evaluated.
        table: ``per_image.csv``.
        classes: the findings.
    """
    from torch.utils.tensorboard import SummaryWriter

    step = epochs_before(run, config, stage) + _epochs(run, config, stage)
    with SummaryWriter(str(run / "evaluate" / "tensorboard"), filename_suffix=".pr") as writer:
        for group, part in table.groupby("group", sort=False):
            for name in classes:
                labels, scores = (
                    part[f"{kind}_{name}"].to_numpy(np.float64) for kind in ("label", "probability")
                )
                known = ~np.isnan(labels) & ~np.isnan(scores)
                if len(np.unique(labels[known])) == 2:
                    tag = f"diagnosis/{group}/{name}"
                    writer.add_pr_curve(tag, labels[known], scores[known], step)


def _epochs(run: Path, config: RunConfig, stage: str) -> int:
    record = read_stage(stage_folder(run, config, stage))
    return int((record or {}).get("epochs", 0))

"""Tasks of a stage that are done one by one: each has its own best epoch and its own end."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from eye_gaze_data.errors import ConfigError, StageError
from saliency.frozen import still_state
from saliency.module import TaskModule

from .cooperation import MonitorConfig, TaskConfig
from .ranks import barrier, is_first_rank
from .weights import read_weights, save_weights


@dataclass
class Progress:
    """How far a task is.

    Attributes:
        best: its best monitored value, NaN before the first.
        best_epoch: when that was, -1 before.
        since: epochs since then.
        matured: the epoch after which it was mature; None while it goes on.
    """

    best: float = math.nan
    best_epoch: int = -1
    since: int = 0
    matured: int | None = None


class TaskStops:
    """Keeps each task's best own weights; brings them back and lets them rest once it is mature.

    Its own weights are the parameters of its globs and the statistics of the norms that hold no
    other parameter. What is shared goes on with the tasks that are left.

    Args:
        folder: for ``task-<name>.safetensors``.
        tasks: of the stage.
    """

    def __init__(self, folder: Path, tasks: Mapping[str, TaskConfig]) -> None:
        self.folder, self.tasks = folder, dict(tasks)
        self.progress = {name: Progress() for name in self.tasks}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed stage must know."""
        return {name: asdict(progress) for name, progress in self.progress.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.progress = {name: Progress(**facts) for name, facts in state.items()}

    @property
    def matured(self) -> set[str]:
        """The tasks that are done."""
        return {name for name, p in self.progress.items() if p.matured is not None}

    @property
    def done(self) -> bool:
        """Whether there are tasks, and all are done."""
        return bool(self.tasks) and len(self.matured) == len(self.tasks)

    def update(self, trainer: pl.Trainer, module: TaskModule) -> bool:
        """Compare the epoch's values, keep what is best, and let mature what had no gain for long.

        Returns:
            whether a task has matured with this epoch.
        """
        before = self.matured
        for name in self.tasks.keys() - before:
            self._compare(name, trainer, module)
        new = sorted(self.matured - before)
        if new:
            barrier()
        for name in new:
            own = self._own(name, module)
            for key, value in read_weights(self._file(name)).items():
                own[key].copy_(value)
        module.matured = self.matured
        return bool(new)

    def _compare(self, name: str, trainer: pl.Trainer, module: TaskModule) -> None:
        task, progress = self.tasks[name], self.progress[name]
        value = monitored(trainer, task.monitor, f"tasks.{name}.monitor")
        if is_better(task.monitor, value, progress.best):
            progress.best, progress.best_epoch, progress.since = value, trainer.current_epoch, 0
            if is_first_rank():
                save_weights(self._file(name), self._own(name, module))
        else:
            progress.since += 1
        # Without any value there is nothing to bring back.
        late = task.stop_after is not None and progress.since >= task.stop_after
        if late and progress.best_epoch >= 0:
            progress.matured = trainer.current_epoch

    def check(self, module: TaskModule, stage: str) -> None:
        """Prove that what matured stayed as it was brought back.

        Raises:
            StageError: naming the task of which a tensor changed.
        """
        for name in sorted(self.matured):
            own = self._own(name, module)
            kept = read_weights(self._file(name))
            changed = [key for key in kept if not torch.equal(own[key].cpu(), kept[key])]
            if changed:
                raise StageError(f"stage '{stage}': task '{name}' was mature, '{changed[0]}' moved")

    def facts(self) -> dict[str, dict[str, Any]]:
        """For ``stage.json``."""
        return {
            name: {
                **self.tasks[name].monitor.model_dump(),
                "value": progress.best,
                "best_epoch": progress.best_epoch,
                "matured": progress.matured,
            }
            for name, progress in self.progress.items()
        }

    def _own(self, name: str, module: TaskModule) -> dict[str, Tensor]:
        names = [key for key, p in module.network.named_parameters() if p.requires_grad]
        owned = module.settings.cooperation.owned(name, names)
        state = still_state(module.network, owned)
        return {key: value.detach() for key, value in state.items()}

    def _file(self, name: str) -> Path:
        return self.folder / f"task-{name}.safetensors"


def monitored(trainer: pl.Trainer, monitor: MonitorConfig, key: str) -> float:
    """The value of this epoch.

    Raises:
        ConfigError: if it was not logged.
    """
    metrics = trainer.callback_metrics
    if monitor.metric not in metrics:
        raise ConfigError(
            f"{key}.metric '{monitor.metric}' was not logged; known: {sorted(metrics)}"
        )
    return float(metrics[monitor.metric])


def is_better(monitor: MonitorConfig, value: float, best: float, threshold: float = 0.0) -> bool:
    """Whether a value is better than the best, by more than a relative threshold; NaN never is."""
    if math.isnan(value):
        return False
    if math.isnan(best):
        return True
    gain = best - value if monitor.mode == "min" else value - best
    return gain > threshold * abs(best)

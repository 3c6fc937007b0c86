"""What watches a stage: best weights, resumable checkpoint, plateau, early stop, the log."""

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch import Tensor

from eye_gaze_data.batch import Batch, check_batch
from eye_gaze_data.errors import StageError
from eye_gaze_data.files import write_text
from saliency.config import ScheduleConfig
from saliency.module import TaskModule

from .board import LAYOUT, tag_of
from .cooperation import MonitorConfig, TaskConfig
from .maturing import TaskStops, is_better, monitored
from .ranks import barrier, is_first_rank
from .weights import read_weights, save_weights

BEST, RELOAD, LAST = "best.safetensors", "reload.safetensors", "last.ckpt"
STATE = (
    "best", "best_epoch", "plateau_best", "since_best", "since_drop", "stopped", "restart",
    "best_optimiser",
)  # fmt: skip


class CheckFirstBatch(Callback):
    """``check_batch`` on the first batch of a stage.

    Args:
        classes: label columns.
        organs: anatomy planes.
    """

    def __init__(self, classes: int, organs: int) -> None:
        self.classes, self.organs = classes, organs

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Refuse a batch that breaks the contract."""
        del trainer, pl_module
        if batch_idx == 0:
            check_batch(batch, self.classes, self.organs)


class StageCheckpoint(Checkpoint):
    """Keeps the best weights and the state to resume from, and ends a stage that is done.

    It runs last at the end of each epoch. The best weights are written before the checkpoint: a
    kill between the two repeats an epoch that comes out the same, and nothing is lost.

    Args:
        folder: for ``best.safetensors`` and ``last.ckpt``.
        monitor: what best means.
        schedule: plateau, if any.
        stop_after: epochs without a better value until the stage ends.
        tasks: that stop one by one; after each, the best epoch is looked for afresh.
        frozen: hash of what the stage leaves as it is. The files here leave it out.
    """

    def __init__(
        self,
        folder: Path,
        monitor: MonitorConfig,
        schedule: ScheduleConfig,
        stop_after: int | None = None,
        tasks: Mapping[str, TaskConfig] | None = None,
        frozen: str = "",
    ) -> None:
        self.frozen = frozen
        self.tasks = TaskStops(folder, tasks or {})
        self.folder, self.monitor, self.schedule = folder, monitor, schedule
        self.stop_after = stop_after
        self.best, self.best_epoch, self.plateau_best = math.nan, -1, math.nan
        self.since_best = self.since_drop = 0
        self.stopped = self.restart = False
        self.best_optimiser: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """What a resumed stage must know."""
        state = {name: getattr(self, name) for name in STATE}
        return state | {"tasks": self.tasks.state_dict(), "frozen": self.frozen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            StageError: if what is frozen is not what it was.
        """
        if state_dict.get("frozen") != self.frozen:
            raise StageError(
                f"{self.folder / LAST}: what the stage keeps frozen has other values now than when "
                "this was written (other pretrained weights, or another version of torch, timm or "
                "gazedx?); begin the stage anew with --from and its name"
            )
        for name in STATE:
            setattr(self, name, state_dict[name])
        self.tasks.load_state_dict(state_dict["tasks"])

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A stage, or a task, that had stopped before it was interrupted stays stopped."""
        trainer.should_stop = self.stopped
        _task_module(pl_module).matured = self.tasks.matured

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare, keep, drop the rate, stop, save."""
        module = _task_module(pl_module)
        _refuse_diverged(trainer, module)
        value = monitored(trainer, self.monitor, "monitor")
        self.since_best, self.since_drop = self.since_best + 1, self.since_drop + 1
        # As in torch's plateau, a gain too small to count for the rate may still be the best.
        if is_better(self.monitor, value, self.plateau_best, self.schedule.threshold):
            self.plateau_best, self.since_drop = value, 0
        if self.restart:
            self.best, self.since_best, self.restart = math.nan, 0, False
        if is_better(self.monitor, value, self.best):
            self.best, self.best_epoch, self.since_best = value, trainer.current_epoch, 0
            self._keep_best(trainer, module)
        if self.schedule.name == "plateau" and self.since_drop > self.schedule.patience:
            self.since_drop = 0
            self._drop_rate(trainer, module)
        if self.stop_after is not None and self.since_best >= self.stop_after:
            self.stopped = True
        # With what matured brought back the network is another: its best epoch is yet to come.
        self.restart = self.tasks.update(trainer, module)
        self.stopped = self.stopped or self.tasks.done
        trainer.should_stop = trainer.should_stop or self.stopped
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)

    def _keep_best(self, trainer: pl.Trainer, module: TaskModule) -> None:
        if self.schedule.reload_best:
            # A copy: the optimiser changes its state in place.
            self.best_optimiser = _copied(trainer.optimizers[0].state_dict())
        if is_first_rank():
            frozen = module.frozen()
            moved = {n: v for n, v in module.exported().items() if n not in frozen}
            save_weights(self.folder / BEST, moved)
            if self.schedule.reload_best:
                save_weights(self.folder / RELOAD, module.moving_state())

    def _drop_rate(self, trainer: pl.Trainer, module: TaskModule) -> None:
        optimiser = trainer.optimizers[0]
        rates = [group["lr"] * self.schedule.factor for group in optimiser.param_groups]
        if self.schedule.reload_best and self.best_optimiser is not None:
            barrier()
            module.load_state_dict(module.state_dict() | read_weights(self.folder / RELOAD))
            optimiser.load_state_dict(_copied(self.best_optimiser))
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        self.stopped = self.stopped or max(rates) < self.schedule.stop_below


def _refuse_diverged(trainer: pl.Trainer, module: TaskModule) -> None:
    """The last step of an epoch has no later loss that would tell."""
    moved = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    wrong = [name for name, parameter in moved if not bool(parameter.isfinite().all())]
    if wrong:
        raise StageError(
            f"stage '{module.settings.stage}', epoch {trainer.current_epoch}: {len(wrong)} of "
            f"{len(moved)} trained tensors are not finite after its last step, first '{wrong[0]}'. "
            "The last checkpoint is untouched; lower the learning rate or clip the gradient "
            "(optimiser.clip), then run again"
        )


class StageLog(Callback):
    """One row an epoch in ``metrics.csv``, TensorBoard scalars, and a line where no bar is shown.

    Args:
        folder: of the stage.
        stage: its name.
        say: takes the line of an epoch; None for silence.
        constants: values that are the same in every epoch, such as a baseline's.
        task: of the stage, for the scalars' tags.
        before: epochs of the stages before it, where its scalars begin.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        say: Any = None,  # noqa: ANN401
        constants: Mapping[str, float] | None = None,
        *,
        task: str,
        before: int = 0,
    ) -> None:
        self.folder, self.stage, self.say = folder, stage, say
        self.task, self.before = task, before
        self.constants = dict(constants or {})
        self.rows: list[dict[str, float]] = []
        self.writer: Any = None

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, so that a resumed log has no gap and nothing twice."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.rows = state_dict["rows"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the event file; what an interrupted run wrote beyond its checkpoint is purged."""
        del trainer, pl_module
        if is_first_rank():
            from torch.utils.tensorboard import SummaryWriter

            purge = self.before + len(self.rows) if self.rows else None
            self.writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=purge)
            self.writer.add_custom_scalars(LAYOUT)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values = {name: value for name, value in values.items() if "/" in name}
        # Lightning keeps what was logged in an earlier epoch.
        for name in _task_module(pl_module).idle():
            values.pop(f"train/{name}", None)
        row = {
            "epoch": float(trainer.current_epoch),
            "lr": _base_rate(trainer.optimizers[0].param_groups[0]),
        }
        self.rows.append({**row, **dict(sorted((values | self.constants).items()))})
        if not is_first_rank():
            return
        write_text(self.folder / "metrics.csv", _as_csv(self.rows))
        for name, value in {**values, **self.constants, "train/lr": row["lr"]}.items():
            step = self.before + trainer.current_epoch
            self.writer.add_scalar(tag_of(name, self.task), value, step)
        if self.say is not None:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in sorted(values.items()))
            self.say(
                f"{self.stage}  epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {shown}"
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the event file."""
        del trainer, pl_module, stage
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def _task_module(module: pl.LightningModule) -> TaskModule:
    assert isinstance(module, TaskModule)  # noqa: S101 - for the type checker
    return module


def _base_rate(group: Mapping[str, float]) -> float:
    """The learning rate that relative ones refer to."""
    return group["lr"] / group.get("rate", 1.0)


def _as_csv(rows: list[dict[str, float]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shown = {name: "" if math.isnan(value) else f"{value:.8g}" for name, value in row.items()}
        writer.writerow(shown)
    return text.getvalue()


def _copied(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value

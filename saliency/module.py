"""What all tasks share under Lightning: optimiser, schedule, seeds, freezing, the NaN guard."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from eye_gaze_data.batch import Batch, to_device
from eye_gaze_data.errors import StageError

from .config import OptimiserConfig, ScheduleConfig
from .network import Network, Task


@dataclass(frozen=True)
class TaskSettings:
    """What a task module needs beside its network.

    Attributes:
        stage: name of the stage, for messages.
        task: what is trained.
        seed: of the run.
        losses: weight of each loss.
        optimiser: of the stage.
        schedule: of the stage.
        loss_options: further arguments of losses.
        organs: names of the anatomy planes.
        exclusive: whether exactly one class holds.
    """

    stage: str
    task: Task
    losses: Mapping[str, float]
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    organs: tuple[str, ...] = ()
    exclusive: bool = False


class TaskModule(pl.LightningModule):
    """Base of the tasks; a subclass says which values each loss takes from a batch.

    Args:
        network: what is trained; parameters without ``requires_grad`` are frozen, and the modules
            that hold only such stay in evaluation mode, statistics of norms included.
        settings: of the stage.
    """

    def __init__(self, network: Network, settings: TaskSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def loss_values(self, batch: Batch) -> dict[str, Tensor]:
        """For each loss the vector of its values over the known rows; empty without any."""
        raise NotImplementedError

    def validate(self, batch: Batch) -> None:
        """Update the validation metrics with a batch."""
        raise NotImplementedError

    def exported(self) -> dict[str, Tensor]:
        """The weights that the stage hands over."""
        return {name: value.detach().cpu() for name, value in self.network.state_dict().items()}

    def total(self, values: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss, and each term normalised by its known rows over all ranks."""
        terms = {name: self._normalised(value) for name, value in values.items()}
        weights = self.settings.losses
        loss = torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()
        return loss, terms

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; logs ``train/loss`` and each term."""
        loss, terms = self.total(self.loss_values(batch))
        if not bool(loss.isfinite()):
            raise StageError(self._not_finite(batch, terms, batch_idx))
        self._log("train", {"loss": loss, **terms}, len(batch["image_id"]))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """One batch of validation; logs ``valid/loss`` and each term, updates the metrics."""
        loss, terms = self.total(self.loss_values(batch))
        self._log("valid", {"loss": loss, **terms}, len(batch["image_id"]))
        self.validate(batch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout a function of seed, stage, step and rank, whatever happened before."""
        del batch, batch_idx
        place = (self.settings.seed, self.settings.stage, self.global_step, self.global_rank)
        torch.manual_seed(zlib.crc32(repr(place).encode()))

    def train(self, mode: bool = True) -> "TaskModule":
        """Training mode for what is trained; frozen parts stay in evaluation mode."""
        super().train(mode)
        if mode:
            hold_frozen(self.network)
        return self

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move the batch's tensors."""
        del dataloader_idx
        return to_device(batch, device)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """The optimiser over what is trained, and the schedule by step."""
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimiser = build_optimiser(self.settings.optimiser, parameters)
        if self.settings.schedule.name == "plateau":
            return optimiser
        steps = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler = LambdaLR(optimiser, rate_factor(self.settings.schedule, steps))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _normalised(self, values: Tensor) -> Tensor:
        count = torch.tensor(float(values.numel()), device=values.device)
        world = 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(count)
            world = torch.distributed.get_world_size()
        # DDP averages gradients over ranks: times world makes that the mean over all known rows.
        return values.sum() * world / count.clamp_min(1)

    def _log(self, split: str, values: Mapping[str, Tensor], size: int) -> None:
        self.log_dict(
            {f"{split}/{name}": value.detach() for name, value in values.items()},
            on_step=False,
            on_epoch=True,
            batch_size=size,
            sync_dist=True,
        )

    def _not_finite(self, batch: Batch, terms: Mapping[str, Tensor], step: int) -> str:
        parts = ", ".join(f"{name} {float(term):.4g}" for name, term in terms.items())
        rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        return (
            f"stage '{self.settings.stage}', epoch {self.current_epoch}, batch {step}: the loss is "
            f"not finite ({parts}; learning rate {rates[0]:.3g}) for images "
            f"{', '.join(batch['image_id'][:8])}. The last checkpoint is untouched; lower the "
            "learning rate or clip the gradient (optimiser.clip), then run again"
        )


def hold_frozen(module: nn.Module, training: bool = True) -> None:
    """Put every submodule without a trainable parameter into evaluation mode.

    A module without parameters, such as dropout, follows the module that holds it.
    """
    own = list(module.parameters())
    module.training = training and (not own or any(p.requires_grad for p in own))
    for child in module.children():
        hold_frozen(child, module.training)


def build_optimiser(
    config: OptimiserConfig, parameters: list[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimiser of a config."""
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


class rate_factor:  # noqa: N801 - called like a function, but picklable
    """The relative learning rate at a step: warm-up, then constant or cosine.

    Args:
        config: of the stage.
        steps: of the whole stage.
    """

    def __init__(self, config: ScheduleConfig, steps: int) -> None:
        self.config, self.steps = config, steps

    def __call__(self, step: int) -> float:
        """The factor before step number ``step`` (from 0)."""
        warm = self.config.warmup * self.steps
        if step < warm:
            return (step + 1) / (warm + 1)
        if self.config.name == "constant":
            return 1.0
        done = min(1.0, (step - warm) / max(1.0, self.steps - warm))
        return self.config.final + (1 - self.config.final) * 0.5 * (1 + math.cos(math.pi * done))

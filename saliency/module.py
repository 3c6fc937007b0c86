"""What all tasks share under Lightning: optimiser, schedule, seeds, freezing, the NaN guard."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from eye_gaze_data.batch import Batch
from eye_gaze_data.errors import StageError

from .config import LegacyConfig, OptimiserConfig, ScheduleConfig
from .cooperation import Cooperation, Weight, mean_weight, rate_groups, weight_in
from .epoch_means import EpochMeans
from .frozen import frozen_state, hold_frozen
from .network import Network, Task
from .optimisers import build_optimiser, rate_factor
from .terms import LossTerm
from .weighting import UncertaintyWeighting, Weighting


@dataclass(frozen=True)
class TaskSettings:
    """What a task module needs beside its network.

    Attributes:
        stage: name of the stage, for messages.
        task: what is trained.
        seed: of the run.
        losses: weight of each loss; a sequence is gone through epoch by epoch.
        weighting: how several losses are weighed beyond that; fixed if None.
        class_weights: of losses that score classes, (C,) each.
        options: further options of losses, by loss.
        legacy: quirks of the released code.
        optimiser: of the stage.
        schedule: of the stage.
        cooperation: who moves when.
        organs: names of the anatomy planes.
        exclusive: whether exactly one class holds.
        fused: whether the optimiser's step is one kernel.
    """

    stage: str
    task: Task
    losses: Mapping[str, Weight]
    weighting: Weighting | None = None
    class_weights: Mapping[str, Tensor] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    legacy: LegacyConfig = field(default_factory=LegacyConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    cooperation: Cooperation = field(default_factory=Cooperation)
    seed: int = 0
    organs: tuple[str, ...] = ()
    exclusive: bool = False
    fused: bool = False


class TaskModule(pl.LightningModule):
    """Base of the tasks; a subclass says which values each loss takes from a batch.

    Args:
        network: what is trained; parameters without ``requires_grad`` are frozen, and the modules
            that hold only such stay in evaluation mode, statistics of norms included.
        settings: of the stage.

    Attributes:
        class_losses: names of the losses that score classes, for learned weights.
        matured: the tasks of the stage that are done.
    """

    class_losses: frozenset[str] = frozenset()

    def __init__(self, network: Network, settings: TaskSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self._means = EpochMeans()
        self.matured: set[str] = set()
        self._resting: frozenset[str] = frozenset()
        self.uncertainty: UncertaintyWeighting | None = None
        if settings.weighting is not None:
            names = settings.losses
            self.uncertainty = UncertaintyWeighting(
                names, self.class_losses & set(names), settings.weighting
            )

    def loss_terms(self, batch: Batch) -> dict[str, LossTerm]:
        """Each loss over what is known in the batch; the same names on every rank."""
        raise NotImplementedError

    def validate(self, batch: Batch) -> None:
        """Update the validation metrics with a batch."""
        raise NotImplementedError

    def exported(self) -> dict[str, Tensor]:
        """The weights that the stage hands over."""
        return {name: value.detach().cpu() for name, value in self.network.state_dict().items()}

    def frozen(self) -> dict[str, Tensor]:
        """What the stage leaves as it found it, by its name in the network."""
        return frozen_state(self.network, statistics=not self.settings.legacy.drifting_statistics)

    def moving_state(self) -> dict[str, Tensor]:
        """The module's state without what is frozen."""
        frozen = {f"network.{name}" for name in self.frozen()}
        return {name: value for name, value in self.state_dict().items() if name not in frozen}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is frozen: the stage begins with it when it is resumed, too."""
        moving = self.moving_state()
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {n: value for n, value in state.items() if n in moving}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put back what was left out."""
        moving, own = self.moving_state(), self.state_dict()
        checkpoint["state_dict"] |= {n: value for n, value in own.items() if n not in moving}

    def weight(self, loss: str) -> float:
        """The weight of a loss in this epoch; none once its task is mature."""
        if self.settings.cooperation.is_mature(loss, self.matured):
            return 0.0
        return weight_in(self.settings.losses[loss], self.current_epoch)

    def wanted_losses(self) -> list[str]:
        """The losses that are worth their work: those with a weight, in validation all."""
        idle = self.idle() if self.training else []
        return [name for name in self.settings.losses if name not in idle]

    def idle(self) -> list[str]:
        """The losses without a weight in this epoch."""
        return [name for name in self.settings.losses if not self.weight(name)]

    def total(self, terms: Mapping[str, LossTerm]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss, and each term normalised by its known rows over all ranks.

        A loss that the stage does not name is logged and has no weight.
        """
        parts = {name: _normalised(term) for name, term in terms.items()}
        weighted = [
            self._weighed(name, mean, known)
            for name, (mean, known) in parts.items()
            if name in self.settings.losses and name not in self.idle()
        ]
        means = {name: mean for name, (mean, _) in parts.items()}
        if not weighted:
            raise StageError(
                f"stage '{self.settings.stage}': none of its losses "
                f"{sorted(self.settings.losses)} was computed; the network gave {sorted(means)}"
            )
        return torch.stack(weighted).sum(), means

    def _weighed(self, name: str, mean: Tensor, known: Tensor) -> Tensor:
        loss = self.weight(name) * mean
        # What no row of the batch knows must not move its uncertainty either.
        return loss if self.uncertainty is None else self.uncertainty(name, loss) * (known > 0)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; logs ``train/loss``, and each term over the rows that know it."""
        terms = self.loss_terms(batch)
        loss, means = self.total(terms)
        if not bool(loss.isfinite()):
            raise StageError(self._not_finite(batch, means, batch_idx))
        self._log("train", {"loss": loss}, len(batch["image_id"]))
        for name, term in terms.items():
            self._log("train", {name: _mean(*term.sums())}, len(term.values))
        if self.uncertainty is not None:
            sigmas = {f"sigma_{n}": p.exp() for n, p in self.uncertainty.log_sigma.items()}
            self._log("train", sigmas, len(batch["image_id"]))
        if self._has_turns():
            weights = {f"weight_{n}": torch.tensor(self.weight(n)) for n in self.settings.losses}
            self._log("train", weights, len(batch["image_id"]))
        return loss

    def _has_turns(self) -> bool:
        losses = self.settings.losses.values()
        return bool(self.settings.cooperation.tasks) or any(isinstance(w, tuple) for w in losses)

    def on_train_epoch_start(self) -> None:
        """Let rest what has matured and what is not to move yet."""
        names = [name for name, _ in self.network.named_parameters()]
        cooperation = self.settings.cooperation
        self._resting = cooperation.resting(names, self.current_epoch, self.matured)
        self.train()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Without a gradient no optimiser touches a parameter, by weight decay neither."""
        del optimizer
        for name in self._resting:
            self.network.get_parameter(name).grad = None

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's values."""
        self._means = EpochMeans()

    def validation_step(self, batch: Batch, _: int) -> None:
        """One batch of validation: counts the values of each loss, updates the metrics."""
        for name, term in self.loss_terms(batch).items():
            # Neither turns nor maturity change by what epochs compare.
            self._means.add(name, term, mean_weight(self.settings.losses.get(name, 0.0)))
        self.validate(batch)

    def tally(self, name: str, values: Tensor, weight: float = 0.0) -> None:
        """Count values in the epoch's mean ``valid/<name>``, whichever batch they stand in.

        Args:
            name: of the mean.
            values: any number of them, none too.
            weight: in ``valid/loss``.
        """
        self._means.add(name, LossTerm(values.detach().double()), weight)

    def on_validation_epoch_end(self) -> None:
        """Log ``valid/loss`` and each mean over the known rows of all batches and ranks."""
        means = self._means.compute()
        self._log("valid", {name: torch.tensor(mean) for name, mean in means.items()}, 1)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make dropout a function of seed, stage, step, batch and rank, whatever came before."""
        del batch
        # The step alone is the same for all batches that one step accumulates.
        step = (self.global_step, batch_idx)
        place = (self.settings.seed, self.settings.stage, *step, self.global_rank)
        torch.manual_seed(zlib.crc32(repr(place).encode()))

    def train(self, mode: bool = True) -> "TaskModule":
        """Training mode for what moves; what is frozen or rests stays in evaluation mode."""
        super().train(mode)
        if mode and not self.settings.legacy.drifting_statistics:
            names = {p: name for name, p in self.network.named_parameters()}
            hold_frozen(self.network, lambda p: p.requires_grad and names[p] not in self._resting)
        return self

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """The optimiser over what is trained, and the schedule by step."""
        named = self.named_parameters()
        parameters = [(name.removeprefix("network."), p) for name, p in named if p.requires_grad]
        config = self.settings.optimiser
        optimiser = build_optimiser(
            config,
            rate_groups(parameters, self.settings.cooperation, config.lr),
            fused=self.settings.fused,
        )
        if self.settings.schedule.name == "plateau":
            return optimiser
        scheduler = LambdaLR(optimiser, rate_factor(self.settings.schedule, self.planned_steps()))
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Cut the norm of the whole gradient.

        Lightning's own way, but for fused optimisers in bfloat16 too, which it refuses for the sake
        of scaled gradients: there are none.
        """
        del gradient_clip_algorithm
        if gradient_clip_val:
            groups = optimizer.param_groups
            moved = [parameter for group in groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(moved, gradient_clip_val)

    def planned_steps(self) -> int:
        """The optimiser's steps in the whole stage, 1 or more.

        Lightning's own estimate begins an epoch of the loader to know its length. On a resumed
        stage, whose epoch is not restored yet at that time, workers would read the wrong one.
        """
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return max(1, int(self.trainer.estimated_stepping_batches))
        batches = len(data.train_dataloader())
        steps = math.ceil(batches / self.trainer.accumulate_grad_batches)
        return max(1, steps * (self.trainer.max_epochs or 1))

    def _log(self, split: str, values: Mapping[str, Tensor], size: int) -> None:
        self.log_dict(
            {f"{split}/{name}": value.detach() for name, value in values.items()},
            on_step=False,
            on_epoch=True,
            batch_size=size,
            sync_dist=True,
        )

    def _not_finite(self, batch: Batch, terms: Mapping[str, Tensor], step: int) -> str:
        parts = ", ".join(f"{name} {term.item():.4g}" for name, term in terms.items())
        rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        return (
            f"stage '{self.settings.stage}', epoch {self.current_epoch}, batch {step}: the loss is "
            f"not finite ({parts}; learning rate {rates[0]:.3g}) for images "
            f"{', '.join(batch['image_id'][:8])}. The last checkpoint is untouched; lower the "
            "learning rate or clip the gradient (optimiser.clip), then run again"
        )


def _normalised(term: LossTerm) -> tuple[Tensor, Tensor]:
    """The mean over all ranks' known rows, scaled for DDP, and how much is known."""
    total, count = term.sums()
    world = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(count)
        world = torch.distributed.get_world_size()
    # DDP averages gradients over ranks: times world makes that the mean over all known rows.
    return _mean(total * world, count), count


def _mean(total: Tensor, count: Tensor) -> Tensor:
    return total / count.where(count > 0, torch.ones_like(count))

"""What a frozen part of a network gives for each film, computed once a stage instead of each epoch.

The values of a stage that fit into memory stay there. Otherwise, and with several processes, which
share the work, they stand in a file below the stage's folder, which the end of the stage removes.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from diagnosis.module import CooperativeModule, still_cut
from eye_gaze_data.anatomy import AnatomySource
from eye_gaze_data.batch import Batch, check_batch, collate, to_device
from eye_gaze_data.dataset import Key
from eye_gaze_data.errors import StageError, StorageError
from eye_gaze_data.files import sha256_of, told_when_full
from saliency.cut import Computed, Cut
from saliency.network import Network

from .config import RunConfig, StageConfig
from .execution import execution_here
from .ranks import barrier, from_first, is_first_rank
from .record import versions
from .stage_data import stage_classes, stage_dataset

if TYPE_CHECKING:
    from .runner import StageRun

# Bytes that a stage's values may take in memory.
MEMORY = 1 << 30
FOLDER = "computed"
# Relative and absolute: what the two ways may differ by, in float32 and in half precision.
EXACT, HALF = 1e-4, 2e-2


def stage_cut(config: RunConfig, stage: StageConfig, network: Network) -> Cut | None:
    """Up to where a stage computes its network once; None if nothing is fixed, or it is off.

    Args:
        config: of the run.
        stage: of it.
        network: with its frozen parts frozen, in training mode.
    """
    fixed = stage.data.training_views() == (None,)
    if config.trainer.computed_once == "off" or stage.legacy.drifting_statistics or not fixed:
        return None
    return still_cut(network, stage.task, stage.losses)


def fits_memory(n_bytes: int, processes: int) -> bool:
    """Whether a stage's values stay in memory; several processes share a file."""
    return n_bytes <= MEMORY and processes == 1


class ComputeOnce(Callback):
    """Computes what stands at the cut for all films of a stage before its first step.

    A film's values come from a batch of the size that the stage trains with, so that they are those
    that a step would compute; the outputs of the first batch are compared.

    Args:
        stage: that is trained.
        cut: its name.
        fingerprint: of what is frozen.
        anatomy: where the stage's organ masks come from.
    """

    def __init__(
        self, stage: "StageRun", cut: str, fingerprint: str, anatomy: AnatomySource | None = None
    ) -> None:
        self.stage = stage
        data = stage.stage.data
        self.dataset = stage_dataset(stage.config, stage.stage, stage.cohort, anatomy)
        self.rows = [
            stage.cohort.rows_of(split, list(data.cohorts)) for split in (data.train, data.valid)
        ]
        self.facts = {
            "cut": cut,
            "frozen": fingerprint,
            "inputs": stage.inputs(),
            "versions": versions(),
            # As it is here: a stage may go on where auto means another precision.
            "execution": asdict(execution_here(stage.config.trainer)),
        }

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute, or read what an interrupted stage had computed."""
        assert isinstance(pl_module, CooperativeModule)  # noqa: S101 - for the type checker
        training = pl_module.training
        pl_module.eval()
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            pl_module.computed = self._computed(trainer, pl_module)
            self._prove(pl_module)
        pl_module.train(training)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse to go on if something before the cut has begun to train."""
        if not isinstance(pl_module, CooperativeModule) or pl_module.cut() is None:
            raise StageError(
                f"stage '{self.stage.stage.name}', epoch {trainer.current_epoch}: what was "
                "computed once is no longer frozen; set trainer.computed_once: off"
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Let go of the values."""
        del trainer, stage
        if isinstance(pl_module, CooperativeModule):
            pl_module.computed = None

    def batches(self) -> list[list[int]]:
        """Rows of each batch: of the training split filled up to whole batches, then validation."""
        size = self.stage.stage.batch_size
        train, valid = self.rows
        whole = np.resize(train, -(-len(train) // size) * size)
        parts = (whole, valid)
        return [part[at : at + size].tolist() for part in parts for at in range(0, len(part), size)]

    def _computed(self, trainer: pl.Trainer, module: CooperativeModule) -> Computed:
        batches = self.batches()
        rows = torch.tensor([row for batch in batches for row in batch])
        one = module.up_to_cut(self._first(module))
        shape = (len(rows), *one.shape[1:])
        if fits_memory(one[0].nbytes * len(rows), trainer.world_size):
            values = torch.empty(shape, dtype=one.dtype, device=module.device)
            for at, found in self._values(module, batches):
                values[at : at + len(found)] = found
        else:
            facts = {**self.facts, "dtype": str(one.dtype), "shape": list(shape)}
            path = self.stage.folder / FOLDER / f"{sha256_of(facts)[:16]}.values"
            size = rows.numel() * one[0].numel()
            if not from_first(path.is_file()):
                self._refuse_too_large(size * one.element_size())
                self._write(path, module, batches)
            values = torch.from_file(str(path), size=size, dtype=one.dtype).view(shape)
        return Computed(values, rows, len(self.stage.cohort))

    def _refuse_too_large(self, n_bytes: int) -> None:
        free = shutil.disk_usage(self.stage.run).free
        if n_bytes > free:
            raise StorageError(
                f"stage '{self.stage.stage.name}': what is computed once takes "
                f"{n_bytes / 2**30:.3g} GiB, and {self.stage.run} has {free / 2**30:.3g} GiB free; "
                "set trainer.computed_once: off, or choose another --out"
            )

    def _first(self, module: CooperativeModule) -> Batch:
        spec = self.stage.stage
        batch = next(self._loaded(self.batches()[:1]))
        organs = spec.anatomy.organs if spec.anatomy else ()
        check_batch(batch, len(stage_classes(spec, self.stage.cohort)[0]), len(organs))
        return to_device(batch, module.device)

    def _loaded(self, batches: list[list[int]]) -> Iterator[Batch]:
        keys: list[list[Key]] = [[(0, row) for row in batch] for batch in batches]
        workers = execution_here(self.stage.config.trainer).workers
        yield from DataLoader(
            self.dataset,
            batch_sampler=keys,
            num_workers=workers,
            collate_fn=collate,
        )

    def _values(
        self, module: CooperativeModule, batches: list[list[int]], rank: int = 0, world: int = 1
    ) -> Iterator[tuple[int, Tensor]]:
        """The values of every ``world``-th batch and where they begin."""
        starts = np.cumsum([0, *map(len, batches)])[rank::world]
        for at, batch in zip(starts, self._loaded(batches[rank::world]), strict=False):
            yield int(at), module.up_to_cut(to_device(batch, module.device))

    def _write(self, path: Path, module: CooperativeModule, batches: list[list[int]]) -> None:
        """Each process writes its batches into one file, which gets its name when all are there."""
        temporary = path.with_name(f".{path.name}.tmp")
        if is_first_rank():
            path.parent.mkdir(exist_ok=True)
            temporary.write_bytes(b"")
        barrier()
        try:
            with told_when_full(path), temporary.open("r+b") as file:
                rank, world = module.global_rank, module.trainer.world_size
                for at, found in self._values(module, batches, rank, world):
                    file.seek(at * found[0].nbytes)
                    file.write(found.cpu().contiguous().view(torch.uint8).numpy().data)
                file.flush()
                os.fsync(file.fileno())
        except StorageError:
            temporary.unlink(missing_ok=True)
            raise
        barrier()
        if is_first_rank():
            temporary.replace(path)
        barrier()

    def _prove(self, module: CooperativeModule) -> None:
        """Compare the outputs of the first batch with and without what was computed.

        Raises:
            StageError: if they differ.
        """
        batch = self._first(module)
        short, computed = module(batch), module.computed
        module.computed = None
        whole, module.computed = module(batch), computed
        for name in ("class_logits", "saliency_logits"):
            if name not in short:
                continue
            one, other = short[name].float(), whole[name].float()
            bound = EXACT if short[name].dtype == torch.float32 else HALF
            if not torch.allclose(one, other, bound, bound):
                raise StageError(
                    f"stage '{self.stage.stage.name}': what was computed once gives other {name} "
                    f"(by {(one - other).abs().max():.3g}) than the network; please report it, and "
                    "set trainer.computed_once: off"
                )

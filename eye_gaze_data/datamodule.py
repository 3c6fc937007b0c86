"""The data of one stage for Lightning."""

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from .batch import Batch, collate, to_device
from .dataset import GazeDataset
from .sampler import EpochSampler, Rows


class StageData(pl.LightningDataModule):
    """Training and validation loaders of a stage.

    Args:
        train: the training dataset.
        valid: the validation dataset: same grid, no augmentation, one view.
        train_rows: the training rows of each cohort in the mix.
        valid_rows: the validation rows of each cohort.
        weights: share of each cohort in an epoch; None for each row once.
        batch_size: images a step and process; with several views, each gives as many rows.
        workers: loader processes.
    """

    def __init__(
        self,
        train: GazeDataset,
        valid: GazeDataset,
        train_rows: Mapping[str, Rows],
        valid_rows: Mapping[str, Rows],
        *,
        weights: Mapping[str, float] | None = None,
        batch_size: int = 16,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.valid = train, valid
        self.train_rows, self.valid_rows, self.weights = train_rows, valid_rows, weights
        self.batch_size, self.workers = batch_size, workers

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled by (seed, epoch); the epoch is asked of the trainer when an epoch begins."""
        sampler = EpochSampler(
            self.train_rows,
            self.weights,
            seed=self.train.seed,
            epoch=self._epoch,
            batch_size=self.batch_size,
            rank=self._rank(),
            world_size=self._world_size(),
        )
        return self._loader(self.train, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """All validation rows once, in order."""
        sampler = EpochSampler(
            self.valid_rows,
            shuffle=False,
            batch_size=self.batch_size,
            rank=self._rank(),
            world_size=self._world_size(),
        )
        return self._loader(self.valid, sampler)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move the batch's tensors."""
        del dataloader_idx
        return to_device(batch, device)

    def _loader(self, dataset: GazeDataset, sampler: EpochSampler) -> DataLoader[Batch]:
        return DataLoader(
            dataset,  # type: ignore[arg-type] # collate makes batches of samples
            self.batch_size,
            sampler=sampler,
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self._on_gpu(),
            persistent_workers=self.workers > 0,
        )

    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def _epoch(self) -> int:
        if self.trainer is None:
            return 0
        progress = self.trainer.fit_loop.epoch_progress.current
        return int(getattr(progress, "processed"))  # noqa: B009 - not in the declared base type

    def _rank(self) -> int:
        return 0 if self.trainer is None else self.trainer.global_rank

    def _world_size(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

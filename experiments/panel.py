"""A fixed panel in TensorBoard: film, clinician, prediction and difference on one scale."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from matplotlib import colormaps
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from eye_gaze_data.batch import Batch, collate, to_device
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.files import write_json
from saliency.density import density

from .config import StageConfig
from .ranks import is_first_rank

CASES = 4


class Panel(Callback):
    """Writes the panel of a saliency stage after every epoch; the cases are drawn once by seed.

    Rows are cases; columns are the film, the clinician's density, the predicted one, and their
    difference. The two densities of a row share one scale; its top is in the tag's description.

    Args:
        folder: of the stage.
        stage: its config.
        dataset: the stage's samples of one fixed view.
    """

    def __init__(self, folder: Path, stage: StageConfig, dataset: GazeDataset) -> None:
        self.folder, self.stage, self.dataset = folder, stage, dataset
        self.batch: Batch | None = None
        self.writer: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the cases and write their ids to disk."""
        del trainer
        if self.stage.task not in {"saliency", "joint"} or not is_first_rank():
            return
        data = self.stage.data
        cohort = self.dataset.cohort
        rows = cohort.rows_of(data.valid, list(data.cohorts))
        rows = rows[cohort.has_gaze[rows]]
        if not len(rows):
            return
        drawn = np.random.default_rng(self.dataset.seed).permutation(rows)[:CASES]
        batch = collate([self.dataset[0, int(row)] for row in drawn])
        write_json(self.folder / "panel.json", {"images": batch["image_id"]})
        self.batch = to_device(batch, pl_module.device)
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(self.folder / "tensorboard"), filename_suffix=".panel")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the panel."""
        if self.batch is None or self.writer is None:
            return
        was_training = pl_module.training
        pl_module.eval()
        with torch.no_grad():
            predicted = density(pl_module(self.batch)["saliency_logits"], self.batch["valid"])
        pl_module.train(was_training)
        image = draw_panel(self.batch["image"], self.batch["saliency"], predicted)
        tag = f"{self.stage.name}/panel/film, clinician, prediction, difference"
        self.writer.add_image(tag, image, trainer.current_epoch, dataformats="HWC")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the event file."""
        del trainer, pl_module, stage
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def draw_panel(image: Tensor, truth: Tensor, predicted: Tensor) -> npt.NDArray[np.uint8]:
    """A picture (n * H, 4 * W, 3): a row a case.

    Args:
        image: (n, 1, H, W) films in [0, 1].
        truth: (n, 1, H, W) densities.
        predicted: (n, 1, H, W) densities.
    """
    rows = []
    for film, true, guess in zip(
        *(x[:, 0].cpu().numpy() for x in (image, truth, predicted)), strict=True
    ):
        top = max(float(true.max()), float(guess.max()))
        maps = [colormaps["inferno"](values / top)[..., :3] for values in (true, guess)]
        difference = colormaps["RdBu_r"](0.5 + (guess - true) / (2 * top))[..., :3]
        rows.append(np.concatenate([np.repeat(film[..., None], 3, 2), *maps, difference], 1))
    return np.round(np.concatenate(rows) * 255).astype(np.uint8)

"""A fixed panel in TensorBoard: film, clinician, prediction and difference on one scale."""

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from eye_gaze_data.batch import Batch, collate, to_device
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.files import write_json
from saliency.config import GAZE_TASKS
from saliency.density import density

from .config import StageConfig
from .ranks import is_first_rank

CASES = 6
# Smaller films are enlarged to this, and a line of text stands below each row.
TILE, LINE = 128, 16
TAG = "gaze/panel/film, clinician, prediction, difference"


class Panel(Callback):
    """Writes the panel of a saliency stage after every epoch; the cases are drawn once by seed.

    They are drawn from the validation split in turn among films without a finding and films with
    each of the findings; their ids are in ``panel.json``. Rows are cases; columns are the film, the
    clinician's density, the predicted one, and their difference. The densities of a row share one
    scale, which is written below it.

    Args:
        folder: of the stage.
        stage: its config.
        dataset: the stage's samples of one fixed view.
        before: epochs of the stages before it.
    """

    def __init__(
        self, folder: Path, stage: StageConfig, dataset: GazeDataset, before: int = 0
    ) -> None:
        self.folder, self.stage, self.dataset, self.before = folder, stage, dataset, before
        self.batch: Batch | None = None
        self.writer: Any = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the cases and write their ids to disk."""
        del trainer
        if self.stage.task not in GAZE_TASKS or not is_first_rank():
            return
        data = self.stage.data
        cohort = self.dataset.cohort
        rows = cohort.rows_of(data.valid, list(data.cohorts))
        rows = rows[cohort.has_gaze[rows]]
        if not len(rows):
            return
        labels = cohort.table[list(cohort.pathologies)].to_numpy(np.float64)[rows]
        drawn = rows[stratified(labels, CASES, self.dataset.seed)]
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
        batch = self.batch
        maps = batch["image"], batch["saliency"], predicted
        image = draw_panel(*maps, batch["valid"], batch["image_id"])
        self.writer.add_image(TAG, image, self.before + trainer.current_epoch, dataformats="HWC")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Close the event file."""
        del trainer, pl_module, stage
        if self.writer is not None:
            self.writer.close()
            self.writer = None


def stratified(labels: npt.NDArray[np.float64], count: int, seed: int) -> list[int]:
    """Draw rows in turn among those without a finding and those with each of them.

    Args:
        labels: (n, C), NaN where unknown.
        count: how many at the most.
        seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    present = labels > 0.5
    chosen: list[int] = []
    for stratum in cycle([~present.any(1), *present.T]):
        if len(chosen) == min(count, len(labels)):
            return chosen
        left = (row for row in order if stratum[row] and row not in chosen)
        chosen += islice(left, 1)
    return chosen


def draw_panel(
    image: Tensor, truth: Tensor, predicted: Tensor, valid: Tensor, names: Sequence[str]
) -> npt.NDArray[np.uint8]:
    """A picture (height, 4 tiles, 3): a row and a line of text a case.

    Args:
        image: (n, 1, H, W) films in [0, 1].
        truth: (n, 1, H, W) densities.
        predicted: (n, 1, H, W) densities.
        valid: (n, 1, H, W) where there is film: a uniform density is one over its pixels.
        names: n, of the cases.
    """
    rows = []
    arrays = (x[:, 0].cpu().numpy() for x in (image, truth, predicted, valid))
    for film, true, guess, within, name in zip(*arrays, names, strict=True):
        top = max(float(true.max()), float(guess.max()))
        maps = [colormaps["inferno"](values / top)[..., :3] for values in (true, guess)]
        difference = colormaps["RdBu_r"](0.5 + (guess - true) / (2 * top))[..., :3]
        tiles = np.concatenate([np.repeat(film[..., None], 3, 2), *maps, difference], 1)
        enlarged = tiles.repeat(-(-TILE // len(film)), 0).repeat(-(-TILE // len(film)), 1)
        peak = top * float(within.sum())
        text = f"0 to {peak:.1f} x uniform, difference +-{peak:.1f}   {name}"
        rows += [np.round(enlarged * 255).astype(np.uint8), _line(text, enlarged.shape[1])]
    return np.concatenate(rows)


def _line(text: str, width: int) -> npt.NDArray[np.uint8]:
    line = Image.new("RGB", (width, LINE))
    ImageDraw.Draw(line).text((4, 1), text, fill="white", font=ImageFont.load_default(11))
    return np.asarray(line)

"""What a contrast stage shows and leaves: scores of its embeddings, a projector, the encoder."""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import timm
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, distributed
from torch.nn import functional as F

from diagnosis.config import DualEncoderConfig
from eye_gaze_data.batch import collate, to_device
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import StageError
from pretrain.watch import WATCHED, Array, watch
from saliency.module import TaskModule

from .config import StageConfig
from .stage_data import stage_classes, stage_dataset
from .weights import read_weights, save_weights

if TYPE_CHECKING:
    from .runner import StageRun

THUMBNAIL = 32


class Embedded(NamedTuple):
    """Embeddings of films as they are, in order of their rows.

    Attributes:
        rows: int64 (n,).
        vectors: float64 (n, D).
        labels: float64 (n, C), 1, 0 or NaN.
    """

    rows: npt.NDArray[np.int64]
    vectors: Array
    labels: Array


class Watch(Callback):
    """Logs ``valid/knn``, ``valid/probe``, ``valid/deviation`` and ``valid/rank``.

    Films are drawn once by seed, and embedded without augmentation; all processes share the work.

    Args:
        stage: the stage's config.
        dataset: its samples of one fixed view.
    """

    def __init__(self, stage: StageConfig, dataset: GazeDataset) -> None:
        self.stage, self.dataset = stage, dataset

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Embed bank and queries, and log their scores; NaN in epochs that are left out."""
        config, epoch = self.stage.contrast.watch, trainer.current_epoch
        values = dict.fromkeys(WATCHED, math.nan)
        if (epoch + 1) % config.every == 0 or epoch + 1 == trainer.max_epochs:
            data = self.stage.data
            bank, queries = (self._embedded(pl_module, split) for split in (data.train, data.valid))
            if not (np.isfinite(bank.vectors).all() and np.isfinite(queries.vectors).all()):
                raise StageError(
                    f"stage '{self.stage.name}', epoch {epoch}: embeddings of films are not "
                    "finite, the stage has diverged. The last checkpoint is untouched; lower the "
                    "learning rate or clip the gradient (optimiser.clip), then run again"
                )
            values = watch(
                bank.vectors, bank.labels, queries.vectors, queries.labels, config.neighbours
            )
        logged = {f"valid/{name}": torch.tensor(value) for name, value in values.items()}
        pl_module.log_dict(logged, on_epoch=True, batch_size=1, sync_dist=True)

    def _embedded(self, module: pl.LightningModule, split: str) -> Embedded:
        rows = watched_rows(self.stage, self.dataset, split)
        if not distributed.is_initialized():
            return embed(module, self.dataset, rows, self.stage.batch_size)
        world, rank = distributed.get_world_size(), distributed.get_rank()
        own = embed(module, self.dataset, rows[rank::world], self.stage.batch_size)
        parts: list[Embedded] = [own] * world
        distributed.all_gather_object(parts, own)
        rows = np.concatenate([part.rows for part in parts])
        vectors = np.concatenate([part.vectors for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        order = np.argsort(rows)
        return Embedded(rows[order], vectors[order], labels[order])


def watched_rows(stage: StageConfig, dataset: GazeDataset, split: str) -> npt.NDArray[np.int64]:
    """The rows of a split that are watched, in order: all, or some drawn by seed."""
    rows = dataset.cohort.rows_of(split, list(stage.data.cohorts))
    drawn = np.random.default_rng([dataset.seed, len(rows)]).permutation(rows)
    return np.sort(drawn[: stage.contrast.watch.films])


@torch.no_grad()
def embed(
    module: torch.nn.Module,
    dataset: GazeDataset,
    rows: Sequence[int] | npt.NDArray[np.int64],
    batch_size: int,
) -> Embedded:
    """What a contrast module makes of films as they are; the module keeps its mode."""
    was_training, device = module.training, next(module.parameters()).device
    module.eval()
    vectors, labels = [], []
    for start in range(0, len(rows), batch_size):
        batch = collate([dataset[0, int(row)] for row in rows[start : start + batch_size]])
        vectors.append(module(to_device(batch, device)).double().cpu().numpy())
        labels.append(batch["labels"].double().numpy())
    module.train(was_training)
    if not vectors:
        return Embedded(np.zeros(0, np.int64), np.zeros((0, 0)), np.zeros((0, 0)))
    return Embedded(np.asarray(rows), np.concatenate(vectors), np.concatenate(labels))


def finish_contrast(stage: "StageRun", module: TaskModule) -> None:
    """The projector of the validation films by the best weights, and encoder A for timm.

    Args:
        stage: whose weights are written.
        module: takes the best weights.
    """
    spec = stage.stage
    state = read_weights(stage.folder / "weights.safetensors")
    module.network.load_state_dict(state, strict=False)
    dataset = stage_dataset(stage.config, spec, stage.cohort)
    rows = watched_rows(spec, dataset, spec.data.valid)
    embedded = embed(module, dataset, rows, spec.batch_size)
    classes, _ = stage_classes(spec, stage.cohort)
    folder = stage.folder / "tensorboard" / "projector"
    write_projector(folder, spec.name, dataset, embedded, classes)
    model = stage.config.models[spec.model]
    if isinstance(model, DualEncoderConfig) and "encoder_a" in spec.contrast.encoders:
        save_encoder(stage.folder / "encoder.safetensors", model, state)


def write_projector(
    folder: Path, tag: str, dataset: GazeDataset, embedded: Embedded, classes: Sequence[str]
) -> None:
    """TensorBoard's embedding projector: vectors, findings and a thumbnail of each film.

    Args:
        folder: for ``projector_config.pbtxt`` and what it names; made afresh.
        tag: of the embeddings.
        dataset: that they were embedded from.
        embedded: the vectors.
        classes: names of the labels.
    """
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(folder, ignore_errors=True)
    table = dataset.cohort.table
    metadata, thumbnails = [], []
    for row, labels in zip(embedded.rows, embedded.labels, strict=True):
        names = (str(table[key].iat[row]) for key in ("image_id", "cohort"))
        metadata.append([*names, _findings(labels, classes)])
        image = dataset[0, int(row)][0]["image"][None]
        small = F.interpolate(image, (THUMBNAIL, THUMBNAIL), mode="area")
        thumbnails.append(small[0].expand(3, -1, -1))
    with SummaryWriter(str(folder)) as writer:
        writer.add_embedding(
            torch.from_numpy(embedded.vectors).float(),
            metadata=metadata,
            metadata_header=["image", "cohort", "findings"],
            label_img=torch.stack(thumbnails),
            tag=tag,
        )


def save_encoder(path: Path, model: DualEncoderConfig, state: dict[str, Tensor]) -> None:
    """Encoder A under the names of ``timm.create_model``, encoder only.

    Args:
        path: of the file; its metadata say which timm model, channels and options it fits.
        model: whose encoder A it is.
        state: of the stage, ``encoder_a.*`` among it.
    """
    channels = 3 if model.in_channels == 1 else model.in_channels
    with torch.device("meta"):
        bare = timm.create_model(
            model.backbone, num_classes=0, in_chans=channels, **(model.backbone_options or {})
        )
    # features_only writes a dot of a name as an underscore, and may put "model." before it.
    names = {name.replace(".", "_"): name for name in bare.state_dict()}
    tensors = {}
    for name, value in state.items():
        if name.startswith("encoder_a."):
            flat = name.removeprefix("encoder_a.").removeprefix("model.").replace(".", "_")
            tensors[names[flat]] = value
    facts = {
        "timm": model.backbone,
        "in_chans": str(channels),
        "options": json.dumps(model.backbone_options or {}),
    }
    save_weights(path, tensors, facts)


def _findings(labels: Array, classes: Sequence[str]) -> str:
    if not len(labels) or np.isnan(labels).all():
        return "not stated"
    return ", ".join(n for n, v in zip(classes, labels, strict=True) if v == 1) or "none"

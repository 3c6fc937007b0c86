"""An epoch of each task by the run against a bare loop: CPU time that is not arithmetic.

The bare loop has the same batches in memory, the same module and losses, clipping and AdamW; it
writes, logs, scores and draws nothing. Both keep freed memory.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from experiments.allocator import freed_memory_kept
from experiments.build import build_cohorts, build_module
from experiments.config import RunConfig
from experiments.runner import run
from experiments.stage_data import build_data
from eye_gaze_data.batch import Batch
from saliency.frozen import freeze
from saliency.module import TaskModule

from .stages import SALIENCY, SMALL, config, stage
from .table import Row, cpu

FILMS, SIDE, EPOCHS = 160, 64, 3
TRAIN = {
    "contrast": ["encoder_a.*"],
    "classify": ["encoder_a.*", "encoder_classifier.*"],
    "saliency": SALIENCY,
    "joint": ["*"],
}


def rows() -> Iterator[Row]:
    for task, train in TRAIN.items():
        yield epoch_row(task, train, FILMS, EPOCHS)


def epoch_row(task: str, train: list[str], films: int, epochs: int) -> Row:
    settings = config([one_stage(task, train, epochs)], SMALL, films, "off")
    bare = partial(second_epoch, bare_epoch(settings))
    what = f"{task}: an epoch of {films} films of {SIDE}x{SIDE}, small network, by the run"
    return Row(what, partial(epoch_of_run, settings), "a bare loop over batches in memory",
               bare, "arithmetic", bare, rounds=3, thrown=0)  # fmt: skip


def one_stage(task: str, train: list[str], epochs: int) -> dict[str, Any]:
    data = {"cohorts": "phantom", "image_size": [SIDE, SIDE]}
    if task != "joint":
        return stage(task, task, train, epochs, data=data)
    named = {"kind": "cooperative", "losses": {"bce": 1, "kld": 1}}
    return stage(task, task, train, epochs, data=data) | named


def epoch_of_run(settings: RunConfig) -> float:
    """The median of all epochs but the first, which reads the films."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run(settings, Path(folder) / "run", say=lambda _: ends.append(time.process_time()))
    return statistics.median(after - before for before, after in pairwise(ends))


def second_epoch(epoch: Callable[[], None]) -> float:
    """CPU seconds once the process has its memory."""
    with freed_memory_kept():
        epoch()
        return cpu(epoch)()


def bare_epoch(settings: RunConfig) -> Callable[[], None]:
    spec, cohort = settings.stages[0], build_cohorts(settings)
    module = build_module(settings, spec, cohort)
    freeze(module.network, spec.train, spec.name)
    data = build_data(settings, spec, cohort)
    batches = list(data.train_dataloader()), list(data.val_dataloader())
    weights = [part for part in module.parameters() if part.requires_grad]
    optimiser = torch.optim.AdamW(weights, 1e-3)
    return partial(_epoch, module, optimiser, weights, *batches)


def _epoch(
    module: TaskModule,
    optimiser: torch.optim.Optimizer,
    weights: list[nn.Parameter],
    train: list[Batch],
    valid: list[Batch],
) -> None:
    module.train()
    for batch in train:
        optimiser.zero_grad()
        loss, _ = module.total(module.loss_terms(batch))
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
    module.eval()
    with torch.inference_mode():
        for batch in valid:
            module.loss_terms(batch)

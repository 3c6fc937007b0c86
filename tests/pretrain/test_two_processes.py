"""Loss and gradient under two gloo processes are those of one process with the whole batch."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eye_gaze_data.batch import Batch
from pretrain.config import ContrastConfig
from pretrain.gather import gathered
from pretrain.gaze import CELLS
from pretrain.module import ContrastModule
from saliency.config import LegacyConfig
from saliency.module import TaskSettings
from tests.pretrain.test_module import Toy
from tests.pretrain.test_momentum import HEAD, two_view_batch

ROOT = Path(__file__).parents[2]
# Loss, options, positives.
CASES: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "triplet": ("triplet", {"margin": 0.05}, None),
    "semi_hard": ("triplet", {"margin": 0.5, "mining": "semi_hard"}, None),
    "supcon": ("supcon", HEAD, None),
    "supcon_gaze": ("supcon", HEAD, "gaze"),
    "supcon_patient": ("supcon", HEAD, "patient"),
    "nt_xent": ("nt_xent", HEAD, None),
    "vicreg": ("vicreg", HEAD, None),
    "byol": ("byol", HEAD, None),
    "byol_label": ("byol", HEAD, "label"),
    "unpooled": ("triplet", {}, None),
}


class Step(nn.Module):
    """What DDP wraps: a training step without Lightning."""

    def __init__(self, module: ContrastModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> Tensor:
        loss: Tensor = self.module.total(self.module.loss_terms(batch))[0]
        return loss


def make_step(case: str) -> Step:
    loss, options, positives = CASES[case]
    settings = TaskSettings(
        "contrast", "contrast", {loss: 1.0}, options={loss: options},
        legacy=LegacyConfig(unpooled_triplet=case == "unpooled"),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    looked = torch.rand(CELLS**2, generator=generator)
    gaze = {row: looked + 0.1 * row * torch.rand(CELLS**2, generator=generator) for row in range(3)}
    gaze |= {row: torch.rand(CELLS**2, generator=generator) for row in (3, 5)}
    config = ContrastConfig.model_validate({"positives": positives})
    return Step(ContrastModule(Toy(), settings, config, gaze).double())


def make_whole(images: int = 7) -> Batch:
    batch = two_view_batch(images, 3)
    labels = torch.eye(3)[torch.arange(images) % 3]
    labels[1] = torch.nan
    batch["labels"] = labels.repeat(2, 1)
    batch["image"] = batch["image"].double()
    batch["patient_id"] = [f"p{image // 2}" for image in range(images)] * 2
    return batch


def rows_of(batch: Batch, images: slice) -> Batch:
    """Both views of some images."""
    rows = [row for row in range(len(batch["view"])) if int(batch["index"][row]) in
            range(*images.indices(10**6))]  # fmt: skip
    return {
        key: value[rows] if isinstance(value, Tensor) else [value[row] for row in rows]  # type: ignore[index]
        for key, value in batch.items()
    }  # type: ignore[return-value]


def results_of(step: nn.Module, batch: Batch) -> dict[str, Tensor]:
    loss = step(batch)
    loss.backward()
    inner: nn.Module = step.module if not isinstance(step, Step) else step  # type: ignore[assignment]
    gradients = {n: p.grad for n, p in inner.named_parameters() if p.grad is not None}
    statistics = {n: b for n, b in inner.named_buffers() if "running" in n}
    return {"loss": loss.detach(), **gradients, **statistics}


WORKER = """
import sys, torch
from torch.nn.parallel import DistributedDataParallel
sys.path.insert(0, sys.argv[4])
from pretrain.gather import gathered
from tests.pretrain.test_two_processes import CASES, make_step, make_whole, results_of, rows_of
rank, rendezvous, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
whole, found = make_whole(), {}
for split in (3, 4):
    own = rows_of(whole, slice(0, split) if rank == 0 else slice(split, None))
    for case in CASES:
        step = DistributedDataParallel(make_step(case), find_unused_parameters=True)
        found[f"{case} {split}"] = results_of(step, own)
found["gathered"] = gathered(torch.arange(3 + rank) + 10 * rank)
torch.save(found, f"{out}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.ddp
@pytest.mark.slow
def test_two_processes_with_uneven_batches_agree_with_one(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [(tmp_path / "rendezvous").as_uri(), str(tmp_path), str(ROOT)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), *command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for rank in range(2)
    ]  # fmt: skip
    expected = {case: results_of(make_step(case), make_whole()) for case in CASES}
    for worker in workers:
        errors = worker.communicate(timeout=240)[1]
        assert worker.returncode == 0, errors
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["gathered"].tolist() == [0, 1, 2, 10, 11, 12, 13]
        for case, whole in expected.items():
            assert whole["loss"].abs() > 1e-3, case
            for split in (3, 4):
                parts = found[f"{case} {split}"]
                assert parts.keys() >= whole.keys(), case
                for name, value in whole.items():
                    torch.testing.assert_close(
                        parts[name], value, rtol=1e-8, atol=1e-10,
                        msg=partial("{}, {}: {}".format, case, name),
                    )  # fmt: skip
                weight = parts["module.network.encoder_a.weight"]
                assert weight.abs().max() > 1e-6, case


def test_one_process_keeps_its_rows() -> None:
    rows = torch.rand(3, 2)
    assert gathered(rows) is rows

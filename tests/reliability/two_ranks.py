"""The loss and gradient of a batch, alone or shared by ranks: run by ``test_two_ranks.py``.

python -m tests.reliability.two_ranks RANK RENDEZVOUS OUT
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from diagnosis.dual_encoder import DualEncoderUNet
from diagnosis.module import CooperativeModule
from eye_gaze_data.batch import Batch, collate
from saliency.module import TaskModule, TaskSettings

ROWS, SIZE, CLASSES = 8, (32, 32), 3
WEIGHTS = {"bce": torch.tensor([1.0, 3.0, 0.5])}
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    # Settings beside the task, and the rows that have gaze: rank r of two sees rows r, r + 2 ...
    "gaze on both ranks": ({}, (0, 1, 2, 5)),
    "gaze on one rank": ({}, (1, 3, 7)),
    "no gaze": ({}, ()),
    "class weights": ({"class_weights": WEIGHTS}, (0, 1, 3)),
    "learned weighting": ({"weighting": "kendall"}, (1, 3)),
}
Result = dict[str, dict[str, Tensor]]


class Step(nn.Module):
    """A module whose forward pass is its loss, for DDP."""

    def __init__(self, module: TaskModule) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch) -> Tensor:
        return self.module.total(self.module.loss_terms(batch))[0]


def make_module(changes: dict[str, Any]) -> CooperativeModule:
    """Both tasks on a small network; its norms stand still, as a rank's statistics are its own."""
    torch.manual_seed(0)
    options = {"growth_rate": 4, "block_config": [1, 1, 1, 1]}
    network = DualEncoderUNet(
        CLASSES, backbone="densenet121", backbone_options=options, widths=(4, 4, 8, 8, 8)
    )
    settings = TaskSettings("stage", "joint", losses={"bce": 1.0, "kld": 0.5}, **changes)
    module = CooperativeModule(network, settings)
    module.eval()
    return module


def make_batch(with_gaze: Iterable[int], rows: Iterable[int]) -> Batch:
    """Some of eight rows, with gaps among the labels."""
    generator = torch.Generator().manual_seed(1)
    samples = []
    gaze = set(with_gaze)
    for row in range(ROWS):
        density = torch.rand(1, *SIZE, generator=generator)
        labels = (torch.rand(CLASSES, generator=generator) < 0.5).float()
        labels[torch.rand(CLASSES, generator=generator) < 0.3] = torch.nan
        unknown = torch.full_like(density, torch.nan)
        sample = {
            "image": torch.rand(1, *SIZE, generator=generator),
            "valid": torch.ones(1, *SIZE, dtype=torch.bool),
            "frame": torch.eye(2, 3),
            "saliency": density / density.sum() if row in gaze else unknown,
            "fixations": (density > 0.9).float() if row in gaze else unknown,
            "labels": labels,
            "anatomy": torch.zeros(0, *SIZE),
            "boxes": torch.zeros(0, 4),
            "box_labels": torch.zeros(0, dtype=torch.int64),
            "boxes_known": torch.tensor(False),
            "index": torch.tensor(row),
            "view": torch.tensor(0),
            "image_id": str(row),
            "patient_id": str(row),
        }
        samples.append(sample)
    return collate(cast(Any, [samples[row] for row in rows]))


def measure(rank: int = 0, world: int = 1) -> Result:
    """Of each case the loss, the gradient, the metrics and the tallies of validation."""
    results: Result = {}
    for name, (changes, gaze) in CASES.items():
        module = make_module(changes)
        batch = make_batch(gaze, range(rank, ROWS, world))
        step: nn.Module = Step(module)
        if world > 1:
            step = nn.parallel.DistributedDataParallel(step, find_unused_parameters=True)
        loss = step(batch)
        loss.backward()
        value = loss.detach().clone()
        if world > 1:
            distributed.all_reduce(value)
        found = {
            f"gradient.{n}": p.grad for n, p in module.named_parameters() if p.grad is not None
        }
        results[name] = {"loss": value / world, **found, **_validated(module, batch)}
    return results


def _validated(module: CooperativeModule, batch: Batch) -> dict[str, Tensor]:
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    with torch.no_grad():
        module.validation_step(batch, 0)
    metrics = {"auroc": module.auroc, "cc": module.cc, "nss": module.nss}
    found = {f"valid.{name}": metric.compute() for name, metric in metrics.items()}
    means = module._means.compute()
    return found | {f"valid.{name}": torch.tensor(means[name]) for name in ("bce", "kld")}


def main() -> None:
    rank, rendezvous, out = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    torch.save(measure(rank, 2), out / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()

"""Training step and inference of the dual encoder against the reference network.

python -m benchmarks network
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from diagnosis.losses import cross_entropy
from saliency.losses import kl_divergence_loss

from .reference_network import pair
from .table import Row, matmul_rate, wall

SMALL = ((8, 16, 32, 64, 96), {"growth_rate": 16, "block_config": (2, 4, 4, 2)})
CLASSES = 3


def rows() -> Iterator[Row]:
    yield from network_rows("small network, 96x96, 16 films", 96, 16, SMALL)
    yield from network_rows("full network, 256x256, 4 films", 256, 4, ())


def network_rows(name: str, side: int, films: int, sizes: tuple[object, ...]) -> Iterator[Row]:
    """Inference and a training step; outputs and the first gradient are compared before."""
    ours, theirs = pair(CLASSES, *sizes)  # type: ignore[arg-type]
    image = torch.rand(films, 1, side, side, generator=torch.Generator().manual_seed(1))
    agree(ours, theirs, image)
    flops = _flops(ours, image)
    peer = "the straightforward network"
    rounds = 3 if side > 128 else 5

    def least(times: int) -> Callable[[], float]:
        return lambda: times * flops / matmul_rate()

    yield Row(f"inference, {name}", wall(inference(ours, image)), peer,
              wall(inference(theirs, image)),
              "matmul peak", least(1), rounds=rounds)  # fmt: skip
    yield Row(f"training step, {name}", wall(step(ours, image)), peer, wall(step(theirs, image)),
              "matmul peak", least(3), rounds=rounds)  # fmt: skip


def agree(ours: nn.Module, theirs: nn.Module, image: Tensor) -> None:
    """Both networks give the same logits and, in evaluation mode, the same gradient."""
    found = []
    for network in (ours.eval(), theirs.eval()):
        network.zero_grad()
        saliency, classes = _logits(network, image)
        torch.autograd.backward(_loss(saliency, classes))
        gradient = next(p.grad for p in network.parameters() if p.grad is not None)
        found.append((saliency.detach(), classes.detach(), gradient))
        network.zero_grad()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def _logits(network: nn.Module, image: Tensor) -> tuple[Tensor, Tensor]:
    outputs = network(image)
    if isinstance(outputs, tuple):
        return outputs
    return outputs["saliency_logits"], outputs["class_logits"]


def _loss(saliency: Tensor, classes: Tensor) -> Tensor:
    films, side = len(saliency), saliency.shape[-1]
    truth = torch.full_like(saliency, 1 / side**2)
    film = torch.ones_like(saliency, dtype=torch.bool)
    labels = F.one_hot(torch.arange(films) % CLASSES, CLASSES).float()
    return kl_divergence_loss(saliency, truth, film).mean() + cross_entropy(classes, labels).mean()


def inference(network: nn.Module, image: Tensor) -> Callable[[], object]:
    def run() -> object:
        network.eval()
        with torch.inference_mode():
            return _logits(network, image)

    return run


def step(network: nn.Module, image: Tensor) -> Callable[[], object]:
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4)

    def run() -> object:
        network.train()
        optimiser.zero_grad()
        torch.autograd.backward(_loss(*_logits(network, image)))
        optimiser.step()
        return None

    return run


def _flops(network: nn.Module, image: Tensor) -> float:
    """Of one forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(image)
    return float(counter.get_total_flops())

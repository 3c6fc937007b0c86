"""Training step and inference of the dual encoder against the reference network.

Both in one process that keeps freed memory, as a stage does: what the networks themselves take.
And the step once more beside the reference in a process of its own, which does not: what a stage
gains over a script.
"""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from diagnosis.losses import cross_entropy
from experiments.allocator import freed_memory_kept
from saliency.losses import kl_divergence_loss

from .reference_network import pair
from .table import Row, Timer, matmul_rate, wall

SMALL = ((8, 16, 32, 64, 96), {"growth_rate": 16, "block_config": (2, 4, 4, 2)})
CLASSES = 3


def rows() -> Iterator[Row]:
    spawn = multiprocessing.get_context("spawn")
    for small in (True, False):
        with ProcessPoolExecutor(1, spawn) as plain, freed_memory_kept():
            yield from network_rows(plain, small=small)


def network_rows(plain: Executor, *, small: bool) -> Iterator[Row]:
    """Inference and a training step; outputs and the first gradient are compared before.

    Args:
        plain: another process, which does not keep freed memory.
        small: network, or the full one.
    """
    ours, theirs, image = given(small=small)
    agree(ours, theirs, image)
    flops = _flops(ours, image)
    name = f"{'small' if small else 'full'} network, "
    name += f"{image.shape[2]}x{image.shape[3]}, {len(image)} films"
    peer, rounds = "the straightforward network", 15 if small else 5

    def least(times: int) -> Callable[[], float]:
        return lambda: times * flops / matmul_rate()

    yield Row(f"inference, {name}", wall(inference(ours, image)), peer,
              wall(inference(theirs, image)),
              "matmul peak", least(1), rounds=rounds)  # fmt: skip
    mine = wall(step(ours, image))
    yield Row(f"training step, {name}", mine, peer, wall(step(theirs, image)),
              "matmul peak", least(3), rounds=rounds)  # fmt: skip
    name += ", freed memory kept as in a stage"
    yield Row(f"training step, {name}", mine, f"{peer} in a script",
              lambda: plain.submit(_plain_step, small=small).result(),
              rounds=5 if small else 2)  # fmt: skip


def given(*, small: bool) -> tuple[nn.Module, nn.Module, Tensor]:
    """gazedx's network, the reference, and a batch."""
    ours, theirs = pair(CLASSES, *(SMALL if small else ()))
    films, side = (16, 96) if small else (4, 256)
    return (
        ours,
        theirs,
        torch.rand(films, 1, side, side, generator=torch.Generator().manual_seed(1)),
    )


def _plain_step(*, small: bool) -> float:
    return _plain_timer(small=small)()


@cache
def _plain_timer(*, small: bool) -> Timer:
    _, theirs, image = given(small=small)
    return wall(step(theirs, image))


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

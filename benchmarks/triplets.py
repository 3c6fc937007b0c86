"""All triplets at once against torch's triplet loss called for one after the other."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.losses import triplet_loss
from pretrain.positives import label_pairs

from .table import Row, cpu

WIDTH, CLASSES, CALLS = 64, 3, 20


def rows() -> Iterator[Row]:
    yield triplet_row(32, 32)
    # The loop over some anchors stands for all, in proportion.
    yield triplet_row(128, 2)


def triplet_row(size: int, anchors: int) -> Row:
    """Value and gradient; those of the loop's anchors are compared before."""
    torch.manual_seed(0)
    embeddings = torch.randn(size, WIDTH, requires_grad=True)
    alike, unlike = label_pairs(F.one_hot(torch.arange(size) % CLASSES, CLASSES).float())
    some = (torch.arange(size) < anchors)[:, None]

    def total(alike: Tensor, unlike: Tensor) -> Tensor:
        return triplet_loss(embeddings, alike, unlike).sum()

    def loop() -> Tensor:
        sums = embeddings.new_zeros(())
        for a in range(anchors):
            for p in range(size):
                for n in range(size):
                    if alike[a, p] and unlike[a, n]:
                        one, like, other = embeddings[a], embeddings[p], embeddings[n]
                        sums = sums + F.triplet_margin_loss(one, like, other)
        return sums

    # torch adds 1e-6 to every difference of coordinates.
    (mine,) = torch.autograd.grad(total(alike & some, unlike & some), embeddings)
    (other,) = torch.autograd.grad(loop(), embeddings)
    torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)

    def with_gradient(loss: Callable[[], Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(loss(), embeddings)

    timed = cpu(with_gradient(loop))
    part = "" if anchors == size else f" over {anchors} anchors, times {size // anchors}"
    return Row(f"triplet loss and gradient, {size} films, all triplets",
               cpu(with_gradient(lambda: total(alike, unlike)), CALLS),
               f"a loop over triplets{part}", lambda: timed() * size / anchors,
               rounds=3)  # fmt: skip

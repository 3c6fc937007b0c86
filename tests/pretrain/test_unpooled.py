"""The released code's triplet loss on maps, against torch in a triple loop; the module with it."""

import pytest
import torch
from torch import Tensor, nn

from pretrain.config import ContrastConfig
from pretrain.losses import unpooled_triplet_loss
from pretrain.module import ContrastModule
from pretrain.positives import label_pairs
from saliency.config import LegacyConfig
from saliency.module import TaskSettings
from tests.pretrain.test_module import Toy, make_batch, make_module


def make_maps(rows: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (rows, 3, 2, 4)
    return (0.6 * torch.randn(*shape, generator=generator, dtype=torch.float64)).requires_grad_()


def make_pairs(classes: list[int]) -> tuple[Tensor, Tensor]:
    return label_pairs(torch.eye(max(classes) + 1)[torch.tensor(classes)])


def by_loop(maps: Tensor, classes: list[int], margin: float) -> Tensor:
    """The released code: torch's loss on one triplet of 4-D maps after another, summed."""
    loss = nn.TripletMarginLoss(margin=margin, p=2)
    total = maps.sum() * 0
    for a, anchor in enumerate(classes):
        for p, positive in enumerate(classes):
            for n, negative in enumerate(classes):
                if a != p and anchor == positive and anchor != negative:
                    total = total + loss(maps[a : a + 1], maps[p : p + 1], maps[n : n + 1])
    return total


@pytest.mark.parametrize("classes", [[0, 0, 1, 1, 2, 0], [0, 0, 0, 0, 1, 1], [2, 1, 0, 2, 1, 0]])
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_agrees_with_torch_in_value_and_gradient(classes: list[int], margin: float) -> None:
    maps = make_maps()
    found = unpooled_triplet_loss(maps, *make_pairs(classes), margin)
    assert found.shape == (6,)
    expected = by_loop(maps, classes, margin)
    torch.testing.assert_close(found.sum(), expected)
    gradients = [torch.autograd.grad(x, maps) for x in (found.sum(), expected)]
    torch.testing.assert_close(*gradients)
    assert expected.item() > 0


def test_each_value_is_one_anchor_s() -> None:
    maps, classes = make_maps(), [0, 0, 1, 1, 2, 0]
    found = unpooled_triplet_loss(maps, *make_pairs(classes))
    loss = nn.TripletMarginLoss()
    for a, anchor in enumerate(classes):
        expected = sum(
            loss(maps[a : a + 1], maps[p : p + 1], maps[n : n + 1]).item()
            for p in range(6)
            for n in range(6)
            if a != p and classes[p] == anchor != classes[n]
        )
        assert found[a].item() == pytest.approx(expected, rel=1e-9)
    assert found[4] == 0  # alone in its class


@pytest.mark.parametrize("classes", [[0] * 6, [0, 1, 2, 3, 4, 5]])
def test_without_a_triplet_it_is_zero_with_a_gradient_of_zero(classes: list[int]) -> None:
    maps = make_maps()
    found = unpooled_triplet_loss(maps, *make_pairs(classes))
    assert torch.equal(found, torch.zeros(6).double())
    (gradient,) = torch.autograd.grad(found.sum(), maps)
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_equal_maps_have_a_finite_gradient() -> None:
    maps = torch.ones(4, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    found = unpooled_triplet_loss(maps, *make_pairs([0, 0, 1, 1]))
    torch.testing.assert_close(found, torch.full((4,), 2.0).double())
    (gradient,) = torch.autograd.grad(found.sum(), maps)
    assert bool(gradient.isfinite().all())


def make_legacy(encoder: str = "encoder_a") -> ContrastModule:
    legacy = LegacyConfig(unpooled_triplet=True)
    settings = TaskSettings("s", "contrast", {"triplet": 1.0}, legacy=legacy)
    return ContrastModule(Toy(), settings, ContrastConfig(encoder=encoder))  # type: ignore[arg-type]


@pytest.mark.parametrize("training", [True, False])
def test_the_module_sums_in_training_and_monitors_the_mean_of_images(training: bool) -> None:
    module, batch = make_legacy(), make_batch()
    module.train(training)
    term = module.loss_terms(batch)["triplet"]
    (maps,) = module.encode(batch)
    pairs = label_pairs(batch["labels"], batch["index"], 0.5)
    expected = unpooled_triplet_loss(maps, *pairs)
    total, count = term.sums()
    torch.testing.assert_close(total, expected.sum())
    assert count == (1 if training else len(maps))
    loss, _ = module.total({"triplet": term})
    torch.testing.assert_close(loss, expected.sum() if training else expected.mean())


def test_without_legacy_the_maps_are_pooled() -> None:
    batch = make_batch()
    plain, legacy = make_module(), make_legacy()
    sums = [m.loss_terms(batch)["triplet"].sums()[0].item() for m in (plain, legacy)]
    assert sums[0] != pytest.approx(sums[1], rel=1e-3)

"""torchvision's detectors walked part by part: their own losses and boxes, film by film."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from diagnosis.detection import OneStage, TwoStage
from diagnosis.published.dualattnet import DualAttNet
from tests.diagnosis.blobs import context_of, lively, make

SIDE = 64
BOXES = [[[8.0, 8.0, 28.0, 30.0], [30.0, 30.0, 60.0, 50.0]], [], [[4.0, 20.0, 40.0, 60.0]]]
CLASSES = [[0, 1], [], [1]]


class Backbone(nn.Module):
    """The network's encoder and pyramid as torchvision wants them."""

    def __init__(self, network: DualAttNet) -> None:
        super().__init__()
        self.network, self.out_channels = network, 16

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        taps = self.network.encoder(image)
        levels = [*taps.levels[:-1], taps.classifier]
        named: dict[str, Tensor] = self.network.pyramid({str(i): x for i, x in enumerate(levels)})
        return named


def films(rows: int = 3, side: int = SIDE) -> Tensor:
    return torch.rand(rows, 1, side, side, generator=torch.Generator().manual_seed(1))


def whole(network: DualAttNet) -> nn.Module:
    """torchvision's own module, its resizing and normalising turned neutral."""
    parts: Any = network.detector.parts
    parts.backbone = Backbone(network)
    parts.transform = GeneralizedRCNNTransform(SIDE, SIDE, [0.0], [1.0], size_divisible=1)
    module: nn.Module = parts
    return module


def targets(shift: int) -> list[dict[str, Tensor]]:
    labels = [torch.tensor(one, dtype=torch.int64) + shift for one in CLASSES]
    boxes = [torch.tensor(one).reshape(-1, 4) for one in BOXES]
    return [{"boxes": b, "labels": c} for b, c in zip(boxes, labels, strict=True)]


@pytest.mark.parametrize(("detector", "shift"), [("retinanet", 0), ("faster_rcnn", 1)])
def test_boxes_are_those_of_torchvision_itself(detector: str, shift: int) -> None:
    network = lively(make(detector=detector, supervision="ila")).eval()
    with torch.no_grad():
        found = network(films())["detections"]
        expected = whole(network)([*films()])
    assert sum(len(one["scores"]) for one in found) > 10
    for one, other in zip(found, expected, strict=True):
        assert len(one["scores"]) <= 100
        assert_close(one["boxes"], other["boxes"])
        assert_close(one["scores"], other["scores"])
        assert torch.equal(one["labels"] + shift, other["labels"])
        assert bool((one["scores"].diff() <= 0).all())
        assert set(one["labels"].tolist()) <= {0, 1}


def test_the_loss_is_the_mean_of_retinanets_own_over_films() -> None:
    network = make(supervision="none").train()
    losses = network(films(), "detect", context_of(BOXES, CLASSES))["losses"]["detection"].values
    own = whole(network)([*films()], targets(0))
    assert losses.shape == (3,)
    assert_close(losses.mean(), sum(own.values()))


def test_the_loss_of_one_film_is_faster_rcnns_own() -> None:
    network = make(detector="faster_rcnn", supervision="none").train()
    context = context_of(BOXES[:1], CLASSES[:1])
    torch.manual_seed(3)  # what is sampled for the loss
    losses = network(films(1), "detect", context)["losses"]["detection"].values
    torch.manual_seed(3)
    own = whole(network)([*films(1)], targets(1)[:1])
    assert set(own) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    assert_close(losses, torch.stack([sum(own.values())]))


@pytest.mark.parametrize("detector", ["retinanet", "faster_rcnn"])
def test_films_without_a_complete_list_are_no_part_of_the_loss(detector: str) -> None:
    network = make(detector=detector, supervision="none").eval()
    known = [True, False, True]
    some = network(films(), "detect", context_of(BOXES, CLASSES, known))["losses"]["detection"]
    every = network(films(), "detect", context_of(BOXES, CLASSES))["losses"]["detection"]
    assert some.values.shape == (2,)
    if detector == "retinanet":
        assert_close(some.values, every.values[[0, 2]])
    # A film with a complete and empty list is a negative: it has a loss.
    assert every.values[1] > 0
    none = network(films(), "detect", context_of(BOXES, CLASSES, [False] * 3))["losses"]
    assert none["detection"].values.numel() == 0
    # Still a graph, so that a process without boxes steps with the others.
    assert none["detection"].values.requires_grad
    assert "detection" not in network(films())["losses"]


def test_validation_losses_of_faster_rcnn_repeat_and_leave_the_mode_and_the_numbers_alone() -> None:
    network = make(detector="faster_rcnn", supervision="none").eval()
    context = context_of(BOXES, CLASSES)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one = network(films(), "detect", context)["losses"]["detection"].values
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(module.training for module in network.modules())
    torch.manual_seed(1)
    assert torch.equal(network(films(), "detect", context)["losses"]["detection"].values, one)


def test_class_maps_are_the_best_anchors_probability_in_each_cell() -> None:
    network = make().eval()
    levels = list(Backbone(network)(films(1)).values())
    found = network.detector(films(1), levels, [None], detect=False)
    assert found.detections is None
    assert found.class_maps is not None
    sizes = [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert [tuple(m.shape) for m in found.class_maps] == [(1, 2, *size) for size in sizes]
    logits = network.detector.parts.head(levels)["cls_logits"][0].sigmoid()
    start = 0
    for part, (height, width) in zip(found.class_maps, sizes, strict=True):
        cells = logits[start : start + height * width * 9].view(height, width, 9, 2)
        start += height * width * 9
        assert_close(part[0, 1, 1, 0], cells[1, 0, :, 1].max())
        assert_close(part[0], cells.max(2).values.permute(2, 0, 1))
    assert start == len(logits)


def test_anchors_are_torchvisions_on_its_own_strides() -> None:
    def sizes(detector: OneStage | TwoStage) -> tuple[tuple[int, ...], ...]:
        parts: Any = detector.parts
        generator = getattr(parts, "anchor_generator", None) or parts.rpn.anchor_generator
        found: tuple[tuple[int, ...], ...] = generator.sizes
        return found

    strides = [2, 4, 8, 16, 32]
    assert sizes(OneStage(2, 16, strides)) == tuple(
        (x, int(x * 2 ** (1 / 3)), int(x * 2 ** (2 / 3))) for x in (32, 64, 128, 256, 512)
    )
    assert sizes(TwoStage(2, 16, strides)) == ((32,), (64,), (128,), (256,), (512,))
    assert sizes(OneStage(2, 16, strides, anchor_scale=0.5))[0] == (16, 20, 25)


def test_faster_rcnn_finds_its_scales_anew_at_each_size() -> None:
    network, fresh = (make(detector="faster_rcnn", supervision="none").eval() for _ in range(2))
    with torch.no_grad():
        network(films(1, 32))
        one, other = network(films())["detections"], fresh(films())["detections"]
    for found, expected in zip(one, other, strict=True):
        assert_close(found["boxes"], expected["boxes"])

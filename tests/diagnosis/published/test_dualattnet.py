"""DualAttNet: attention that supervises and leaves detections alone, targets, the planted blob."""

import math

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from diagnosis.detection_module import monitored_precision
from diagnosis.published.config import DualAttNetConfig
from diagnosis.published.dualattnet import DualPyramid, ImageLevelPyramid, image_targets
from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext, to_density
from saliency.attention.dualattnet import DualAttention, fine_grained_attention
from tests.diagnosis.blobs import context_of, context_of_squares, lively, make
from tests.diagnosis.published.test_systems import AREA, CLASSES, STEPS, blobs, mass_inside

BOXES = [[[8.0, 8.0, 28.0, 30.0]], [], [[4.0, 20.0, 40.0, 60.0]]]
DRAWN = [[0], [], [1]]
SYSTEMS = [("retinanet", "ila_fgda"), ("retinanet", "ila"), ("faster_rcnn", "ila")]


def films(rows: int = 3, side: int = 64) -> Tensor:
    return torch.rand(rows, 1, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("detector", "supervision"), SYSTEMS)
def test_without_the_attention_detections_are_the_same_to_the_last_bit(
    detector: str, supervision: str
) -> None:
    network = lively(make(detector=detector, supervision=supervision)).eval()
    with torch.no_grad():
        with_attention = network(films())
        network.attention = None
        without = network(films())
    assert with_attention["attention"]
    assert without["attention"] == without["attention_logits"] == {}
    assert sum(len(one["boxes"]) for one in without["detections"]) > 0
    for one, other in zip(with_attention["detections"], without["detections"], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in ("boxes", "labels", "scores"))


@pytest.mark.parametrize(("detector", "supervision"), SYSTEMS)
def test_every_parameter_gets_a_gradient(detector: str, supervision: str) -> None:
    network = make(detector=detector, supervision=supervision).train()
    out = network(films(), "detect", context_of(BOXES, DRAWN))
    assert "detections" not in out
    sum(term.values.mean() for term in out["losses"].values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_the_attention_alone_moves_the_pyramid_and_the_class_head_only_if_not_detached() -> None:
    for detach in (False, True):
        network = make(detach_class=detach).train()
        out = network(films(), "detect", context_of(BOXES, DRAWN))
        out["losses"]["image_attention"].values.mean().backward()
        head = network.detector.parts.head.classification_head.cls_logits.weight.grad
        assert (head is None or not head.any()) == detach
        moved = network.pyramid.layer_blocks[0][0].weight.grad
        assert isinstance(moved, Tensor)
        assert moved.abs().sum() > 0


def test_maps_and_logits_are_the_formulas_of_each_level() -> None:
    network = make().eval()
    out = network(films())
    taps = network.encoder(films())
    named = {"0": taps.levels[0], "1": taps.classifier}
    levels = list(network.pyramid(named).values())
    found = network.detector(films(), levels, [None] * 3, detect=False)
    assert isinstance(network.attention, DualPyramid)
    assert found.class_maps is not None
    logits = []
    for number, (module, x, cells) in enumerate(
        zip(network.attention.levels, levels, found.class_maps, strict=True), 1
    ):
        assert isinstance(module, DualAttention)
        share = fine_grained_attention(cells.permute(0, 2, 3, 1)[:, :, :, None])
        overall = module.image_level.gate(x.mean((2, 3), keepdim=True)) * (
            module.image_level.maps(x)
        )
        dual = module.local(x) * share + overall
        assert_close(out["attention"][f"level_{number}"], dual)
        logits.append(dual.sum((2, 3)))
    mean = torch.stack(logits).mean(0)
    assert_close(out["attention_logits"]["image_attention"], mean, rtol=1e-4, atol=1e-4)


def test_image_level_attention_alone_is_the_mean_over_levels() -> None:
    network = make(detector="faster_rcnn", supervision="ila", global_reduce="mean").eval()
    assert isinstance(network.attention, ImageLevelPyramid)
    out = network(films())
    # Two levels of the backbone; the third, which repeats cells, is for proposals only.
    assert [tuple(m.shape[-2:]) for m in out["attention"].values()] == [(16, 16), (8, 8)]
    means = [m.mean((2, 3)) for m in out["attention"].values()]
    assert_close(out["attention_logits"]["image_attention"], (means[0] + means[1]) / 2)


def test_targets_are_the_boxes_then_the_labels() -> None:
    nan = math.nan
    labels = torch.tensor([[nan, 1.0, 0.0], [nan, 1.0, nan], [0.0, nan, nan]])
    context = AttentionContext(
        labels=labels,
        boxes=[torch.zeros(2, 4), torch.zeros(1, 4), torch.zeros(0, 4)],
        box_labels=[torch.tensor([0, 0]), torch.tensor([2]), torch.zeros(0, dtype=torch.int64)],
        boxes_known=torch.tensor([True, False, True]),
    )
    # Drawn twice is once; a stated label holds without a box; silence is 0 in a complete list only.
    expected = torch.tensor([[1.0, 1.0, 0.0], [nan, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert_close(image_targets(context, 3), expected, equal_nan=True)
    assert image_targets(AttentionContext(), 3) is None
    assert image_targets(AttentionContext(labels=labels), 3) is labels


def test_the_attentions_loss_is_over_known_labels_with_or_without_boxes() -> None:
    network = make(supervision="ila").eval()
    nan = math.nan
    labels = torch.tensor([[1.0, nan], [nan, 0.0], [nan, nan]])
    context = context_of([[], [], []], [[], [], []], [False] * 3, labels)
    out = network(films(), "detect", context)
    logits = out["attention_logits"]["image_attention"]
    expected = F.binary_cross_entropy_with_logits(
        torch.stack([logits[0, 0], logits[1, 1]]), torch.tensor([1.0, 0.0]), reduction="none"
    )
    assert_close(out["losses"]["image_attention"].values, expected)
    assert out["losses"]["detection"].values.numel() == 0


@pytest.mark.parametrize("supervision", ["ila_fgda", "ila"])
def test_a_single_film_at_a_level_of_one_cell_can_be_trained_on(supervision: str) -> None:
    network = make(supervision=supervision).train()
    out = network(films(1, 32), "detect", context_of(BOXES[:1], DRAWN[:1]))
    assert out["attention"]["level_4"].shape == (1, 2, 1, 1)
    assert bool(out["losses"]["image_attention"].values.isfinite().all())
    assert all(module.training for module in network.modules())


def test_fine_grained_attention_beside_faster_rcnn_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match="^supervision 'ila_fgda' weighs .*'faster_rcnn' proposes boxes",
    ):
        make(detector="faster_rcnn", supervision="ila_fgda")


def test_a_config_builds_the_network_that_it_describes() -> None:
    fields = DualAttNetConfig().model_dump(exclude={"kind"})
    tiny = {"backbone": "resnet18", "width": 16, "supervision": "ila"}
    network = make(**fields | tiny)
    # Of timm's five levels the last three, and two coarser ones.
    assert network.multiple == 32
    assert [block[0].in_channels for block in network.pyramid.inner_blocks] == [128, 256, 512]
    assert isinstance(network.attention, ImageLevelPyramid)
    assert len(network.attention.levels) == 5
    heads = [name for name in network.state_dict() if name.startswith(network.class_heads)]
    assert "detector.parts.head.classification_head.cls_logits.weight" in heads
    assert any(name.startswith("attention.levels.0") for name in heads)


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "supervision"), SYSTEMS[:2])
def test_h5_planted_blobs_are_boxed_told_and_attended_to(detector: str, supervision: str) -> None:
    network = make(CLASSES, detector=detector, supervision=supervision, width=32)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(STEPS):
        image, labels, squares = blobs(16, step)
        out = network(image, "detect", context_of_squares(labels, squares))
        optimiser.zero_grad()
        loss = torch.stack([term.values.mean() for term in out["losses"].values()]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    image, labels, squares = blobs(128, 10_000)
    context = context_of_squares(labels, squares)
    with torch.no_grad():
        out = network.eval()(image)
    assert roc_auc_score(labels, out["attention_logits"]["image_attention"]) > 0.95
    for level in ("level_1", "level_2", "level_3"):
        assert mass_inside(to_density(out["attention"][level]), labels, squares) >= 3 * AREA
    assert context.boxes is not None
    assert context.box_labels is not None
    truth = [
        {"boxes": b, "labels": c} for b, c in zip(context.boxes, context.box_labels, strict=True)
    ]
    scores = monitored_precision(list(zip(out["detections"], truth, strict=True)))
    assert scores["ap50"] > 0.95
    assert scores["map"] > 0.6

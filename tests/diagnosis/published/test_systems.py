"""The published classifiers: structure, formulas, gaze branches, and the planted-blob check."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from diagnosis.class_activation import class_activation
from diagnosis.losses import asymmetric_shift_focal, binary_cross_entropy
from diagnosis.published.anatomy_xnet import AnatomyXNet
from diagnosis.published.classifier import PublishedClassifier
from diagnosis.published.msaimnet import MSAIMNet
from diagnosis.published.msanet import MSANet
from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext, to_density

SYSTEMS: dict[str, tuple[Callable[..., PublishedClassifier], dict[str, Any]]] = {
    "anatomy_xnet": (AnatomyXNet, {"organs": ("heart", "lungs"), "dropout": 0.0}),
    "msanet": (MSANet, {"width": 16}),
    "msaimnet": (MSAIMNet, {}),
}
MICRO = {"growth_rate": 8, "block_config": [2, 2]}


def make(name: str, classes: int = 3, **options: object) -> PublishedClassifier:
    """A system on a backbone of two blocks: strides 4 and 8."""
    system, defaults = SYSTEMS[name]
    torch.manual_seed(0)
    return system(classes, backbone_options=MICRO, **defaults | options)


def draw(rows: int = 2, size: tuple[int, int] = (40, 24)) -> Tensor:
    return torch.rand(rows, 1, *size, generator=torch.Generator().manual_seed(0))


def masks(rows: int = 2) -> AttentionContext:
    anatomy = torch.zeros(rows, 2, 40, 24)
    anatomy[:, 0, :, :12], anatomy[:, 1, 20:] = 1, 1
    return AttentionContext(anatomy=anatomy, organs=("heart", "lungs"))


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("branch", ["none", "class_map", "decoder"])
@pytest.mark.parametrize("task", ["classify", "saliency", "joint"])
def test_a_task_gets_its_logits_and_no_others(name: str, branch: str, task: str) -> None:
    network = make(name, gaze_branch=branch).eval()
    if branch == "none" and task != "classify":
        with pytest.raises(ConfigError, match="predicts gaze; set gaze_branch of the model"):
            network(draw(), task, masks())
        return
    out = network(draw(), task, masks())
    assert ("class_logits" in out) == (task != "saliency")
    assert ("saliency_logits" in out) == (task != "classify")
    if task != "saliency":
        assert out["class_logits"].shape == (2, 3)
    if task != "classify":
        assert out["saliency_logits"].shape == (2, 1, 40, 24)


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_class_is_enough(name: str) -> None:
    out = make(name, classes=1, gaze_branch="class_map").eval()(draw(), "joint", masks())
    assert out["class_logits"].shape == (2, 1)
    assert out["saliency_logits"].shape == (2, 1, 40, 24)
    labels = torch.tensor([[1.0], [math.nan]])
    values = binary_cross_entropy(out["class_logits"], labels)
    torch.testing.assert_close(values, F.softplus(-out["class_logits"][:1, 0]))


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_trained_parameter_gets_a_gradient_from_the_joint_task(name: str) -> None:
    network = make(name, gaze_branch="decoder")
    out = network(draw(4), "joint", masks(4))
    labels = torch.tensor([[1.0, 0.0, 1.0]] * 2 + [[0.0, 1.0, 0.0]] * 2)
    loss = binary_cross_entropy(out["class_logits"], labels).mean()
    (loss + out["saliency_logits"].square().mean()).backward()
    absent = [n for n, p in network.named_parameters() if p.grad is None]
    assert absent == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_activation_maps_are_the_evidence_of_the_linear_head(name: str) -> None:
    network = make(name).eval()
    out = network(draw(), "classify", masks())
    features, head = out["features"], network.class_head("classify")
    assert isinstance(head, nn.Linear)
    classes = torch.tensor([2, 0])
    found = class_activation(features["classifier"], features["pooled"], head, classes)
    width = features["classifier"].shape[1]
    maps = torch.einsum("kd,bdhw->bkhw", head.weight[:, :width], features["classifier"])
    expected = maps[torch.arange(2), classes][:, None].relu()
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-6)
    if name != "anatomy_xnet":
        torch.testing.assert_close(out["attention"]["class_map"], maps, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(head(features["pooled"]), out["class_logits"])


def test_anatomy_xnet_puts_organs_side_by_side_and_pools_where_classes_are_probable() -> None:
    network = make("anatomy_xnet", mask_weight=0.5).eval()
    assert isinstance(network, AnatomyXNet)
    context = masks()
    assert context.anatomy is not None
    out = network(draw(), "classify", context)
    features = network.encoder(draw()).classifier
    small = F.interpolate(context.anatomy, (5, 3), mode="bilinear", antialias=True)
    parts = [gate(features, small[:, i : i + 1])[0] for i, gate in enumerate(network.gates)]
    both = torch.cat(parts, 1)
    torch.testing.assert_close(out["features"]["classifier"], both)
    local = torch.einsum("kc,bchw->bkhw", network.pooling.classifier.weight, both)
    local = local + network.pooling.classifier.bias[:, None, None]
    p = local.sigmoid() * (0.5 + 0.5 * small.amax(1, keepdim=True))
    weights = p / p.sum((2, 3), keepdim=True)
    torch.testing.assert_close(out["class_logits"], (weights * local).sum((2, 3)))
    torch.testing.assert_close(to_density(out["attention"]["probability"]), weights)
    assert set(out["attention"]) == {"heart", "lungs", "probability"}


def test_anatomy_xnet_without_masks_sees_every_organ_everywhere() -> None:
    network = make("anatomy_xnet").eval()
    ones = AttentionContext(anatomy=torch.ones(2, 2, 40, 24))
    bare, full = network(draw(), "classify"), network(draw(), "classify", ones)
    torch.testing.assert_close(bare["class_logits"], full["class_logits"])
    with pytest.raises(ConfigError, match="name at least one under 'organs'"):
        make("anatomy_xnet", organs=())


def test_msanet_is_the_mean_of_a_head_a_level() -> None:
    network = make("msanet").eval()
    assert isinstance(network, MSANet)
    out = network(draw(), "classify")
    taps = network.encoder(draw())
    fused, _ = network.fusion([taps.levels[0], taps.classifier])
    heads = network.head.weight.chunk(2, 1)  # each level's 1x1 convolution, over two
    expected = network.head.bias + sum(
        torch.einsum("kd,bdhw->bkhw", head, level).mean((2, 3))
        for head, level in zip(heads, fused, strict=True)
    )
    torch.testing.assert_close(out["class_logits"], expected, rtol=1e-4, atol=1e-6)
    assert [tuple(level.shape[-2:]) for level in fused] == [(10, 6), (5, 3)]
    assert set(out["attention"]) == {"gate_1", "class_map"}


def test_b5_msanet_without_iterations_is_the_plain_backbone_head() -> None:
    network = make("msanet", iterations=0).eval()
    assert isinstance(network, MSANet)
    out = network(draw(), "classify")
    projected = network.fusion.projections[0](network.encoder(draw()).classifier)
    torch.testing.assert_close(out["class_logits"], network.head(projected.mean((2, 3))))
    assert out["attention"].keys() == {"class_map"}


def test_msaimnet_starts_as_its_backbone_and_attends_after_each_block() -> None:
    network = make("msaimnet").eval()
    assert isinstance(network, MSAIMNet)
    out = network(draw(), "classify")
    plain = network.encoder(draw()).classifier
    torch.testing.assert_close(out["class_logits"], network.head(plain.mean((2, 3))))
    assert len(network.multiplex) == len(network.integrate) == 2
    assert set(out["attention"]) == {"where_1", "where_2", "class_map"}
    for block in network.multiplex:
        nn.init.ones_(block.project.bias)  # type: ignore[arg-type, union-attr]
    moved = network(draw(), "classify")
    assert not torch.allclose(moved["class_logits"], out["class_logits"])


def test_msaimnet_weighs_places_by_where_it_looks_and_its_class_maps_add_up() -> None:
    network = make("msaimnet").eval()
    assert isinstance(network, MSAIMNet)
    look = network.integrate[-1].get_submodule("look")
    assert isinstance(look, nn.Conv2d)
    nn.init.normal_(look.weight, generator=torch.Generator().manual_seed(1))
    out = network(draw(), "classify")
    where = out["attention"]["where_2"]
    assert where.std() > 0.01
    plain = network.encoder(draw()).classifier  # both blocks are the identity still
    local = torch.einsum("kc,bchw->bkhw", network.head.weight, plain)
    expected = (where * local).sum((2, 3)) / where.sum((2, 3)) + network.head.bias
    torch.testing.assert_close(out["class_logits"], expected, rtol=1e-4, atol=1e-6)
    summed = out["attention"]["class_map"].mean((2, 3)) + network.head.bias
    torch.testing.assert_close(summed, expected, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_built_is_named() -> None:
    with pytest.raises(ConfigError, match="after each block of a DenseNet; 'resnet18' is none"):
        MSAIMNet(2, backbone="resnet18")
    with pytest.raises(ConfigError, match="channels must be a multiple of paths 7"):
        make("msaimnet", paths=7)
    with pytest.raises(ConfigError, match="at least two levels"):
        make("msanet", iterations=0, gaze_branch="decoder")
    with pytest.raises(ConfigError, match=r"multiples of 8, found \(1, 1, 20, 24\)"):
        make("msanet")(draw(1, (20, 24)), "classify")


SIDE, BLOB, CLASSES, STEPS = 64, 16, 2, 200
AREA = BLOB**2 / SIDE**2


def blobs(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, a bright square for the one class in the left half, a dark one in the right half.

    Returns:
        films, labels (B, 2), and the squares (B, 2, H, W), 0 where a class is absent.
    """
    generator = torch.Generator().manual_seed(seed)
    films = 0.5 + 0.1 * torch.randn(rows, 1, SIDE, SIDE, generator=generator)
    labels = (torch.rand(rows, CLASSES, generator=generator) < 0.5).float()
    half = SIDE // 2
    tops = torch.randint(0, SIDE - BLOB, (rows, CLASSES), generator=generator)
    lefts = torch.randint(0, half - BLOB, (rows, CLASSES), generator=generator)
    lefts = lefts + torch.tensor([0, half])
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    down, right = (grid - corner[..., None, None] for grid, corner in ((y, tops), (x, lefts)))
    inside = (down >= 0) & (down < BLOB) & (right >= 0) & (right < BLOB)
    squares = inside * labels[:, :, None, None]
    films = films + 0.3 * (squares[:, :1] - squares[:, 1:])
    return films.clamp(0, 1), labels, squares


def mass_inside(density: Tensor, labels: Tensor, squares: Tensor) -> float:
    """Mean mass of a class's density inside its square, over the films that have it."""
    cells = squares.shape[-1] // density.shape[-1]
    grown = density.repeat_interleave(cells, 2).repeat_interleave(cells, 3) / cells**2
    return float((grown * squares).sum((2, 3))[labels == 1].mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_h5_a_planted_blob_is_found_and_attended_to(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    network = make(name, classes=CLASSES)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    loss = asymmetric_shift_focal if name == "msaimnet" else binary_cross_entropy
    for step in range(STEPS):
        films, labels, _ = blobs(16, step)
        out = network(films, "classify")
        optimiser.zero_grad()
        loss(out["class_logits"], labels).mean().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    films, labels, squares = blobs(128, 10_000)
    with torch.no_grad():
        out = network.eval()(films, "classify")
    assert roc_auc_score(labels.numpy(), out["class_logits"].numpy()) > 0.95
    # One definition for all: the evidence for each class, as it is scored against boxes.
    features, head = out["features"], network.class_head("classify")
    evidence = [
        class_activation(features["classifier"], features["pooled"], head, torch.full((128,), c))
        for c in range(CLASSES)
    ]
    density = to_density(torch.cat(evidence, 1))
    times = mass_inside(density, labels, squares) / AREA
    record_property("times chance", round(times, 1))
    assert times >= 3

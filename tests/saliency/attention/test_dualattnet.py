"""DualAttNet's modules: the fixtures and identities of its section (attention systems, A.6)."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from eye_gaze_data.errors import DataError
from saliency.attention import AttentionContext, AttentionOutput, build
from saliency.attention.dualattnet import (
    DualAttention,
    ImageLevelAttention,
    box_targets,
    fine_grained_attention,
)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make_probabilities(height: int = 5, width: int = 4, anchors: int = 3, k: int = 2) -> Tensor:
    return draw(2, height, width, anchors, k).sigmoid()


def slow_share(probabilities: Tensor) -> Tensor:
    """A loop over images, classes and cells, as the released code has it."""
    b, h, w, anchors, k = probabilities.shape
    out = torch.zeros(b, k, h, w, dtype=probabilities.dtype)
    for i in range(b):
        for c in range(k):
            for y in range(h):
                for x in range(w):
                    values = [float(probabilities[i, y, x, a, c]) for a in range(anchors)]
                    out[i, c, y, x] = max(values)
            out[i, c] /= math.fsum(out[i, c].flatten().tolist())
    return out


@pytest.mark.parametrize(("k", "anchors"), [(1, 1), (1, 9), (3, 1), (4, 9)])
def test_a1_shapes_for_odd_sizes_one_class_and_one_anchor(k: int, anchors: int) -> None:
    torch.manual_seed(0)
    share = fine_grained_attention(make_probabilities(13, 17, anchors, k))
    maps, logits = DualAttention(32, k).double()(draw(2, 32, 13, 17), share)
    assert maps.shape == (2, k, 13, 17)
    assert logits.shape == (2, k)


def test_a2_shares_sum_to_one_and_nothing_at_all_stays_finite() -> None:
    share = fine_grained_attention(make_probabilities().float())
    torch.testing.assert_close(share.sum((2, 3)), torch.ones(2, 2), rtol=0, atol=1e-5)
    assert (fine_grained_attention(torch.zeros(2, 3, 3, 2, 4)) == 0).all()


def test_a3_the_fixture_of_two_anchors() -> None:
    anchors = [[[0.1, 0.2], [0.3, 0.4]], [[0.5, 0.1], [0.1, 0.05]]]
    probabilities = torch.tensor(anchors, dtype=torch.float64).permute(1, 2, 0)[None, ..., None]
    share = fine_grained_attention(probabilities)
    expected = torch.tensor([[0.357143, 0.142857], [0.214286, 0.285714]], dtype=torch.float64)
    torch.testing.assert_close(share[0, 0], expected, rtol=0, atol=1e-6)
    z = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    assert float((z * share[0, 0]).sum()) == pytest.approx(2.428571, abs=1e-6)


def test_a4_agrees_with_the_loop() -> None:
    probabilities = make_probabilities()
    torch.testing.assert_close(fine_grained_attention(probabilities), slow_share(probabilities))


def test_a5_the_order_of_anchors_does_not_matter() -> None:
    probabilities = make_probabilities()
    turned = probabilities[:, :, :, torch.tensor([2, 0, 1])]
    assert torch.equal(fine_grained_attention(probabilities), fine_grained_attention(turned))


@pytest.mark.parametrize("detach", [False, True])
def test_a6_gradient_reaches_the_features_and_the_class_head_only_if_wanted(detach: bool) -> None:
    torch.manual_seed(0)
    module = build("dual_attention", [16], classes=2, detach_class=detach).double()
    x, cells = draw(2, 16, 5, 4).requires_grad_(), draw(2, 2, 5, 4).requires_grad_()
    out = module([x], AttentionContext(class_maps=(cells.sigmoid(),)))
    assert isinstance(out, AttentionOutput)
    assert out.logits is not None
    grads = torch.autograd.grad(out.logits.sum(), [x, cells], allow_unused=True)
    assert grads[0] is not None
    assert grads[0].abs().sum() > 0
    assert (grads[1] is None) == detach
    level = DualAttention(16, 2).double()
    share = fine_grained_attention(make_probabilities(5, 4))
    terms = [level.image_level(x), level.local(x) * share]
    for term in terms:
        (gradient,) = torch.autograd.grad(term.sum(), x)
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize("use", ["image_level_attention", "dual_attention"])
def test_a7_without_the_module_the_features_are_the_same(use: str) -> None:
    levels = [draw(2, 16, 5, 4), draw(2, 16, 3, 2)]
    channels: int | list[int] = [16, 16] if use == "dual_attention" else 16
    module = build(use, channels, classes=2).double().eval()
    context = AttentionContext(class_maps=tuple(draw(2, 2, 5, 4).sigmoid() for _ in levels))
    if use == "dual_attention":
        found = module(levels, context).features
        assert all(one is two for one, two in zip(found, levels, strict=True))
    else:
        assert module(levels[0], context).features is levels[0]


def test_a8_targets_of_boxes_ignore_padding_and_count_a_class_once() -> None:
    rows = [torch.tensor([2, -1, 2, 0]), torch.tensor([], dtype=torch.int64), torch.tensor([-1])]
    assert box_targets(rows, 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_image_level_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    module, x = ImageLevelAttention(32, 3).double().eval(), draw(2, 32, 5, 4)
    state = module.state_dict()
    w1, w2, w3 = (state[f"{name}.weight"][:, :, 0, 0] for name in ("maps.0", "gate.0", "gate.2"))
    assert w2.shape == (2, 32)  # 32 / 16
    u = torch.einsum("kc,bchw->bkhw", w1, x) / math.sqrt(1 + 1e-5)  # fresh statistics: 0 and 1
    gate = ((x.mean((2, 3)) @ w2.T).clamp_min(0) @ w3.T).sigmoid()
    torch.testing.assert_close(module(x), gate[:, :, None, None] * u.clamp_min(0))


@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_logits_are_the_sum_of_the_dual_map_or_take_the_mean_of_the_global_one(reduce: str) -> None:
    torch.manual_seed(0)
    module = build("dual_attention", [16], classes=2, global_reduce=reduce).double()
    x, cells = draw(2, 16, 5, 4), draw(2, 2, 5, 4).sigmoid()
    out = module([x], AttentionContext(class_maps=(cells,)))
    level = module.get_submodule("levels.0")
    assert isinstance(level, DualAttention)
    overall = level.image_level(x)
    local = (level.local(x) * cells / cells.sum((2, 3), keepdim=True)).sum((2, 3))
    torch.testing.assert_close(out.maps["level_1"].sum((2, 3)), local + overall.sum((2, 3)))
    share = overall.sum((2, 3)) / (1 if reduce == "sum" else 20)
    assert out.logits is not None
    torch.testing.assert_close(out.logits, local + share)


def test_the_logits_of_levels_are_averaged_and_class_maps_resized() -> None:
    torch.manual_seed(0)
    module = build("dual_attention", [16, 16], classes=2).double().eval()
    levels = [draw(2, 16, 6, 4), draw(2, 16, 3, 2)]
    small = draw(2, 2, 3, 2).sigmoid()
    both = module(levels, AttentionContext(class_maps=(small, small)))
    grown = F.interpolate(small, (6, 4), mode="bilinear", align_corners=True)
    single = [
        part(level, cells / cells.sum((2, 3), keepdim=True))[1]
        for part, level, cells in zip(module.levels, levels, (grown, small), strict=True)  # type: ignore[arg-type]
    ]
    assert both.logits is not None
    torch.testing.assert_close(both.logits, (single[0] + single[1]) / 2)


def test_the_loss_is_over_stated_labels_or_the_classes_of_complete_boxes() -> None:
    nan = math.nan
    labels = torch.tensor([[1.0, nan], [0.0, 1.0]], dtype=torch.float64)
    x, cells = draw(2, 16, 5, 4), draw(2, 2, 5, 4).sigmoid()
    torch.manual_seed(0)
    module = build("dual_attention", [16], classes=2).double().eval()
    context = AttentionContext(class_maps=(cells,), labels=labels)
    out = module([x], context)
    assert out.logits is not None
    z = out.logits.detach()
    stated = [F.softplus(-z[0, 0]), F.softplus(z[1, 0]), F.softplus(-z[1, 1])]
    torch.testing.assert_close(out.losses["image_attention"].values, torch.stack(stated))
    drawn = AttentionContext(
        class_maps=(cells,),
        labels=labels,
        box_labels=[torch.tensor([1]), torch.tensor([0])],
        boxes_known=torch.tensor([True, False]),
    )
    found = module([x], drawn).losses["image_attention"].values
    expected = [
        F.softplus(z[0, 0]),
        F.softplus(-z[0, 1]),
        F.softplus(z[1, 0]),
        F.softplus(-z[1, 1]),
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="channels must be at least 16, found 8"):
        ImageLevelAttention(8, 2)
    with pytest.raises(ValueError, match="classes must be at least 1, found 0"):
        ImageLevelAttention(16, 0)
    with pytest.raises(DataError, match=r"0 or above, found -0.5: give probabilities, not logits"):
        fine_grained_attention(torch.full((1, 2, 2, 1, 1), -0.5))
    module, x = build("dual_attention", [16], classes=2), torch.zeros(2, 16, 3, 3)
    with pytest.raises(DataError, match=r"1 class maps of 2 classes, found maps of \[3\] classes"):
        module([x], AttentionContext(class_maps=(torch.zeros(2, 3, 3, 3),)))
    with pytest.raises(DataError, match=r"found maps of \[\] classes"):
        module([x], AttentionContext())
    labels = torch.zeros(2, 5)
    with pytest.raises(DataError, match=r"built for 2 class\(es\), the batch has labels \(2, 5\)"):
        build("image_level_attention", 16, classes=2)(x, AttentionContext(labels=labels))

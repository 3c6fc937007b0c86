"""A3 and PWAP: the identities and fixtures of their section (attention systems, D.1, D.2, D.5)."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from eye_gaze_data.errors import ConfigError, DataError
from saliency.attention import AttentionContext, AttentionOutput, build, to_density
from saliency.attention.anatomy_xnet import AnatomyGate, ProbabilisticPooling, organ_mask


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def make_gate(channels: int = 6, **options: object) -> AnatomyGate:
    torch.manual_seed(0)
    return AnatomyGate(channels, **options).double().eval()  # type: ignore[arg-type]


def attend(anatomy: Tensor | None, features: Tensor, organs: int = 1) -> AttentionOutput:
    torch.manual_seed(0)
    module = build("anatomy_aware", features.shape[1], organs=organs).double().eval()
    out: AttentionOutput = module(features, AttentionContext(anatomy=anatomy))
    return out


def test_the_gate_is_its_formula() -> None:
    gate, x, mask = make_gate(), draw(2, 6, 5, 4).relu(), draw(2, 1, 5, 4).sigmoid()
    state, masked = gate.state_dict(), x * mask
    s = [x.mean((2, 3)), x.flatten(2).max(2).values, masked.flatten(2).max(2).values]
    s += [masked.mean((2, 3))]
    e = sum(
        F.leaky_relu(v @ state[f"squeeze.{i}.weight"].T + state[f"squeeze.{i}.bias"], 0.2)
        for i, v in enumerate(s)
    )
    w = (e @ state["excite.weight"].T + state["excite.bias"]).sigmoid()
    out, found = gate(x, mask)
    torch.testing.assert_close(found, w)
    w = w[:, :, None, None]
    torch.testing.assert_close(out, w * masked + (1 - w) * x)


def test_parameters_at_full_width_are_five_square_maps() -> None:
    weights = [p.numel() for p in AnatomyGate(1024).parameters() if p.ndim == 2]
    assert weights == [1024 * 1024] * 5


def test_d1_a_mask_of_ones_changes_nothing_whatever_the_gate() -> None:
    x = draw(2, 6, 5, 4)
    out, gate = make_gate()(x, torch.ones(2, 1, 5, 4, dtype=torch.float64))
    torch.testing.assert_close(out, x, rtol=1e-14, atol=1e-15)
    assert gate.std() > 0


def test_d1_a_mask_of_zeros_leaves_what_the_gate_does_not_take() -> None:
    x = draw(2, 6, 5, 4)
    out, gate = make_gate()(x, torch.zeros(2, 1, 5, 4, dtype=torch.float64))
    assert torch.equal(out, (1 - gate[:, :, None, None]) * x)


def test_d2_a_fine_mask_and_its_averages_give_close_results() -> None:
    y, x = torch.meshgrid(torch.arange(512.0), torch.arange(512.0), indexing="ij")
    disc = ((y - 250).hypot(x - 200) < 140).double()[None, None]
    reduced = F.avg_pool2d(disc, 32)
    fine, coarse = (organ_mask(m, 0, (16, 16)) for m in (disc, reduced))
    # Bilinear with antialias is a tent two cells wide: it differs from the box at the edge alone.
    assert (fine - coarse).abs().mean().item() < 0.02
    features = draw(1, 6, 16, 16)
    one, other = (attend(m, features).features for m in (disc, reduced))
    assert isinstance(one, Tensor)
    assert isinstance(other, Tensor)
    assert ((one - other).abs().mean() / features.abs().mean()).item() < 0.02
    masks = {size: float(organ_mask(disc, 0, (size, size)).mean()) for size in (16, 64, 512)}
    assert masks == pytest.approx(dict.fromkeys(masks, float(disc.mean())), rel=1e-2)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf])
def test_d2_a_value_out_of_range_is_refused(value: float) -> None:
    anatomy = torch.ones(2, 2, 6, 6, dtype=torch.float64)
    anatomy[1, 1, 2, 3] = value
    with pytest.raises(DataError, match=r"organ masks must lie in \[0, 1\].*in the plane 2"):
        attend(anatomy, draw(2, 6, 3, 3), organs=2)


def test_d3_logits_are_the_weighted_sum_of_local_logits() -> None:
    torch.manual_seed(0)
    pooling, x = ProbabilisticPooling(6, 3).double(), draw(2, 6, 5, 4)
    u, b = pooling.classifier.weight, pooling.classifier.bias
    local = torch.einsum("kc,bchw->bkhw", u, x) + b[:, None, None]
    weights = local.sigmoid() / local.sigmoid().sum((2, 3), keepdim=True)
    pooled = torch.einsum("bkhw,bchw->bkc", weights, x)
    z, found, probability = pooling(x)
    torch.testing.assert_close(found, local)
    torch.testing.assert_close(z, (weights * local).sum((2, 3)))
    torch.testing.assert_close(z, torch.einsum("kc,bkc->bk", u, pooled) + b)
    torch.testing.assert_close(to_density(probability), weights)


def test_d3_the_fixture() -> None:
    pooling = ProbabilisticPooling(2, 1).double()
    with torch.no_grad():
        pooling.classifier.weight.copy_(torch.tensor([[1.0, -1.0]]))
        pooling.classifier.bias.fill_(0.5)
    x = torch.tensor([[[0.0, 1], [2, 3]], [[3, 0], [1, 0]]], dtype=torch.float64)[None]
    z, local, probability = pooling(x)
    assert local[0, 0].tolist() == [[-2.5, 1.5], [1.5, 3.5]]
    weights = to_density(probability)[0, 0]
    expected = torch.tensor([[0.028287, 0.304872], [0.304872, 0.361968]], dtype=torch.float64)
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)
    assert (weights * x[0]).sum((1, 2)).tolist() == pytest.approx([2.000521, 0.389734], abs=1e-6)
    assert z.item() == pytest.approx(2.110786, abs=1e-6)


def test_d3_a_constant_map_is_pooled_by_its_mean() -> None:
    torch.manual_seed(0)
    pooling, x = ProbabilisticPooling(6, 3).double(), draw(2, 6, 1, 1).expand(2, 6, 5, 4)
    z, _, _ = pooling(x)
    torch.testing.assert_close(z, pooling.classifier(x.mean((2, 3))))


def test_d3_pixels_can_be_permuted_and_the_map_has_the_features_grid() -> None:
    torch.manual_seed(0)
    pooling, x = ProbabilisticPooling(6, 3).double(), draw(2, 6, 5, 4)
    mixed = x.flatten(2)[:, :, torch.randperm(20)].view_as(x)
    torch.testing.assert_close(pooling(x)[0], pooling(mixed)[0])
    assert pooling(x)[2].shape == (2, 3, 5, 4)


def test_d4_without_masks_every_organ_is_ones_and_rows_can_be_mixed() -> None:
    x, mask = draw(2, 6, 3, 3), draw(2, 2, 12, 12).sigmoid()
    known = attend(mask, x, organs=2).features
    assert isinstance(known, Tensor)
    ones = attend(torch.ones_like(mask), x, organs=2)
    torch.testing.assert_close(attend(None, x, organs=2).features, ones.features)
    torch.testing.assert_close(ones.features, x)
    mixed = mask.clone()
    mixed[1] = torch.nan
    found = attend(mixed, x, organs=2).features
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found[0], known[0])
    torch.testing.assert_close(found[1], x[1])
    half = mask.clone()
    half[0, 1], half[1, 0] = torch.nan, torch.nan
    filled = half.nan_to_num(1.0)
    torch.testing.assert_close(attend(half, x, organs=2).features, attend(filled, x, 2).features)


def test_organs_are_averaged_and_named() -> None:
    torch.manual_seed(0)
    module, x = build("anatomy_aware", 6, organs=2).double().eval(), draw(2, 6, 3, 3)
    mask = draw(2, 2, 3, 3).sigmoid()
    out = module(x, AttentionContext(anatomy=mask, organs=("heart", "lungs")))
    parts = [gate(x, mask[:, i : i + 1]) for i, gate in enumerate(module.gates)]  # type: ignore[arg-type]
    torch.testing.assert_close(out.features, (parts[0][0] + parts[1][0]) / 2)
    assert list(out.maps) == ["heart", "lungs"]
    weighed = parts[1][1].mean(1)[:, None, None, None] * mask[:, 1:]
    torch.testing.assert_close(out.maps["lungs"], weighed)
    assert list(module(x, AttentionContext(anatomy=mask)).maps) == ["organ_1", "organ_2"]


@pytest.mark.parametrize("where", ["pre", "post"])
def test_a_dropped_gate_passes_the_features_and_a_kept_one_may_exceed_one(where: str) -> None:
    gate, x = make_gate(gate_dropout=where, dropout=0.5).train(), draw(64, 6, 3, 3)
    with torch.no_grad():
        gate.excite.bias.fill_(5.0)
    torch.manual_seed(0)
    weights = gate(x, torch.zeros(64, 1, 3, 3, dtype=torch.float64))[1]
    if where == "post":
        assert set((weights == 0).flatten().tolist()) == {True, False}
        assert 1.9 < weights.max().item() <= 2
    else:
        assert set((weights == 0.5).flatten().tolist()) == {True, False}  # sigmoid(0)
        assert weights.max().item() < 1


def test_a_mask_draws_the_pooling_to_the_organ() -> None:
    torch.manual_seed(0)
    x, mask = draw(2, 6, 5, 4), torch.zeros(2, 1, 5, 4, dtype=torch.float64)
    mask[..., :2] = 1
    pooling = ProbabilisticPooling(6, 3, mask_weight=1.0).double()
    z, _, probability = pooling(x, mask)
    assert (probability[..., 2:] == 0).all()
    pooling.mask_weight = 0.0
    torch.testing.assert_close(z, pooling(x[..., :2])[0])
    pooling.mask_weight = 0.5
    torch.testing.assert_close(pooling(x, mask)[2][..., 2:], 0.5 * pooling(x)[2][..., 2:])


def test_the_loss_at_a_site_is_over_stated_labels() -> None:
    torch.manual_seed(0)
    module, x = build("probabilistic_pooling", 6, classes=2).double(), draw(2, 6, 5, 4)
    labels = torch.tensor([[1.0, math.nan], [math.nan, 0.0]], dtype=torch.float64)
    out = module(x, AttentionContext(labels=labels))
    assert out.features is x
    z = out.logits
    assert z is not None
    values = out.losses["pooled_classes"].values
    torch.testing.assert_close(values, torch.stack([F.softplus(-z[0, 0]), F.softplus(z[1, 1])]))
    assert module(x, AttentionContext()).losses == {}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"built for 1 organ\(s\), the batch has 3"):
        attend(torch.ones(2, 3, 4, 4), draw(2, 6, 3, 3))
    for use, options, message in (
        ("anatomy_aware", {"organs": 0}, "organs must be at least 1, found 0"),
        ("anatomy_aware", {"ratio": 0.0}, "ratio must be above 0, found 0.0"),
        ("probabilistic_pooling", {"classes": 0}, "classes must be at least 1, found 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(use, 6, **options)
    with pytest.raises(ValueError, match=r"mask_weight must lie in \[0, 1\], found 2"):
        ProbabilisticPooling(6, 2, 2.0)

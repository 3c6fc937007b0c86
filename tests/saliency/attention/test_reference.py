"""Squeeze-and-excitation, CBAM and scSE against their papers' formulas, with the same weights."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext, AttentionModule, build

SIZES = [(5, 7), (8, 8), (1, 1), (3, 16)]


def make(
    use: str, size: tuple[int, int] = (5, 7)
) -> tuple[AttentionModule, dict[str, Tensor], Tensor]:
    """A module in float64, its parameters and buffers, and features."""
    torch.manual_seed(0)
    module = build(use, 12, reduction=4).double()
    state: dict[str, Tensor] = dict(module.named_parameters()) | dict(module.named_buffers())
    return module, state, torch.randn(3, 12, *size, dtype=torch.float64).requires_grad_()


def perceptron(pooled: Tensor, state: dict[str, Tensor], place: str, *, biased: bool) -> Tensor:
    """Two linear maps with a ReLU between, over (B, C)."""
    one, two = state[f"{place}fc1.weight"][:, :, 0, 0], state[f"{place}fc2.weight"][:, :, 0, 0]
    hidden = pooled @ one.T + (state[f"{place}fc1.bias"] if biased else 0)
    return hidden.clamp_min(0) @ two.T + (state[f"{place}fc2.bias"] if biased else 0)


def slow_se(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    return x * perceptron(x.mean((2, 3)), state, "block.", biased=True).sigmoid()[:, :, None, None]


def slow_cbam(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    place = "block.channel."
    mean = perceptron(x.mean((2, 3)), state, place, biased=False)
    top = perceptron(x.flatten(2).max(2).values, state, place, biased=False)
    x = x * (mean + top).sigmoid()[:, :, None, None]
    both = torch.stack([x.mean(1), x.max(1).values], 1)
    place = "block.spatial.conv."
    kernel = state[f"{place}conv.weight"]
    score = F.conv2d(both, kernel, padding=kernel.shape[-1] // 2)
    mean, var = score.mean(), score.var(correction=0)
    score = (score - mean) / (var + 1e-5).sqrt() * state[f"{place}bn.weight"]
    return x * (score + state[f"{place}bn.bias"]).sigmoid()


def slow_scse(x: Tensor, state: dict[str, Tensor]) -> Tensor:
    def linear(values: Tensor, place: str) -> Tensor:
        return values @ state[f"{place}.weight"][:, :, 0, 0].T + state[f"{place}.bias"]

    hidden = linear(x.mean((2, 3)), "block.cSE.1").clamp_min(0)
    channel = linear(hidden, "block.cSE.3").sigmoid()[:, :, None, None]
    spatial = linear(x.movedim(1, 3), "block.sSE.0").sigmoid().movedim(3, 1)
    return x * channel + x * spatial


SLOW = {"se": slow_se, "cbam": slow_cbam, "scse": slow_scse}


@pytest.mark.parametrize("use", SLOW)
@pytest.mark.parametrize("size", SIZES)
def test_agrees_with_the_paper_in_value_and_gradient(use: str, size: tuple[int, int]) -> None:
    module, state, x = make(use, size)
    out = module(x, AttentionContext())
    expected = SLOW[use](x, state)
    assert out.features.shape == x.shape
    torch.testing.assert_close(out.features, expected, rtol=1e-10, atol=1e-12)
    weights = torch.randn_like(x)
    leaves = [x, *module.parameters()]
    found = torch.autograd.grad((out.features * weights).sum(), leaves)
    slow = torch.autograd.grad((expected * weights).sum(), leaves)
    for one, other in zip(found, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("use", SLOW)
def test_the_exported_map_is_the_magnitude_of_the_result(use: str) -> None:
    module, _, x = make(use)
    out = module(x, AttentionContext())
    assert list(out.maps) == ["magnitude"]
    expected = sum(out.features[:, c : c + 1].abs() for c in range(12)) / 12
    torch.testing.assert_close(out.maps["magnitude"], expected)
    assert out.logits is None
    assert out.losses == {}


@pytest.mark.parametrize("use", SLOW)
def test_a_state_dict_restores_the_module(use: str) -> None:
    module, _, x = make(use)
    module(x, AttentionContext())  # the norm's statistics have moved
    other = build(use, 12, reduction=4).double()
    other.load_state_dict(module.state_dict())
    one, two = (m.eval()(x, AttentionContext()).features for m in (module, other))
    assert torch.equal(one, two)


def test_a_list_of_maps_is_refused() -> None:
    module, _, x = make("se")
    with pytest.raises(TypeError, match="expected one feature map, found a list"):
        module([x], AttentionContext())


@pytest.mark.parametrize(
    ("use", "options", "message"),
    [
        ("se", {"reduction": 0}, "reduction must be at least 1, found 0"),
        ("cbam", {"kernel_size": 4}, "kernel_size must be odd to keep the size, found 4"),
        ("cbam", {"kernel_size": -1}, "kernel_size must be at least 1, found -1"),
        ("scse", {"reduction": 16}, "channels must be at least reduction 16, found 12"),
    ],
)
def test_options_that_cannot_work_are_refused(
    use: str, options: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"attention module '{use}': {message}"):
        build(use, 12, **options)

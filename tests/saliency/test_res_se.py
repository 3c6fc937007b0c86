"""Encoder B against convolutions written as sums of shifts, and in both memory layouts."""

import math

import pytest
import torch
from torch import Tensor, nn

from saliency.res_se import ResSEBlock, ResSEEncoder

FULL = (64, 128, 256, 512, 1024)
STAGES = (38_976, 297_856, 1_189_632, 4_754_944, 19_012_608)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3x3 convolution, stride 1, padding 1: the sum of nine shifted 1x1 maps."""
    height, width = x.shape[-2:]
    padded = x.new_zeros(*x.shape[:2], height + 2, width + 2)
    padded[:, :, 1:-1, 1:-1] = x
    shifted = [
        torch.einsum(
            "oi,bihw->bohw", weight[:, :, i, j], padded[..., i : i + height, j : j + width]
        )
        for i in range(3)
        for j in range(3)
    ]
    return torch.stack(shifted).sum(0) + bias[:, None, None]


def norm(x: Tensor, state: dict[str, Tensor], name: str, *, training: bool) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if training:
        mean, var = x.mean((0, 2, 3)), ((x - x.mean((0, 2, 3), True)) ** 2).mean((0, 2, 3))
    scaled = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
    return scaled * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]


def slow_block(block: nn.Module, x: Tensor) -> Tensor:
    """Section 1.3 of the main system's spec, word by word."""
    state: dict[str, Tensor] = dict(block.named_parameters()) | dict(block.named_buffers())

    def conv(features: Tensor, name: str) -> Tensor:
        return conv3x3(features, state[f"{name}.weight"], state[f"{name}.bias"])

    y = norm(conv(x, "residual.0"), state, "residual.1", training=block.training).relu()
    y = norm(conv(y, "residual.3"), state, "residual.4", training=block.training)
    y = (y + conv(x, "shortcut")).relu()
    means = y.flatten(2).sum(2) / math.prod(y.shape[2:])
    squeezed = (means @ state["excitation.0.weight"].T).relu()
    gate = 1 / (1 + torch.exp(-(squeezed @ state["excitation.2.weight"].T)))
    return torch.einsum("bchw,bc->bchw", y, gate)


def halve(x: Tensor) -> Tensor:
    """2x2 max-pooling."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, channels, height // 2, 2, width // 2, 2).amax((3, 5))


def slow_encoder(encoder: ResSEEncoder, image: Tensor) -> list[Tensor]:
    levels: list[Tensor] = []
    for stage in encoder.stages:
        levels.append(slow_block(stage, halve(levels[-1]) if levels else image))
    return levels


def make_encoder(in_channels: int = 1) -> ResSEEncoder:
    torch.manual_seed(0)
    encoder = ResSEEncoder((8, 16, 32), in_channels)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return encoder.double()


def test_the_full_encoder_has_the_size_of_the_spec() -> None:
    with torch.device("meta"):
        encoder = ResSEEncoder(FULL)
    sizes = tuple(sum(p.numel() for p in stage.parameters()) for stage in encoder.stages)
    assert sizes == STAGES
    assert sum(p.numel() for p in encoder.parameters()) == 25_294_016
    assert encoder.channels == FULL


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("in_channels", [1, 3])
def test_agrees_with_sums_of_shifts_in_value_and_gradient(training: bool, in_channels: int) -> None:
    encoder = make_encoder(in_channels).train(training)
    image = torch.rand(2, in_channels, 16, 24, dtype=torch.float64, requires_grad=True)
    found, expected = encoder(image), slow_encoder(encoder, image)
    weights = [torch.randn_like(level) for level in found]
    leaves = [image, *encoder.parameters()]
    gradients = []
    for levels in (found, expected):
        loss = torch.stack([(w * x).sum() for w, x in zip(weights, levels, strict=True)]).sum()
        gradients.append(torch.autograd.grad(loss, leaves))
    for level, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.shape == (2, (8, 16, 32)[level], 16 >> level, 24 >> level)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_attention_enters_behind_each_stage_and_before_the_pooling() -> None:
    encoder = make_encoder().eval()
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    calls: list[tuple[int, int]] = []

    def refine(level: int, features: Tensor) -> Tensor:
        calls.append((level, features.shape[1]))
        return features * 3 if level == 2 else features

    plain, changed = encoder(image), encoder(image, refine)
    assert calls == [(1, 8), (2, 16), (3, 32)]
    assert torch.equal(changed[0], plain[0])
    assert torch.equal(changed[1], 3 * plain[1])
    expected = slow_block(encoder.stages[2], halve(3 * plain[1]))
    torch.testing.assert_close(changed[2], expected)


@pytest.mark.parametrize(
    ("channels", "reduction", "squeezed"), [(64, 16, 4), (8, 16, 1), (8, 3, 2)]
)
def test_the_squeeze_keeps_at_least_one_channel(
    channels: int, reduction: int, squeezed: int
) -> None:
    squeeze = ResSEBlock(1, channels, reduction).excitation[0]
    shapes = {name: tuple(p.shape) for name, p in squeeze.named_parameters()}
    assert shapes == {"weight": (squeezed, channels)}


def test_no_convolution_meets_the_fault_of_onednn() -> None:
    """Strided 1x1 on fewer than 8 channels in channels_last: wrong gradients, or a crash."""
    for module in ResSEEncoder((8, 16)).modules():
        if isinstance(module, nn.Conv2d):
            assert (module.kernel_size, module.stride) == ((3, 3), (1, 1))


def test_gradients_are_the_same_in_channels_last() -> None:
    torch.manual_seed(0)
    encoder = ResSEEncoder((8, 16)).eval()  # in training a bias before a norm has no gradient
    image = torch.rand(3, 1, 32, 32)
    weights = [torch.randn(3, 8, 32, 32), torch.randn(3, 16, 16, 16)]
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        encoder = encoder.to(memory_format=layout)
        leaf = image.clone(memory_format=layout).requires_grad_()
        levels = encoder(leaf)
        loss = torch.stack([(w * x).sum() for w, x in zip(weights, levels, strict=True)]).sum()
        gradients.append(torch.autograd.grad(loss, [leaf, *encoder.parameters()]))
    for one, other in zip(*gradients, strict=True):
        scale = float(one.abs().max())
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * scale)

"""The decoder and the saliency head against functions of the same weights."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from saliency.decoder import Decoder, SaliencyHead

FULL = (64, 128, 256, 512, 1024)


def block(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """3x3 convolution with bias, norm over the batch, ReLU."""
    x = F.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=1)
    mean, var = x.mean((0, 2, 3), True), x.var((0, 2, 3), correction=0, keepdim=True)
    x = (x - mean) / (var + 1e-5).sqrt() * state[f"{name}.1.weight"][:, None, None]
    return (x + state[f"{name}.1.bias"][:, None, None]).clamp_min(0)


def slow_decoder(decoder: Decoder, bottleneck: Tensor, skips: list[Tensor]) -> list[Tensor]:
    """Section 1.4 of the spec: nearest x2, block, concat [skip, up], two blocks."""
    state: dict[str, Tensor] = dict(decoder.named_parameters())
    x = bottleneck
    levels: list[Tensor] = []
    for number in reversed(range(len(skips))):
        place = f"levels.{number}"
        up = block(x.repeat_interleave(2, 2).repeat_interleave(2, 3), state, f"{place}.up.1")
        merged = block(torch.cat([skips[number], up], 1), state, f"{place}.merge.0")
        x = block(merged, state, f"{place}.merge.1")
        levels.insert(0, x)
    return levels


def make_inputs(channels: int, widths: tuple[int, ...]) -> tuple[Tensor, list[Tensor]]:
    generator = torch.Generator().manual_seed(0)

    def draw(width: int, height: int) -> Tensor:
        shape = (2, width, height, height + height // 2)
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    size = 2 ** len(widths)
    skips = [draw(width, 2 * size >> level) for level, width in enumerate(widths)]
    return draw(channels, 2), skips


def test_the_full_decoder_has_the_size_of_the_spec() -> None:
    with torch.device("meta"):
        decoder = Decoder(1920, FULL)
        head, plain = SaliencyHead(64), SaliencyHead(64, plain=True)
    assert sum(p.numel() for p in decoder.parameters()) == 23_086_080
    assert sum(p.numel() for p in head.parameters()) == 37_121
    assert sum(p.numel() for p in plain.parameters()) == 65
    assert decoder.channels == (64, 64, 128, 256, 512)
    assert decoder.out_channels == 64
    shapes = {name: tuple(p.shape) for name, p in decoder.named_parameters()}
    merges = [shapes[f"levels.{level}.merge.0.0.weight"] for level in range(5)]
    assert [shape[1] for shape in merges] == [128, 192, 384, 768, 1536]
    ups = [shapes[f"levels.{level}.up.1.0.weight"] for level in range(5)]
    assert [shape[1] for shape in ups] == [64, 128, 256, 512, 1920]


@pytest.mark.parametrize("widths", [(5,), (4, 6), (4, 6, 10)])
def test_agrees_with_the_spec_in_value_and_gradient(widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    decoder = Decoder(7, widths).double()
    bottleneck, skips = make_inputs(7, widths)
    found, expected = decoder(bottleneck, skips), slow_decoder(decoder, bottleneck, skips)
    weights = [torch.randn_like(level) for level in found]
    leaves = [bottleneck, *skips, *decoder.parameters()]
    gradients = []
    for levels in (found, expected):
        loss = torch.stack([(w * x).sum() for w, x in zip(weights, levels, strict=True)]).sum()
        gradients.append(torch.autograd.grad(loss, leaves))
    for one, other, skip, width in zip(found, expected, skips, decoder.channels, strict=True):
        assert one.shape == (2, width, *skip.shape[2:])
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_attention_enters_behind_each_level_from_the_coarsest_on() -> None:
    decoder = Decoder(7, (4, 6)).double().eval()
    bottleneck, skips = make_inputs(7, (4, 6))
    calls: list[tuple[int, int]] = []

    def refine(level: int, features: Tensor) -> Tensor:
        calls.append((level, features.shape[-2]))
        return features * 2 if level == 2 else features

    plain, changed = decoder(bottleneck, skips), decoder(bottleneck, skips, refine)
    assert calls == [(2, 4), (1, 8)]
    assert torch.equal(changed[1], 2 * plain[1])
    assert torch.equal(changed[0], decoder.levels[0](2 * plain[1], skips[0]))


@pytest.mark.parametrize("plain", [True, False])
def test_the_head_gives_logits(plain: bool) -> None:
    torch.manual_seed(0)
    head = SaliencyHead(6, plain=plain).double()
    features = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    state: dict[str, Tensor] = dict(head.named_parameters())
    hidden, last = (features, "0") if plain else (block(features, state, "0"), "1")
    weight, bias = state[f"{last}.weight"][0, :, 0, 0], state[f"{last}.bias"]
    expected = torch.einsum("c,bchw->bhw", weight, hidden)[:, None] + bias
    torch.testing.assert_close(head(features), expected)
    assert head(features).min() < 0  # no activation behind it

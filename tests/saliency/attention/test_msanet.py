"""Iterative multi-scale fusion against its formula written out (attention systems, B.2)."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext, build
from saliency.attention.msanet import IterativeFusion

SIZES = [(9, 7), (5, 4), (3, 2)]  # fine to coarse
CHANNELS = [4, 6, 8]


def make_levels() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = zip(CHANNELS, SIZES, strict=True)
    return [torch.randn(2, c, *s, generator=generator, dtype=torch.float64) for c, s in shapes]


def make_fusion(iterations: int) -> IterativeFusion:
    torch.manual_seed(0)
    return IterativeFusion(CHANNELS, 5, iterations).double().eval()


def slow(fusion: IterativeFusion, levels: list[Tensor], iterations: int) -> list[Tensor]:
    """B.2 line by line, P and S from coarse to fine."""
    state: dict[str, Tensor] = dict(fusion.state_dict())
    scale = (1 + 1e-5) ** -0.5  # a fresh batch norm in evaluation

    def weight(name: str) -> Tensor:
        return state[f"{name}.weight"]

    p = [
        (scale * F.conv2d(levels[i], weight(f"projections.{i}.0"))).clamp_min(0) for i in (2, 1, 0)
    ]
    s = p
    for sweep in range(iterations):
        first = p[0] + (F.adaptive_avg_pool2d(s[-1], SIZES[2]) if sweep else 0)
        s = [first]
        for i in (1, 2):
            u = F.interpolate(s[-1], p[i].shape[-2:], mode="bilinear", align_corners=False)
            hidden = F.conv2d(torch.cat([p[i], u], 1), weight(f"steps.{i - 1}.gate.0"), padding=1)
            m = F.conv2d(
                (scale * hidden).clamp_min(0),
                weight(f"steps.{i - 1}.gate.3"),
                state[f"steps.{i - 1}.gate.3.bias"],
            ).sigmoid()
            s.append(p[i] + m * p[i] + (1 - m) * u)
    return s[::-1]


@pytest.mark.parametrize("iterations", [0, 1, 2, 3])
def test_agrees_with_the_formula(iterations: int) -> None:
    levels, fusion = make_levels(), make_fusion(iterations)
    found, _ = fusion(levels)
    for one, other in zip(found, slow(fusion, levels, iterations), strict=True):
        torch.testing.assert_close(one, other)


def test_b5_without_a_sweep_the_levels_are_projected_and_nothing_is_fused() -> None:
    levels, fusion = make_levels(), make_fusion(0)
    found, gates = fusion(levels)
    assert gates == []
    assert len(fusion.steps) == 0
    for level, part, out in zip(levels, fusion.projections, found, strict=True):
        assert torch.equal(part(level), out)


def test_b5_the_maps_stay_between_zero_and_one() -> None:
    _, gates = make_fusion(2)([100 * level for level in make_levels()])
    assert [tuple(gate.shape) for gate in gates] == [(2, 1, 5, 4), (2, 1, 9, 7)]
    assert all(((gate > 0) & (gate < 1)).all() for gate in make_fusion(2)(make_levels())[1])
    assert all(((gate >= 0) & (gate <= 1)).all() for gate in gates)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_the_order_of_the_maps_does_not_matter(order: list[int]) -> None:
    levels, fusion = make_levels(), make_fusion(2)
    expected, _ = fusion(levels)
    other = IterativeFusion([CHANNELS[i] for i in order], 5, 2).double().eval()
    state = fusion.state_dict()
    for place, i in enumerate(order):
        part = {k[len(f"projections.{i}.") :]: v for k, v in state.items() if f"ns.{i}." in k}
        other.projections[place].load_state_dict(part)
    other.steps.load_state_dict(fusion.steps.state_dict())
    found, _ = other([levels[i] for i in order])
    for place, i in enumerate(order):
        assert torch.equal(found[place], expected[i])


def test_at_a_site_each_map_keeps_its_channels_and_gets_what_the_fusion_adds() -> None:
    torch.manual_seed(0)
    levels = make_levels()[::-1]  # the dual encoder's fusion site gives the coarse map first
    module = build("iterative_fusion", CHANNELS[::-1], width=5).double().eval()
    out = module(levels, AttentionContext())
    fused, _ = module.fusion(levels)  # type: ignore[operator]
    for level, part, new, found in zip(levels, module.back, fused, out.features, strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(found, level + part(new))
        assert found.shape == level.shape
    assert {name: tuple(gate.shape) for name, gate in out.maps.items()} == {
        "gate_1": (2, 1, 5, 4),
        "gate_2": (2, 1, 9, 7),
    }


def test_the_identity_at_a_zero_initialised_residual() -> None:
    levels = make_levels()
    module = build("iterative_fusion", CHANNELS, width=5, zero_init_residual=True).double()
    out = module(levels, AttentionContext()).features
    assert all(torch.equal(one, two) for one, two in zip(out, levels, strict=True))


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="iterations must be 0 or more, found -1"):
        IterativeFusion([4], 5, -1)
    message = "attention module 'iterative_fusion': iterations must be at least 1, found 0"
    with pytest.raises(ConfigError, match=message):
        build("iterative_fusion", [4], iterations=0)

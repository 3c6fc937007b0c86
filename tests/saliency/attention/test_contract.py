"""``to_density``: the one place where attention maps are normalised."""

import math

import pytest
import torch
from torch import Tensor

from saliency.attention import AttentionContext, AttentionModule, to_density
from saliency.attention.contract import check_choice


def make(size: tuple[int, int] = (5, 7), planes: int = 3) -> tuple[Tensor, Tensor]:
    """Maps with negative values, and a film with holes."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, planes, *size, generator=generator, dtype=torch.float64)
    return maps, torch.rand(2, 1, *size, generator=generator) < 0.6


def slow(maps: Tensor, valid: Tensor) -> Tensor:
    out = torch.zeros_like(maps)
    for b in range(maps.shape[0]):
        cells = [(int(i), int(j)) for i, j in valid[b, 0].nonzero()]
        for k in range(maps.shape[1]):
            values = [max(float(maps[b, k, i, j]), 0.0) for i, j in cells]
            total = math.fsum(values)
            for (i, j), value in zip(cells, values, strict=True):
                out[b, k, i, j] = value / total if total > 0 else 1 / len(cells)
    return out


@pytest.mark.parametrize("size", [(5, 7), (8, 8), (1, 3)])
def test_agrees_with_a_loop(size: tuple[int, int]) -> None:
    maps, valid = make(size)
    maps[1, 2] = -maps[1, 2].abs()  # nothing positive: uniform over the film
    valid[..., 0] = True
    torch.testing.assert_close(to_density(maps, valid), slow(maps, valid), rtol=1e-12, atol=0)
    everywhere = torch.ones_like(valid)
    assert torch.equal(to_density(maps), to_density(maps, everywhere))
    torch.testing.assert_close(to_density(maps), slow(maps, everywhere), rtol=1e-12, atol=0)


def test_a_density_stays_as_it_is_and_scale_does_not_matter() -> None:
    maps, valid = make()
    once = to_density(maps, valid)
    torch.testing.assert_close(to_density(once, valid), once, rtol=1e-13, atol=0)
    torch.testing.assert_close(to_density(1e-30 * maps, valid), once, rtol=1e-12, atol=0)
    assert (once[~valid.expand_as(once)] == 0).all()
    torch.testing.assert_close(once.sum((2, 3)), torch.ones(2, 3, dtype=torch.float64))


def test_padding_has_no_say_even_if_it_is_not_finite() -> None:
    maps, valid = make()
    expected = to_density(maps, valid)
    off_film = ~valid.expand_as(maps)
    for value in (1e9, torch.inf, torch.nan):
        assert torch.equal(to_density(maps.masked_fill(off_film, value), valid), expected)


def test_a_nan_on_the_film_is_not_hidden() -> None:
    maps, valid = make()
    row, column = (int(i) for i in valid[0, 0].nonzero()[0])
    maps[0, 1, row, column] = torch.nan
    out = to_density(maps, valid)
    assert out[0, 1][valid[0, 0]].isnan().all()
    assert out[0, [0, 2]].isfinite().all()
    assert out[1].isfinite().all()


def test_without_film_every_pixel_counts() -> None:
    maps, valid = make()
    valid[1] = False
    out = to_density(maps, valid)
    assert torch.equal(out[1:], to_density(maps[1:]))
    assert torch.equal(out[:1], to_density(maps[:1], valid[:1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype: torch.dtype) -> None:
    maps = torch.full((1, 1, 64, 64), 1000.0, dtype=dtype)
    out = to_density(maps)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, torch.full((1, 1, 64, 64), 1 / 4096))


def test_the_gradient_is_that_of_the_quotient() -> None:
    maps, valid = make()
    maps[1, 2] = -1.0
    maps.requires_grad_()
    weights = torch.randn_like(maps)
    (found,) = torch.autograd.grad((to_density(maps, valid) * weights).sum(), maps)
    positive = maps.detach().clamp_min(0) * valid
    mass = positive.sum((2, 3), True)
    mean = (weights * positive).sum((2, 3), True) / mass
    expected = torch.where((positive > 0) & (mass > 0), (weights - mean) / mass, 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
    assert (found[1, 2] == 0).all()


def test_the_base_module_requires_nothing_and_does_nothing() -> None:
    assert AttentionModule.requires == frozenset()
    with pytest.raises(NotImplementedError):
        AttentionModule()(torch.zeros(1, 1, 2, 2), AttentionContext())


def test_an_option_is_one_of_its_choices() -> None:
    check_choice("gate_dropout", "pre", ("pre", "post"))
    with pytest.raises(ValueError, match="^gate_dropout must be one of pre, post, found 'no'$"):
        check_choice("gate_dropout", "no", ("pre", "post"))

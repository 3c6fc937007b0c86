"""The softmax over the film: sums, padding, extreme logits, small dtypes, gradient."""

import math

import pytest
import torch
from torch import Tensor

from saliency.density import density, log_density


def make(
    rows: int = 3, size: tuple[int, int] = (6, 5), scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(rows, 1, *size, generator=generator, dtype=torch.float64)
    valid = torch.rand(rows, 1, *size, generator=generator) < 0.7
    valid[0] = True
    return logits, valid


def slow_density(logits: Tensor, valid: Tensor) -> Tensor:
    out = torch.zeros_like(logits)
    for row, (values, film) in enumerate(zip(logits[:, 0], valid[:, 0], strict=True)):
        on_film = [(i, j) for i in range(values.shape[0]) for j in range(values.shape[1])]
        on_film = [(i, j) for i, j in on_film if film[i, j]]
        top = max(float(values[i, j]) for i, j in on_film)
        total = math.fsum(math.exp(float(values[i, j]) - top) for i, j in on_film)
        for i, j in on_film:
            out[row, 0, i, j] = math.exp(float(values[i, j]) - top) / total
    return out


@pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
def test_agrees_with_a_loop(scale: float) -> None:
    logits, valid = make(scale=scale)
    expected = slow_density(logits, valid)
    torch.testing.assert_close(density(logits, valid), expected, rtol=1e-12, atol=0)
    on_film = log_density(logits, valid)[valid]
    torch.testing.assert_close(
        on_film[expected[valid] > 0], expected[valid].log()[expected[valid] > 0]
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_sums_to_one_on_film_and_is_zero_on_padding(dtype: torch.dtype, scale: float) -> None:
    logits, valid = make(size=(64, 48), scale=scale)
    logits = logits.to(dtype)
    logits[~valid] = torch.finfo(dtype).max  # padding must have no say, whatever its logits
    out, log_out = density(logits, valid), log_density(logits, valid)
    assert (
        out.dtype == log_out.dtype == (torch.float64 if dtype is torch.float64 else torch.float32)
    )
    assert (out[~valid] == 0).all()
    assert (log_out[~valid] == -torch.inf).all()
    assert log_out[valid].isfinite().all()
    torch.testing.assert_close(out.sum((1, 2, 3)), out.new_ones(3), rtol=1e-5, atol=0)


def test_half_precision_is_computed_in_single() -> None:
    logits, valid = make(size=(64, 48))
    half = logits.half()
    assert torch.equal(log_density(half, valid), log_density(half.float(), valid))


def test_a_constant_on_the_logits_changes_nothing() -> None:
    logits, valid = make()
    moved = logits + torch.tensor([1e3, -1e3, 0.5])[:, None, None, None]
    torch.testing.assert_close(density(moved, valid), density(logits, valid), rtol=1e-11, atol=0)


def test_an_image_without_film_counts_all_its_pixels() -> None:
    logits, valid = make()
    valid[1] = False
    out = density(logits, valid)
    torch.testing.assert_close(out[1].flatten(), logits[1].flatten().softmax(0))
    torch.testing.assert_close(out[[0, 2]], slow_density(logits[[0, 2]], valid[[0, 2]]))


def test_the_gradient_is_that_of_a_softmax_and_zero_on_padding() -> None:
    logits, valid = make()
    logits.requires_grad_()
    weights = torch.randn_like(logits)
    torch.autograd.backward((density(logits, valid) * weights).sum())
    assert logits.grad is not None
    p = slow_density(logits.detach(), valid)
    mean = (p * weights).sum((1, 2, 3), True)
    torch.testing.assert_close(logits.grad, p * (weights - mean), rtol=1e-9, atol=1e-14)
    assert (logits.grad[~valid] == 0).all()

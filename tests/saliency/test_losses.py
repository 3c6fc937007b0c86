"""KL divergence and correlation of densities against loops and scipy, in value and gradient."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import rel_entr
from scipy.stats import pearsonr
from torch import Tensor

from saliency.density import density
from saliency.losses import correlation_loss, kl_divergence_loss

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: tuple[Loss, ...] = (kl_divergence_loss, correlation_loss)


def make(
    size: tuple[int, int] = (12, 10), rows: int = 4, margin: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, density and film in float64; the film leaves a margin and has no gaze at the top."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(rows, 1, *size, generator=generator, dtype=torch.float64)
    valid = torch.zeros(rows, 1, *size, dtype=torch.bool)
    valid[..., margin : size[0] - margin, margin : size[1] - margin] = True
    truth = torch.rand(rows, 1, *size, generator=generator, dtype=torch.float64) ** 3
    truth[..., : margin + 2, :] = 0  # 0 ln 0 = 0
    truth = truth * valid
    return logits.requires_grad_(), truth / truth.sum((1, 2, 3), True), valid


def naive_kl(logits: Tensor, truth: Tensor, valid: Tensor) -> list[float]:
    values = []
    for scores, g, film in zip(logits.tolist(), truth.tolist(), valid.tolist(), strict=True):
        cells = [
            (s, t)
            for score, true, on in zip(scores[0], g[0], film[0], strict=True)
            for s, t, v in zip(score, true, on, strict=True)
            if v
        ]
        total = math.fsum(math.exp(s) for s, _ in cells)
        values.append(math.fsum(t * math.log(t / (math.exp(s) / total)) for s, t in cells if t > 0))
    return values


def test_kl_agrees_with_a_loop_and_with_scipy() -> None:
    logits, truth, valid = make()
    found = kl_divergence_loss(logits, truth, valid).tolist()
    assert found == pytest.approx(naive_kl(logits, truth, valid), rel=1e-12)
    p = density(logits.detach(), valid)
    scipy = [
        float(rel_entr(g[v].numpy(), q[v].numpy()).sum())
        for g, q, v in zip(truth, p, valid, strict=True)
    ]
    assert found == pytest.approx(scipy, rel=1e-10)
    assert min(found) > 0


def test_kl_of_a_density_with_itself_is_zero() -> None:
    logits, _, valid = make()
    truth = density(logits.detach(), valid)
    found = kl_divergence_loss(logits, truth, valid)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-14)


def test_the_gradient_of_kl_is_the_difference_of_the_densities() -> None:
    logits, truth, valid = make()
    torch.autograd.backward(kl_divergence_loss(logits, truth, valid).sum())
    assert logits.grad is not None
    expected = density(logits.detach(), valid) - truth
    torch.testing.assert_close(logits.grad, expected, rtol=1e-9, atol=1e-15)


def test_kl_is_finite_where_the_prediction_has_no_mass() -> None:
    logits, truth, valid = make()
    far = (logits.detach() * 1e4).requires_grad_()
    loss = kl_divergence_loss(far, truth, valid)
    torch.autograd.backward(loss.sum())
    assert loss.isfinite().all()
    assert far.grad is not None
    assert far.grad.isfinite().all()


def test_correlation_agrees_with_scipy() -> None:
    logits, truth, valid = make()
    p = density(logits.detach(), valid)
    expected = [
        1 - pearsonr(q[v].numpy(), g[v].numpy()).statistic
        for q, g, v in zip(p, truth, valid, strict=True)
    ]
    found = correlation_loss(logits, truth, valid)
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_correlation_is_that_of_the_formula() -> None:
    logits, truth, valid = make()
    (found,) = torch.autograd.grad(correlation_loss(logits, truth, valid).sum(), logits)
    total = torch.zeros((), dtype=torch.float64)
    for scores, g, film in zip(logits, truth, valid, strict=True):
        pair = torch.stack([scores[film].softmax(0), g[film]])
        total = total + 1 - torch.corrcoef(pair)[0, 1]
    (expected,) = torch.autograd.grad(total, logits)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-14)


def test_correlation_keeps_its_precision_on_many_pixels() -> None:
    """Densities are of the size of 1 / pixels: their squares must not vanish in float32."""
    logits, truth, valid = make((320, 256), rows=2)
    exact = correlation_loss(logits, truth, valid)
    single = logits.detach().float().requires_grad_()
    loss = correlation_loss(single, truth.float(), valid)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=0)
    (expected,) = torch.autograd.grad(exact.sum(), logits)
    (found,) = torch.autograd.grad(loss.sum(), single)
    assert expected.abs().max() > 0
    torch.testing.assert_close(
        found.double(), expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max())
    )


def test_correlation_spans_its_range() -> None:
    logits, _, valid = make(rows=1)
    p = density(logits.detach(), valid)
    opposite = (p.max() - p) * valid
    same = correlation_loss(logits, p, valid)
    other = correlation_loss(logits, opposite / opposite.sum(), valid)
    assert same.tolist() == pytest.approx([0], abs=1e-12)
    assert other.tolist() == pytest.approx([2], abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(12, 10), (13, 11), (64, 64), (7, 9)])
def test_a_constant_map_correlates_with_nothing_and_has_no_gradient(
    size: tuple[int, int], dtype: torch.dtype
) -> None:
    logits, truth, valid = (
        x if x.dtype is torch.bool else x.detach().to(dtype) for x in make(size)
    )
    flat = torch.full_like(logits, 0.7).requires_grad_()
    loss = correlation_loss(flat, truth, valid)
    assert loss.tolist() == [1.0] * 4
    torch.autograd.backward(loss.sum())
    assert flat.grad is not None
    assert (flat.grad == 0).all()
    even = valid / valid.sum((2, 3), True).to(dtype)
    logits.requires_grad_()
    loss = correlation_loss(logits, even, valid)
    assert loss.tolist() == [1.0] * 4
    torch.autograd.backward(loss.sum())
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("size", [(12, 10), (320, 256)])
def test_a_faint_map_is_no_constant_one(size: tuple[int, int]) -> None:
    logits, truth, valid = make(size)
    faint = correlation_loss(logits * 1e-3, truth, valid)
    p = density(logits.detach() * 1e-3, valid)
    expected = [
        1 - pearsonr(q[v].numpy(), g[v].numpy()).statistic
        for q, g, v in zip(p, truth, valid, strict=True)
    ]
    assert faint.tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_rows_without_gaze_are_left_out(loss: Loss) -> None:
    logits, truth, valid = make()
    full = loss(logits, truth, valid)
    (gradient,) = torch.autograd.grad(full[[0, 3]].sum(), logits)
    truth[1:3] = torch.nan
    some = loss(logits, truth, valid)
    assert torch.equal(some, full[[0, 3]])
    torch.autograd.backward(some.sum())
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, gradient, rtol=1e-12, atol=0)
    assert (logits.grad[1:3] == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_without_gaze_at_all_the_graph_is_kept(loss: Loss) -> None:
    logits, truth, valid = make()
    values = loss(logits, torch.full_like(truth, torch.nan), valid)
    assert values.shape == (0,)
    torch.autograd.backward(values.sum())
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_padding_has_no_gradient_whatever_its_logits(loss: Loss, dtype: torch.dtype) -> None:
    logits, truth, valid = make()
    with torch.no_grad():
        logits[~valid] = 1e30
    leaf = logits.detach().to(dtype).requires_grad_()
    values = loss(leaf, truth.to(dtype), valid)
    torch.autograd.backward(values.sum())
    assert values.isfinite().all()
    assert leaf.grad is not None
    assert (leaf.grad[~valid] == 0).all()
    assert leaf.grad.isfinite().all()
    assert (leaf.grad[valid] != 0).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_masked_map_is_as_good_as_a_cropped_one(loss: Loss) -> None:
    logits, truth, valid = make()
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    cropped = loss(logits[inner], truth[inner], valid[inner])
    torch.testing.assert_close(loss(logits, truth, valid), cropped, rtol=1e-12, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_logits_are_computed_in_single(loss: Loss) -> None:
    logits, truth, valid = make((64, 64))
    half, single = logits.detach().half(), truth.float()
    found = loss(half, single, valid)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, loss(half.float(), single, valid), rtol=1e-6)

"""The losses by hand; planes that are not known; views that differ by a known map."""

import math

import pytest
import torch
from torch import Tensor

from diagnosis.anatomy.losses import dice_bce, teacher_consistency

EYE = torch.eye(2, 3)[None]


def film(*shape: int) -> Tensor:
    return torch.ones(shape[0], 1, *shape[2:], dtype=torch.bool)


def test_dice_and_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[0.0, 2.0], [-2.0, 0.0]])[None, None]
    masks = torch.tensor([[1.0, 1.0], [0.0, 0.0]])[None, None]
    up, down = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))
    dice = 1 - (2 * (0.5 + up) + 1) / ((0.5 + up + down + 0.5) + 2 + 1)
    entropy = -(math.log(0.5) + math.log(up) + math.log(1 - down) + math.log(0.5)) / 4
    (value,) = dice_bce(logits, masks, film(1, 1, 2, 2)).tolist()
    assert value == pytest.approx(dice + entropy)


def test_a_perfect_mask_costs_nothing_and_an_empty_one_is_no_zero_by_zero() -> None:
    masks = torch.zeros(1, 2, 4, 4)
    masks[:, 0, :2] = 1
    values = dice_bce(200 * masks - 100, masks, film(1, 1, 4, 4))
    assert values.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_planes_that_are_not_known_are_left_out_and_get_no_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 4, 5, generator=generator, requires_grad=True)
    masks = (torch.rand(3, 2, 4, 5, generator=generator) < 0.5).float()
    whole = dice_bce(logits, masks, film(3, 2, 4, 5))
    masks[0, 1], masks[2, 0] = torch.nan, torch.nan
    values = dice_bce(logits, masks, film(3, 2, 4, 5))
    torch.testing.assert_close(values, whole[[0, 2, 3, 5]])
    values.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    touched = logits.grad.flatten(2).abs().sum(2) > 0
    assert touched.tolist() == [[True, False], [True, True], [False, True]]
    assert dice_bce(logits, masks * torch.nan, film(3, 2, 4, 5)).shape == (0,)


def test_padding_has_no_say() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, 1, 4, 6, generator=generator)
    masks = (torch.rand(1, 1, 4, 6, generator=generator) < 0.5).float()
    valid = film(1, 1, 4, 6)
    valid[..., 4:] = False
    alone = dice_bce(logits[..., :4], masks[..., :4], valid[..., :4])
    torch.testing.assert_close(dice_bce(logits, masks, valid), alone)
    agree = teacher_consistency(logits, 2 * logits, EYE, valid, film(1, 1, 4, 6))
    squares = (logits.sigmoid() - (2 * logits).sigmoid()).square()[..., :4]
    torch.testing.assert_close(agree, squares.flatten())


def test_the_teacher_s_map_moves_with_the_film() -> None:
    generator = torch.Generator().manual_seed(2)
    teacher = torch.randn(2, 3, 6, 8, generator=generator)
    # The strong view shows the film two pixels further right and one further down.
    transform = torch.tensor([[1.0, 0, 2], [0, 1, 1]]).expand(2, 2, 3)
    student = teacher.roll((1, 2), (2, 3))
    valid = film(2, 3, 6, 8)
    valid[..., :2], valid[..., :1, :] = False, False
    values = teacher_consistency(student, teacher, transform, valid, film(2, 3, 6, 8))
    assert values.shape == (2 * 3 * 5 * 6,)
    assert values.abs().max() < 1e-10
    unmoved = teacher_consistency(student, teacher, EYE.expand(2, -1, -1), valid, valid)
    assert unmoved.mean() > 0.01


def test_no_gradient_flows_into_the_teacher() -> None:
    student = torch.zeros(1, 1, 2, 2, requires_grad=True)
    teacher = torch.ones(1, 1, 2, 2, requires_grad=True)
    valid = film(1, 1, 2, 2)
    values = teacher_consistency(student, teacher, EYE, valid, valid)
    values.sum().backward()  # type: ignore[no-untyped-call]
    assert teacher.grad is None
    assert student.grad is not None
    # 2 (s - t) s (1 - s) at s = 1/2.
    expected = 2 * (0.5 - 1 / (1 + math.exp(-1))) * 0.25
    assert student.grad.flatten().tolist() == pytest.approx([expected] * 4)

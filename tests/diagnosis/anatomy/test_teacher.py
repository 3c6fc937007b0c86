"""The teacher is the exponential moving average by its recursion, buffers included."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from diagnosis.anatomy.teacher import ramp_up, update_teacher, warmed_decay


def make() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_the_recursion_is_exact() -> None:
    student = make()
    teacher = deepcopy(student).requires_grad_(False)
    mean = {name: value.clone() for name, value in student.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn_like(parameter))
        student(torch.randn(4, 1, 5, 5))
        decay = warmed_decay(0.75, step)
        update_teacher(teacher, student, decay)
        for name, value in student.state_dict().items():
            if value.is_floating_point():
                mean[name] = decay * mean[name] + (1 - decay) * value
            else:
                mean[name] = value.clone()
    found = teacher.state_dict()
    assert {"1.running_mean", "1.running_var", "1.num_batches_tracked"} <= found.keys()
    for name, value in mean.items():
        torch.testing.assert_close(found[name], value)
    assert found["1.num_batches_tracked"] == 5
    assert not torch.equal(found["1.running_mean"], student.state_dict()["1.running_mean"])
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_decay_of_nothing_copies_to_the_bit() -> None:
    student, teacher = make(), make()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(1.1)
    update_teacher(teacher, student, 0.0)
    for one, other in zip(
        teacher.state_dict().values(), student.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other)


def test_what_stands_still_stays_to_the_bit() -> None:
    student = make()
    teacher = deepcopy(student)
    for step in range(1, 200):
        update_teacher(teacher, student, warmed_decay(0.999, step))
    for name, value in student.state_dict().items():
        assert torch.equal(teacher.state_dict()[name], value)


def test_the_decay_warms_up_to_a_plain_mean() -> None:
    assert [warmed_decay(0.9, step) for step in (1, 2, 3)] == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    assert warmed_decay(0.9, 9) == 0.9
    assert warmed_decay(0.9, 1000) == 0.9
    value = 3.0
    for step, new in enumerate([5.0, 10.0, 2.0], 1):
        decay = warmed_decay(0.999, step)
        value = decay * value + (1 - decay) * new
    assert value == pytest.approx((3 + 5 + 10 + 2) / 4)


def test_the_consistency_ramps_up() -> None:
    assert ramp_up(0, 20.0) == pytest.approx(math.exp(-5))
    assert ramp_up(10, 20.0) == pytest.approx(math.exp(-1.25))
    assert ramp_up(20, 20.0) == ramp_up(100, 20.0) == ramp_up(0, 0.0) == 1

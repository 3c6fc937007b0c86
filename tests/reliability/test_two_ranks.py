"""Two gloo processes give the loss, the gradient and the metrics of one with the double batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.reliability.two_ranks import CASES, Result, measure

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """What each of two ranks found; all cases in one start, as torch takes long to import."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [(folder / "rendezvous").as_uri(), str(folder)]
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.two_ranks", str(rank), *words],
            cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in ranks:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-5000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> Result:
    return measure()


def gradients(result: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in result.items() if name.startswith("gradient.")}


@pytest.mark.ddp
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_are_those_of_the_double_batch(
    case: str, shared: list[Result], alone: Result
) -> None:
    expected = gradients(alone[case])
    assert max(value.abs().max() for value in expected.values()) > 1e-3
    for rank in shared:
        torch.testing.assert_close(rank[case]["loss"], alone[case]["loss"], rtol=1e-6, atol=1e-6)
        found = gradients(rank[case])
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
        # What one process does not reach has no gradient, or a gradient of zero.
        assert all(not found[name].any() for name in found.keys() - expected.keys())


@pytest.mark.ddp
@pytest.mark.parametrize("case", CASES)
def test_validation_is_that_of_the_double_batch(
    case: str, shared: list[Result], alone: Result
) -> None:
    names = [name for name in alone[case] if name.startswith("valid.")]
    assert len(names) == 5
    for rank in shared:
        for name in names:
            expected = alone[case][name]
            found = rank[case][name].float()
            torch.testing.assert_close(
                found, expected.float(), rtol=1e-5, atol=1e-6, equal_nan=True
            )

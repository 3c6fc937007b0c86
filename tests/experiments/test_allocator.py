"""Memory that is freed is kept while a network computes, and given back at the end."""

import resource
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch

from experiments.allocator import freed_memory_kept
from experiments.runner import run
from tests.experiments.small import MODEL, small_config, small_stage

MEGABYTES = 64
PAGES = MEGABYTES * 2**20 // resource.getpagesize()

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")


def faults_of_a_tensor() -> int:
    """Pages that the system has to provide for one large tensor."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(MEGABYTES * 2**18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def _fill_and_fail() -> None:
    faults_of_a_tensor()
    raise MemoryError("by the test")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_a_tensor_reuses_the_memory_of_the_one_before() -> None:
    with freed_memory_kept():
        # glibc's caches of small blocks hold the first ones apart.
        for _ in range(20):
            faults_of_a_tensor()
        assert faults_of_a_tensor() < PAGES / 20


def test_memory_is_given_back_at_the_end() -> None:
    before = resident()
    with freed_memory_kept():
        faults_of_a_tensor()
        kept = resident() - before
    assert kept > PAGES * 0.9
    assert resident() - before < PAGES * 0.2
    assert faults_of_a_tensor() > 0


def test_it_ends_also_when_something_fails() -> None:
    before = resident()
    with pytest.raises(MemoryError, match="by the test"), freed_memory_kept():
        _fill_and_fail()
    assert resident() - before < PAGES * 0.2


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.allocator.ctypes.CDLL", lambda _: object())
    with freed_memory_kept():
        assert torch.ones(3).sum() == 3


def test_weights_are_the_same_to_the_bit_with_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(stages=[small_stage("joint", "finetune", "joint", epochs=1)])
    run(config, tmp_path / "kept", say=lambda _: None)
    monkeypatch.setattr("experiments.training.freed_memory_kept", lambda **_: nullcontext())
    run(config, tmp_path / "given_back", say=lambda _: None)
    kept, given_back = (
        (tmp_path / name / "01-joint" / "weights.safetensors").read_bytes()
        for name in ("kept", "given_back")
    )
    assert kept == given_back


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_stage_keeps_memory_unless_it_saves_it(
    checkpointing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def spy(*, keep: bool) -> AbstractContextManager[None]:
        asked.append(keep)
        return freed_memory_kept(keep=keep)

    monkeypatch.setattr("experiments.training.freed_memory_kept", spy)
    config = small_config(
        models={"network": MODEL | {"checkpointing": checkpointing}},
        stages=[small_stage("joint", "finetune", "joint", epochs=1)],
    )
    run(config, tmp_path, say=lambda _: None)
    assert asked == [not checkpointing]

"""Memory that is freed is kept while a network computes, and given back at the end."""

import json
import resource
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from experiments import predict, predictions, training
from experiments.allocator import freed_memory_kept
from experiments.build import build_cohorts
from experiments.finished import FinishedStage
from experiments.predict import predict_files
from experiments.predictions import StoredPredictions
from experiments.predictor import Predictor
from experiments.runner import run
from tests.experiments.small import MODEL, small_config, small_stage

# A process of its own, as its heap would depend on the tests before. 36 blocks are more than 2 GiB.
CHILD = """
import ctypes, json, resource
from experiments.allocator import freed_memory_kept

libc, size = ctypes.CDLL(None), 64 * 2**20
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def faults(blocks=1):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [libc.malloc(size) for _ in range(blocks)]
    for block in held:
        libc.memset(block, 1, size)
    for block in held:
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1])

found = {"before": [faults(), faults()], "resident": [resident()]}
try:
    with freed_memory_kept():
        found["inside"] = [faults(36), faults(36), faults(36)]
        found["resident"].append(resident())
        raise MemoryError("by the test")
except MemoryError:
    found["resident"].append(resident())
found["after"] = [faults(), faults()]
print(json.dumps(found))
"""
PAGES = 64 * 2**20 // resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_freed_memory_is_kept_inside_and_given_back_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    if min(found["before"]) < 0.9 * PAGES:
        pytest.skip("another C library, or huge pages everywhere: no faults to count")
    first, *later = found["inside"]
    assert first > 0.9 * 36 * PAGES
    assert max(later) < 0.01 * 36 * PAGES
    # Also where something fails.
    before, kept, given_back = found["resident"]
    assert kept - before > 0.9 * 36 * PAGES
    assert given_back - before < 0.2 * PAGES
    assert min(found["after"]) > 0.9 * PAGES


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


def spied(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What a module asks for, from now on."""
    asked: list[bool] = []

    def spy(*, keep: bool) -> AbstractContextManager[None]:
        asked.append(keep)
        return freed_memory_kept(keep=keep)

    monkeypatch.setattr(module, "freed_memory_kept", spy)
    return asked


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_stage_keeps_memory_unless_it_saves_it(
    checkpointing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spied(training, monkeypatch)
    config = small_config(
        models={"network": MODEL | {"checkpointing": checkpointing}},
        stages=[small_stage("joint", "finetune", "joint", epochs=1)],
    )
    run(config, tmp_path, say=lambda _: None)
    assert asked == [not checkpointing]


def test_predictions_keep_memory_where_something_is_to_predict(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spied(predictions, monkeypatch)
    finished = FinishedStage.load(finished_run)
    store = StoredPredictions(finished, build_cohorts(finished.config), "cpu")
    store.folder = tmp_path
    store.ensure(np.arange(3))
    assert (asked, store.n_predicted) == ([True], 3)
    store.ensure(np.arange(3))
    assert (asked, store.n_predicted) == ([True], 3)


@pytest.mark.parametrize(("device", "kept"), [("cpu", True), ("meta", False)])
def test_predict_keeps_memory_on_a_cpu_alone(
    device: str, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spied(predict, monkeypatch)
    monkeypatch.setattr(predict, "_check", lambda *_: tmp_path.joinpath("out").mkdir())
    settings = SimpleNamespace(temperatures=None, has_detection=False)
    found = SimpleNamespace(device=torch.device(device), settings=settings, classes=[])
    predict_files(cast("Predictor", found), [], tmp_path / "out")
    assert asked == [kept]

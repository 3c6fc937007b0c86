"""A staged run that is killed at its writes again and again ends in the bits of one that is not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from experiments import computed_once
from experiments.build import build_cohorts
from experiments.config import RunConfig
from experiments.runner import run
from eye_gaze_data.files import sha256_of_file
from saliency.module import TaskModule
from tests.experiments.small import small_config, small_tree
from tests.reliability.deaths import HOWS, Deaths, Killed

STILL = {"saliency", "fuse"}


def config() -> RunConfig:
    """All five tasks; two stages compute their frozen part once."""
    stages = small_tree()["stages"]
    for stage in stages:
        if stage["name"] in STILL:
            del stage["data"]["augment"]
    return small_config(stages=stages)


def digests(folder: Path) -> dict[str, str]:
    """Of all that a run's result consists of."""
    names = ("*/weights.safetensors", "*/metrics.csv", "splits.csv", "manifest.json")
    found = [path for name in names for path in folder.glob(name)]
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in found}


@pytest.fixture(scope="module")
def seen() -> dict[str, set[str]]:
    """The patients of each stage, filled by ``whole``."""
    return {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, seen: dict[str, set[str]]) -> Path:
    """The run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("training_step", "validation_step"):
            patch.setattr(TaskModule, name, _noting(getattr(TaskModule, name), seen))
        run(config(), folder, say=lambda _: None)
    return folder


def _noting(step: Any, seen: dict[str, set[str]]) -> Any:  # noqa: ANN401
    def noting(self: TaskModule, batch: Any, index: int) -> Any:  # noqa: ANN401
        seen.setdefault(self.settings.stage, set()).update(batch["patient_id"])
        return step(self, batch, index)

    return noting


def killed_run(folder: Path, deaths: Deaths) -> int:
    """Start a run again until it lives; the number of its lives."""
    lives, alive = 0, False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(computed_once, "MEMORY", 0)
        deaths.install(patch)
        while not alive:
            lives, deaths.dead = lives + 1, False
            try:
                run(config(), folder, say=lambda _: None)
                alive = True
            except Killed:
                assert deaths.dead
    return lives


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_kills_at_the_writes_of_a_whole_run(every: int, whole: Path, tmp_path: Path) -> None:
    deaths = Deaths(every)
    lives = killed_run(tmp_path / "cut", deaths)
    assert lives == len(deaths.killed) + 1
    assert lives > 15
    assert {how for _, how in deaths.killed} == set(HOWS)
    names = {name for name, _ in deaths.killed}
    assert {"last.ckpt", "stage.json"} <= names
    if every == 1:
        written = {"best.safetensors", "weights.safetensors", "metrics.csv", "run.json"}
        assert written <= names
        assert any(name.endswith(".values") for name in names)
    assert digests(tmp_path / "cut") == digests(whole)
    left = [p for p in (tmp_path / "cut").rglob("*") if p.suffix in {".tmp", ".values"}]
    assert not left


def test_no_stage_sees_a_patient_of_the_test_split(whole: Path, seen: dict[str, set[str]]) -> None:
    assert whole.is_dir()
    table = build_cohorts(config()).table
    patients = {
        split: set(table.loc[table["split"] == split, "patient_id"])
        for split in ("train", "valid", "test")
    }
    assert patients["test"]
    assert list(seen) == ["contrast", "classify", "saliency", "fuse", "joint"]
    for stage, found in seen.items():
        assert not found & patients["test"], stage
        assert found == patients["train"] | patients["valid"], stage


def test_what_is_frozen_keeps_its_bits_and_the_rest_does_not(whole: Path) -> None:
    def weights(stage: str) -> dict[str, Tensor]:
        return load_file(next(whole.glob(f"*-{stage}")) / "weights.safetensors")

    trained = {
        ("classify", "saliency"): ("encoder_b.", "decoder.", "saliency_head."),
        ("saliency", "fuse"): ("fusion.",),
    }
    for (before, after), parts in trained.items():
        one, other = weights(before), weights(after)
        for name, value in one.items():
            if not name.startswith(parts):
                assert torch.equal(value, other[name]), name
        changed = {name for name, value in one.items() if not torch.equal(value, other[name])}
        assert {part for part in parts if any(n.startswith(part) for n in changed)} == set(parts)
    statistics = [name for name in weights("fuse") if name.endswith("running_mean")]
    assert any(name.startswith("encoder_a.") for name in statistics)
    assert any(name.startswith("decoder.") for name in statistics)

"""Turns inside a stage survive an interruption at any moment: the same bits, optimiser included."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from pytorch_lightning import Trainer
from safetensors.torch import load_file

from experiments.config import RunConfig
from experiments.maturing import TaskStops
from experiments.record import read_stage
from saliency.module import TaskModule
from tests.experiments.small import small_config, small_stage
from tests.reliability.test_resume import interrupt, logged, same, trained

# A higher cross-entropy is asked for, so that diagnosis has no gain after its first epochs.
TASKS = {
    "diagnosis": {
        "losses": ["bce"],
        "parameters": ["fusion.*"],
        "monitor": {"metric": "valid/bce", "mode": "max"},
        "stop_after": 2,
        "rate": 0.5,
    },
    "gaze": {
        "losses": ["kld"],
        "parameters": ["encoder_b.*", "decoder.*", "saliency_head.*"],
        "monitor": {"metric": "valid/kld", "mode": "min"},
        "stop_after": 6,
    },
}
FEATURES: dict[str, dict[str, Any]] = {
    "tasks": {"tasks": TASKS},
    "alternation": {"losses": {"bce": [1, 0], "kld": [0, 1]}},
    "unfreezing": {"unfreeze": {"encoder_a.*": 2, "encoder_b.*": 1}},
    "supervision": {
        "data": {
            "cohorts": ["phantom"],
            "supervision": {"both": 1.0},
            "image_size": [32, 32],
            "augment": {"degrees": 5},
        }
    },
}


def config_of(epochs: int = 4, **changes: Any) -> RunConfig:  # noqa: ANN401
    optimiser = {"name": "adamw", "lr": 1e-2, "weight_decay": 0.1, "clip": 1.0}
    optimiser["rates"] = {"encoder_a.*": 0.5}
    stage = small_stage(
        "joint", "cooperative", "joint", epochs=epochs, optimiser=optimiser,
        train=["encoder_a.*", "encoder_b.*", "decoder.*", "saliency_head.*", "fusion.*"],
        schedule={"name": "cosine", "warmup": 0.2},
    )  # fmt: skip
    return small_config(stages=[stage | changes])


def last_state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(
        folder / "01-joint" / "checkpoints" / "last.ckpt", weights_only=True
    )
    return {key: found[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}


def equal(one: Any, other: Any) -> bool:  # noqa: ANN401
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def cut(
    config: RunConfig, folder: Path, patch: pytest.MonkeyPatch, where: type, name: str, call: int
) -> dict[str, torch.Tensor]:
    """The weights of a run that was broken once and started again."""
    with patch.context() as broken:
        interrupt(broken, where, name, call, OSError("No space left on device"))
        with pytest.raises(OSError, match="No space left"):
            trained(config, folder)
    return trained(config, folder)


@pytest.mark.parametrize("feature", [name for name in FEATURES if name != "tasks"])
def test_resume_equals_uninterrupted_with(
    feature: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(**FEATURES[feature])
    whole = trained(config, tmp_path / "whole")
    # Three batches an epoch: the eighth stands in the middle of the third epoch.
    again = cut(config, tmp_path / "cut", monkeypatch, TaskModule, "training_step", 8)
    assert same(again, whole)
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")
    assert equal(last_state(tmp_path / "cut"), last_state(tmp_path / "whole"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which diagnosis matures and gaze does not."""
    folder = tmp_path_factory.mktemp("maturing") / "whole"
    trained(config_of(epochs=5, tasks=TASKS), folder)
    return folder


def maturing_of(folder: Path) -> tuple[int, int]:
    """The best epoch of diagnosis, and the one after which it was mature."""
    record = read_stage(folder / "01-joint") or {}
    diagnosis = record["tasks"]["diagnosis"]
    assert record["tasks"]["gaze"]["matured"] is None
    return int(diagnosis["best_epoch"]), int(diagnosis["matured"])


@pytest.mark.parametrize(
    ("where", "name", "epoch", "batch"),
    [
        # In the epoch that matures it; while it is brought back; before that is saved; after it.
        pytest.param(TaskModule, "training_step", 0, 2, marks=pytest.mark.slow),
        pytest.param(TaskStops, "update", 0, None, marks=pytest.mark.slow),
        (Trainer, "save_checkpoint", 0, None),
        (TaskModule, "training_step", 1, 2),
    ],
)
def test_resume_equals_uninterrupted_across_a_maturing(
    where: type,
    name: str,
    epoch: int,
    batch: int | None,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best, matured = maturing_of(whole)
    assert best + 2 == matured <= 3
    moment = matured + epoch + 1 if batch is None else 3 * (matured + epoch) + batch
    config = config_of(epochs=5, tasks=TASKS)
    again = cut(config, tmp_path / "cut", monkeypatch, where, name, moment)
    assert same(again, load_file(whole / "01-joint" / "weights.safetensors"))
    assert logged(tmp_path / "cut") == logged(whole)
    assert equal(last_state(tmp_path / "cut"), last_state(whole))


def test_a_mature_task_has_its_own_best_weights_and_the_best_epoch_is_of_that_network(
    whole: Path,
) -> None:
    best, matured = maturing_of(whole)
    record = read_stage(whole / "01-joint") or {}
    table = pd.read_csv(whole / "01-joint" / "metrics.csv")
    assert best == table["valid/bce"][: matured + 1].idxmax()
    # Chosen among the epochs in which what was brought back stood still.
    assert record["best_epoch"] == table["valid/loss"][matured + 1 :].idxmin()
    weights = load_file(whole / "01-joint" / "weights.safetensors")
    own = load_file(whole / "01-joint" / "checkpoints" / "task-diagnosis.safetensors")
    assert {name.split(".")[0] for name in own} == {"fusion"}
    assert all(torch.equal(weights[name], value) for name, value in own.items())
    last = last_state(whole)["state_dict"]
    assert all(torch.equal(last[f"network.{name}"], value) for name, value in own.items())
    # Idle from then on: no value is made up, and no weight is left.
    assert table["train/bce"].notna().tolist() == [epoch <= matured for epoch in range(5)]
    assert table["train/weight_bce"].tolist() == [float(epoch <= matured) for epoch in range(5)]
    assert table["valid/bce"].notna().all()


def test_a_stage_ends_when_all_its_tasks_have_matured(tmp_path: Path) -> None:
    worse = {
        name: {**task, "stop_after": 1, "monitor": {"metric": "valid/bce", "mode": "max"}}
        for name, task in TASKS.items()
    }
    trained(config_of(epochs=30, tasks=worse), tmp_path)
    record = read_stage(tmp_path / "01-joint") or {}
    ends = [task["matured"] for task in record["tasks"].values()]
    assert record["epochs"] == max(ends) + 1 < 30
    # Both in the same epoch: no epoch with them at rest follows, so the best before it stands.
    assert len(set(ends)) == 1
    table = pd.read_csv(tmp_path / "01-joint" / "metrics.csv")
    assert record["best_epoch"] == table["valid/loss"].idxmin()

"""A task's own best epoch, its maturing, and what is brought back: by value, without a run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch

from experiments.cooperation import MonitorConfig, TaskConfig
from experiments.maturing import TaskStops, is_better
from eye_gaze_data.errors import ConfigError, StageError
from saliency.cooperation import Cooperation, TaskPart
from saliency.module import TaskSettings
from tests.saliency.test_module import Toy, ToyModule

LOSSES = {"square": 1.0, "level": 1.0}
HEAD = ("head.*",)
BODY = ("body.*",)


def made(stop_after: int | None = 2) -> tuple[dict[str, TaskConfig], ToyModule]:
    high, low = ({"metric": f"valid/{m}", "mode": m} for m in ("max", "min"))
    tasks = {
        "head": TaskConfig.model_validate(
            {"losses": ["square"], "parameters": HEAD, "monitor": high, "stop_after": stop_after}
        ),
        "body": TaskConfig.model_validate(
            {"losses": ["level"], "parameters": BODY, "monitor": low, "stop_after": 3}
        ),
    }
    parts = {
        "head": TaskPart(frozenset({"square"}), HEAD),
        "body": TaskPart(frozenset({"level"}), BODY),
    }
    settings = TaskSettings("s", "classify", LOSSES, cooperation=Cooperation(parts))
    return tasks, ToyModule(Toy(), settings)


class Epochs:
    """A trainer's side: each epoch all parameters and statistics become its number."""

    def __init__(self, folder: Path, stop_after: int | None = 2) -> None:
        tasks, self.module = made(stop_after)
        folder.mkdir(exist_ok=True)
        self.stops, self.epoch = TaskStops(folder, tasks), 0

    def step(self, high: float, low: float) -> bool:
        for name, value in self.module.network.state_dict().items():
            rests = any(
                self.stops.tasks[task].parameters[0][:4] == name[:4] for task in self.stops.matured
            )
            if not rests:
                value.fill_(self.epoch)
        metrics = {"valid/max": torch.tensor(high), "valid/min": torch.tensor(low)}
        trainer: Any = SimpleNamespace(callback_metrics=metrics, current_epoch=self.epoch)
        self.epoch += 1
        return self.stops.update(trainer, self.module)

    def numbers(self, part: str) -> set[float]:
        state = self.module.network.state_dict()
        return {float(v.flatten()[0]) for name, v in state.items() if name.startswith(part)}


def test_a_task_matures_after_epochs_without_gain_and_its_best_comes_back(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path)
    assert [epochs.step(*v) for v in [(0.5, 9.0), (0.7, 8.0), (0.7, 7.0)]] == [False] * 3
    assert epochs.module.matured == set()
    assert epochs.step(0.6, 6.0)
    assert (epochs.stops.matured, epochs.stops.done) == ({"head"}, False)
    assert epochs.module.matured == {"head"}
    # Its best was epoch 1; the other part, statistics included, is where epoch 3 left it.
    assert (epochs.numbers("head"), epochs.numbers("body")) == ({1.0}, {3.0})
    # A better value later does not wake it.
    assert not epochs.step(0.9, 6.5)
    assert not epochs.step(0.9, 6.4)
    assert epochs.step(0.9, 6.3)
    assert epochs.stops.done
    assert (epochs.numbers("head"), epochs.numbers("body")) == ({1.0}, {3.0})
    assert epochs.stops.facts() == {
        "head": {"metric": "valid/max", "mode": "max", "value": pytest.approx(0.7),
                 "best_epoch": 1, "matured": 3},
        "body": {"metric": "valid/min", "mode": "min", "value": 6.0,
                 "best_epoch": 3, "matured": 6},
    }  # fmt: skip


def test_without_an_end_or_without_any_value_nothing_matures(tmp_path: Path) -> None:
    endless = Epochs(tmp_path / "endless", stop_after=None)
    unknown = Epochs(tmp_path / "unknown")
    for _ in range(9):
        endless.step(0.5, float("nan"))
        unknown.step(float("nan"), float("nan"))
    assert endless.stops.matured == unknown.stops.matured == set()
    assert unknown.stops.progress["head"].since == 9


def test_the_state_comes_back(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path)
    for values in [(0.5, 9.0), (0.4, 8.0), (0.4, 7.0)]:
        epochs.step(*values)
    again = TaskStops(tmp_path, epochs.stops.tasks)
    again.load_state_dict(epochs.stops.state_dict())
    assert again.progress == epochs.stops.progress
    assert again.matured == {"head"}


def test_what_moves_after_maturing_is_an_error(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path)
    for values in [(0.5, 9.0), (0.4, 8.0), (0.4, 7.0)]:
        epochs.step(*values)
    epochs.stops.check(epochs.module, "s")
    with torch.no_grad():
        epochs.module.network.get_parameter("head.0.bias")[0] += 1
    with pytest.raises(StageError, match="stage 's': task 'head' was mature, 'head.0.bias' moved"):
        epochs.stops.check(epochs.module, "s")


def test_a_monitor_that_was_not_logged_is_named(tmp_path: Path) -> None:
    epochs = Epochs(tmp_path)
    trainer: Any = SimpleNamespace(callback_metrics={"valid/low": 1.0}, current_epoch=0)
    with pytest.raises(
        ConfigError, match=r"monitor.metric .valid/m(ax|in). was not logged; known: \[.valid/low.\]"
    ):
        epochs.stops.update(trainer, epochs.module)


@pytest.mark.parametrize(
    ("mode", "value", "best", "threshold", "expected"),
    [
        ("min", 1.0, 2.0, 0.0, True),
        ("max", 1.0, 2.0, 0.0, False),
        ("min", 2.0, 2.0, 0.0, False),
        ("min", 1.9, 2.0, 0.1, False),
        ("min", 1.7, 2.0, 0.1, True),
        ("max", float("nan"), 2.0, 0.0, False),
        ("max", 0.0, float("nan"), 0.5, True),
    ],
)
def test_better_is_by_direction_and_relative_threshold(
    mode: Literal["min", "max"],
    value: float,
    best: float,
    threshold: float,
    expected: bool,
) -> None:
    assert is_better(MonitorConfig(metric="m", mode=mode), value, best, threshold) is expected

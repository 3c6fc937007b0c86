"""The plateau schedule against torch's ReduceLROnPlateau, epoch by epoch."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from experiments.callbacks import StageCheckpoint
from experiments.cooperation import MonitorConfig
from experiments.weights import read_weights
from saliency.config import ScheduleConfig
from saliency.module import TaskSettings
from tests.saliency.test_module import Toy, ToyModule

RATE = 0.5


class Loop:
    """A trainer's side of the callback: an optimiser, the epoch, the monitored value."""

    def __init__(self, folder: Path, mode: str = "min", **schedule: Any) -> None:  # noqa: ANN401
        folder.mkdir(exist_ok=True)
        self.module = ToyModule(Toy(), TaskSettings("s", "classify", {"square": 1.0}))
        self.optimiser = torch.optim.Adam(self.module.parameters(), RATE)
        monitor = MonitorConfig.model_validate({"metric": "valid/loss", "mode": mode})
        config = ScheduleConfig(name="plateau", **schedule)
        self.checkpoint = StageCheckpoint(folder, monitor, config)
        self.epoch = 0

    def step(self, value: float) -> float:
        """One epoch: the weights move, the value is seen; the rate after it."""
        for parameter in self.module.parameters():
            parameter.grad = torch.full_like(parameter, 1.0 + self.epoch)
        self.optimiser.step()
        trainer = SimpleNamespace(
            callback_metrics={"valid/loss": torch.tensor(value, dtype=torch.float64)},
            current_epoch=self.epoch,
            optimizers=[self.optimiser],
            should_stop=False,
            save_checkpoint=lambda *_, **__: None,
        )
        self.checkpoint.on_train_epoch_end(trainer, self.module)  # type: ignore[arg-type]
        self.epoch += 1
        self.stop = trainer.should_stop
        return float(self.optimiser.param_groups[0]["lr"])


def walk(seed: int, n: int = 80) -> list[float]:
    """A falling random sequence with ties, tiny gains and long flat parts."""
    generator = np.random.default_rng(seed)
    steps = generator.choice([0.0, -1e-5, -1e-3, -0.05, 0.02], n, p=[0.3, 0.2, 0.2, 0.1, 0.2])
    return [float(value) for value in 3 + np.cumsum(steps)]


def by_torch(values: list[float], mode: str, factor: float, patience: int, threshold: float) -> Any:  # noqa: ANN401
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], RATE)
    scheduler = ReduceLROnPlateau(
        optimiser, "min" if mode == "min" else "max", factor, patience, threshold, eps=0.0
    )
    rates = []
    for value in values:
        scheduler.step(value)
        rates.append(optimiser.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("threshold", [0.0, 1e-4, 1e-2])
def test_the_rate_drops_when_torch_drops_it(
    tmp_path: Path, seed: int, mode: str, threshold: float
) -> None:
    values = walk(seed) if mode == "min" else [6 - value for value in walk(seed)]
    patience, factor = 1 + seed, 0.5
    loop = Loop(tmp_path, mode, patience=patience, factor=factor, threshold=threshold)
    found = [loop.step(value) for value in values]
    expected = by_torch(values, mode, factor, patience, threshold)
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[-1] < RATE


def test_an_undefined_value_is_no_gain(tmp_path: Path) -> None:
    values = [1.0, float("nan"), 0.9, float("nan"), float("nan"), float("nan"), 0.95]
    loop = Loop(tmp_path, patience=2, factor=0.1)
    found = [loop.step(value) for value in values]
    assert found == pytest.approx(by_torch(values, "min", 0.1, 2, 0.0))
    assert found[-2] == pytest.approx(RATE / 10)


def test_the_best_weights_follow_any_gain_and_the_rate_only_a_large_one(tmp_path: Path) -> None:
    loop = Loop(tmp_path, patience=3, factor=0.1, threshold=0.1)
    rates = [loop.step(value) for value in (1.0, 0.99, 0.98, 0.97, 0.96)]
    assert rates == pytest.approx([RATE] * 4 + [RATE / 10])
    assert (loop.checkpoint.best, loop.checkpoint.best_epoch) == (0.96, 4)
    assert loop.checkpoint.plateau_best == 1.0


def test_a_drop_reloads_the_best_weights_and_optimiser_with_the_new_rate(tmp_path: Path) -> None:
    loop = Loop(tmp_path, patience=1, factor=0.1, reload_best=True)
    states = []
    for value in (1.0, 0.8, 0.9, 0.85):
        rate = loop.step(value)
        weights = {name: v.clone() for name, v in loop.module.state_dict().items()}
        moments = [state["exp_avg"].clone() for state in loop.optimiser.state.values()]
        counts = [int(state["step"]) for state in loop.optimiser.state.values()]
        states.append((weights, moments, counts))
    assert rate == pytest.approx(RATE / 10)
    (best, kept, steps), (other, _, _), (last, back, again) = states[1:]
    assert steps == again
    assert set(steps) == {2}
    for name, tensor in best.items():
        assert torch.equal(last[name], tensor), name
    assert any(not torch.equal(other[name], tensor) for name, tensor in best.items())
    for one, two in zip(kept, back, strict=True):
        assert torch.equal(one, two)
    for name, tensor in read_weights(tmp_path / "best.safetensors").items():
        assert torch.equal(tensor, best[f"network.{name}"]), name


def test_two_drops_from_one_best_multiply(tmp_path: Path) -> None:
    loop = Loop(tmp_path, patience=1, factor=0.5, reload_best=True)
    rates = [loop.step(value) for value in (1.0, 2.0, 2.0, 2.0, 2.0)]
    assert rates == pytest.approx([RATE, RATE, RATE / 2, RATE / 2, RATE / 4])


def test_without_reload_the_weights_go_on(tmp_path: Path) -> None:
    loop = Loop(tmp_path, patience=1, factor=0.1)
    loop.step(1.0)
    first = {name: value.clone() for name, value in loop.module.state_dict().items()}
    loop.step(1.0)
    assert loop.step(1.0) == pytest.approx(RATE / 10)
    state = loop.module.state_dict()
    assert any(not torch.equal(state[name], value) for name, value in first.items())


def test_the_stage_stops_below_a_rate_and_goes_on_from_its_state(tmp_path: Path) -> None:
    loop = Loop(tmp_path / "one", patience=1, factor=0.1, stop_below=0.01)
    stops = []
    for value in (1.0, 2.0, 2.0, 2.0, 2.0):
        loop.step(value)
        stops.append(loop.stop)
    assert stops == [False] * 4 + [True]
    again = Loop(tmp_path / "two", patience=1, factor=0.1)
    again.checkpoint.load_state_dict(loop.checkpoint.state_dict())
    assert again.checkpoint.stopped
    assert again.checkpoint.plateau_best == 1.0

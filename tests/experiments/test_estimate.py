"""Estimates against what a real step keeps and does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from diagnosis.config import SmpUNetConfig
from experiments import estimate
from experiments.build import build_cohorts, build_network, shapes_of
from experiments.estimate import StepCost, estimate_lines, free_space, step_cost
from experiments.load import CONFIGS, load_config
from experiments.plan import check_everything
from saliency.network import Network
from tests.experiments.detector import shrunk
from tests.experiments.small import small_config


@pytest.mark.parametrize("name", ["contrast", "classify", "saliency", "fuse", "joint"])
def test_what_meta_counts_is_what_a_real_step_keeps(name: str) -> None:
    config = small_config()
    stage = config.stage(name)
    model = config.models["network"]
    costs = [step_cost(build_network(model, 6, 0), stage, device) for device in ("meta", "cpu")]
    assert costs[0] == costs[1]
    assert costs[0].saved > 0


def test_a_detector_is_counted_without_a_box() -> None:
    config = shrunk()
    (stage,), model = config.stages, config.models["detector"]
    costs = [step_cost(build_network(model, 6, 0), stage, device) for device in ("meta", "cpu")]
    # Real anchors are kept, too: a few numbers a cell.
    assert costs[0].saved <= costs[1].saved < 1.2 * costs[0].saved
    assert replace(costs[0], saved=0) == replace(costs[1], saved=0)
    # The heads at the finest level alone: 2 x 5 convolutions of 16 channels at 8x8 or finer.
    assert costs[0].forward > 8 * 10 * 2 * 9 * 16 * 16 * 16


@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0"])
def test_shapes_are_those_of_the_network_also_where_an_encoder_computes_itself(
    encoder: str,
) -> None:
    model = SmpUNetConfig(kind="smp_unet", encoder=encoder, in_channels=3)
    bare, whole = shapes_of(model, 4), build_network(model, 4, seed=0)
    assert {value.device.type for value in bare.state_dict().values()} == {"meta"}
    assert {n: v.shape for n, v in bare.state_dict().items()} == {
        n: v.shape for n, v in whole.state_dict().items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_stage_that_ships_is_estimated(name: str) -> None:
    config = load_config(Path(name))
    for stage in config.stages:
        model = config.models[stage.model]
        if model.built:
            network = shapes_of(model, 6)
            cost = step_cost(network, stage)
            assert 0 < cost.trained <= cost.weights
            assert cost.operations > cost.forward > 0


class Linear(Network):
    """One linear map, to count by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 10, bias=False), nn.Linear(10, 3, bias=False)

    def forward(self, image, task="joint", context=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, ARG002
        return {"class_logits": self.second(self.first(image.flatten(1)).relu())}


def test_a_step_counted_by_hand() -> None:
    stage = small_config().stage("joint")
    data = stage.data.model_copy(update={"image_size": (8, 8)})
    stage = stage.model_copy(update={"data": data, "batch_size": 4})
    cost = step_cost(Linear(), stage)
    weights = (64 * 10 + 10 * 3) * 4
    forward = 2 * 4 * (64 * 10 + 10 * 3)
    # The image needs no gradient: the first map has one product backward, the second two.
    backward = 2 * 4 * (64 * 10 + 2 * 10 * 3)
    # Kept: the hidden map after the ReLU; the image and the weights are there anyway.
    hidden = 4 * 10 * 4
    assert cost == StepCost(4, weights, weights, hidden, forward + backward, forward)
    assert cost.memory("sgd") == weights * 3 + hidden
    assert cost.memory("adamw") == weights * 4 + hidden
    frozen = stage.model_copy(update={"train": ("second.*",)})
    cost = step_cost(Linear(), frozen)
    assert cost.trained == 10 * 3 * 4
    assert cost.operations == forward + 2 * 4 * 10 * 3


def test_checkpointing_keeps_less_and_computes_more() -> None:
    config = small_config()
    model = config.models["network"]
    slim = model.model_copy(update={"checkpointing": True})
    plain, thrifty = (
        step_cost(build_network(m, 6, 0), config.stage("joint")) for m in (model, slim)
    )
    assert thrifty.saved < 0.8 * plain.saved
    assert thrifty.operations > plain.operations
    assert thrifty.forward == plain.forward


def test_lines_of_a_config_name_memory_time_and_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(estimate, "matmul_speed", lambda _: 1e9)
    config = small_config()
    lines = estimate_lines(config, build_cohorts(config), tmp_path / "not" / "there")
    assert [line.split(":")[0] for line in lines] == [
        "stage contrast", "stage classify", "stage saliency", "stage fuse", "stage joint", "disk",
    ]  # fmt: skip
    cost = step_cost(build_network(config.models["network"], 6, 0), config.stage("joint"))
    joint = lines[4]
    assert f"at least {cost.memory('adamw') / 2**20:.3g} MiB of memory" in joint
    assert f"({cost.saved / 2**20:.3g} MiB of it activations of 8 films)" in joint
    assert f"{cost.operations / 1e9:.3g} GFLOP a step" in joint
    # 24 training films are 3 steps, 9 or 10 validation films 2 batches.
    work = 3 * cost.operations + 2 * cost.forward
    assert f"about {work / 0.6e9:.2g} s to {work / 0.05e9:.2g} s an epoch" in joint
    assert "5% to 60% of 1 GFLOP/s" in joint
    assert f"{free_space(tmp_path) / 2**30:.3g} GiB free" in lines[-1]


def test_too_little_memory_or_disk_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = small_config()
    monkeypatch.setattr(estimate, "matmul_speed", lambda _: 1e9)
    monkeypatch.setattr(estimate, "_memory", lambda _: (1000, "this machine"))
    monkeypatch.setattr(estimate, "free_space", lambda _: 1000)
    lines = estimate_lines(config, build_cohorts(config), tmp_path)
    warnings = [line for line in lines if line.startswith("warning")]
    assert len(warnings) == 6
    assert "stage joint needs at least" in warnings[4]
    assert "this machine has 0.000954 MiB; lower batch_size, or set checkpointing" in warnings[4]
    assert "not enough space; choose another --out" in warnings[5]


def test_a_network_that_looks_at_numbers_is_not_estimated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object) -> StepCost:
        raise RuntimeError("meta tensors have no numbers\nmore")

    monkeypatch.setattr(estimate, "step_cost", fail)
    monkeypatch.setattr(estimate, "matmul_speed", lambda _: 1e9)
    config = small_config()
    lines = estimate_lines(config, build_cohorts(config), tmp_path)
    assert lines[0] == "stage contrast: not estimated (meta tensors have no numbers)"


def test_config_check_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "matmul_speed", lambda _: 1e9)
    lines = check_everything(small_config())
    assert sum("GFLOP a step" in line for line in lines) == 5
    assert any(line.startswith("disk: about") for line in lines)


def test_matmul_speed_is_that_of_a_product() -> None:
    assert torch.isfinite(torch.tensor(estimate.matmul_speed("cpu")))
    assert estimate.matmul_speed("cpu") > 1e7

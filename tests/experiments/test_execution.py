"""What ``auto`` means on a device, and that the fast ways give what the plain one gives."""

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from diagnosis.dual_encoder import DualEncoderUNet
from experiments.config import TrainerConfig
from experiments.console import load_run
from experiments.execution import DeviceFacts, Execution, choose_execution, device_facts
from experiments.load import dump_config
from experiments.runner import run
from experiments.weights import read_weights
from saliency.config import OptimiserConfig
from saliency.network import Network
from saliency.optimisers import build_optimiser
from tests.experiments.small import MODEL, small_config, small_stage

CPU = DeviceFacts("cpu", bf16=False, cores=16)
AMPERE = DeviceFacts("cuda", bf16=True, cores=16)
TURING = DeviceFacts("cuda", bf16=False, cores=6)
PLAIN = Execution("cpu", "32-true", "nchw", False, False, 0, False)
FAST = Execution("cuda", "bf16-mixed", "channels_last", False, True, 8, True)


def chosen(device: DeviceFacts, **config: Any) -> Execution:  # noqa: ANN401
    return choose_execution(TrainerConfig(**config), device)


def test_a_cpu_gets_what_was_measured_and_a_gpu_what_it_is_built_for() -> None:
    assert chosen(CPU) == PLAIN
    assert chosen(AMPERE) == FAST
    # Before Ampere bfloat16 is emulated.
    assert chosen(TURING) == replace(FAST, precision="32-true", workers=6)


def test_a_bfloat16_cpu_stays_in_float32() -> None:
    assert chosen(replace(CPU, bf16=True)) == PLAIN


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"precision": "32-true"}, {"precision": "32-true"}),
        # Lightning's scaler and a fused step would both unscale the gradients.
        ({"precision": "16-mixed"}, {"precision": "16-mixed", "fused": False}),
        ({"layout": "nchw"}, {"layout": "nchw"}),
        ({"fused": "off"}, {"fused": False}),
        ({"compile": True}, {"compile": True}),
        ({"workers": 0}, {"workers": 0}),
        ({"workers": 40}, {"workers": 40}),
        ({"devices": 4}, {"workers": 4}),
        ({"devices": 32}, {"workers": 1}),
    ],
)
def test_what_a_config_states_is_taken(config: dict[str, Any], expected: dict[str, Any]) -> None:
    assert chosen(AMPERE, **config) == replace(FAST, **expected)


def test_a_cpu_can_be_told_otherwise() -> None:
    told = chosen(CPU, precision="bf16-mixed", layout="channels_last", compile=True, workers=2)
    assert told == Execution("cpu", "bf16-mixed", "channels_last", True, False, 2, False)


def test_the_choice_in_words() -> None:
    assert str(PLAIN) == (
        "device cpu, precision 32-true, layout nchw, not compiled, plain optimiser, "
        "0 loader processes, pageable memory"
    )
    assert str(replace(FAST, compile=True)) == (
        "device cuda, precision bf16-mixed, layout channels_last, compiled, fused optimiser, "
        "8 loader processes, pinned memory"
    )


def test_the_facts_of_this_cpu() -> None:
    facts = device_facts("cpu")
    assert (facts.kind, facts.bf16) == ("cpu", False)
    assert facts.cores >= 1


def trained(folder: Path, **trainer: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:  # noqa: ANN401
    """Weights and record of an epoch of all tasks."""
    # By sgd: Adam turns what rounding leaves of a gradient of zero into steps of full size.
    optimiser = {"name": "sgd", "lr": 1e-3, "clip": 1.0}
    stage = small_stage("only", "finetune", "joint", epochs=1, optimiser=optimiser)
    config = small_config(stages=[stage], trainer={"device": "cpu", **trainer})
    run(config, folder, say=lambda _: None)
    (stage_folder,) = folder.glob("*-only")
    record = json.loads((stage_folder / "stage.json").read_text())
    return read_weights(stage_folder / "weights.safetensors"), record


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    weights, record = trained(tmp_path_factory.mktemp("plain") / "run")
    assert record["execution"] == asdict(PLAIN)
    return weights


def near(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-2, atol=1e-3, msg=name)


@pytest.mark.slow
def test_channels_last_trains_to_the_same_weights(
    plain: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    weights, record = trained(tmp_path / "run", layout="channels_last")
    assert record["execution"]["layout"] == "channels_last"
    near(weights, plain)
    moved = max(float((weights[name] - plain[name]).abs().max()) for name in plain)
    assert moved > 0, "another layout rounds otherwise: was it used?"


def gradients(network: DualEncoderUNet, image: torch.Tensor) -> dict[str, torch.Tensor]:
    outputs = network.eval()(image)
    weights = torch.linspace(0, 1, image.numel()).view_as(image)
    densities = outputs["saliency_logits"].flatten(1).softmax(1).view_as(image)
    ((densities * weights).sum() + outputs["class_logits"].square().sum()).backward()
    return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


def test_gradients_in_channels_last_are_those_in_nchw() -> None:
    """oneDNN has wrong ones for strided 1x1 convolutions of few channels: we have none."""
    options: Any = {name: value for name, value in MODEL.items() if name != "kind"}
    torch.manual_seed(0)
    network = DualEncoderUNet(2, **options)
    turned = copy.deepcopy(network).to(memory_format=torch.channels_last)
    image = torch.rand(3, 1, 32, 64)
    one, other = gradients(network, image), gradients(turned, image)
    assert one.keys() == other.keys()
    largest = max(float(value.abs().max()) for value in one.values())
    for name, value in one.items():
        torch.testing.assert_close(
            other[name], value, rtol=1e-3, atol=1e-6 * largest, msg=name, check_stride=False
        )


@pytest.mark.slow
# Dynamo looks at the gradients of what the network computes.
@pytest.mark.filterwarnings("ignore:.*not a leaf Tensor.*:UserWarning")
def test_compiled_it_trains_to_the_same_weights(
    plain: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Network] = []

    def compile_quickly(network: Network) -> None:
        compiled.append(network)
        nn.Module.compile(network, backend="eager")

    monkeypatch.setattr(Network, "compile", compile_quickly)
    torch._dynamo.reset()
    # The shape checks of the tests are no part of the product, and cannot be compiled.
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        weights, record = trained(tmp_path / "run", compile=True)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert len(compiled) == 1
    assert record["execution"]["compile"] is True
    near(weights, plain)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_fused_step_is_the_plain_step(name: str) -> None:
    torch.manual_seed(0)
    networks = [nn.Linear(7, 5)]
    networks.append(copy.deepcopy(networks[0]))
    config = OptimiserConfig.model_validate({"name": name, "lr": 0.1, "weight_decay": 0.01})
    for network, fused in zip(networks, (False, True), strict=True):
        optimiser = build_optimiser(config, list(network.parameters()), fused=fused)
        assert bool(optimiser.param_groups[0]["fused"]) is fused
        for step in range(3):
            optimiser.zero_grad()
            given = torch.rand(4, 7, generator=torch.Generator().manual_seed(step))
            network(given).square().mean().backward()
            optimiser.step()
    torch.testing.assert_close(networks[0].weight, networks[1].weight, rtol=1e-5, atol=1e-6)


def test_config_show_says_how_stages_will_compute(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from experiments.config_commands import config_show

    path = tmp_path / "small.yaml"
    path.write_text(dump_config(small_config()))
    config_show(path)
    assert f"on this machine: {PLAIN}" in " ".join(capsys.readouterr().out.split())
    config_show(path, ["trainer.workers=3", "trainer.precision=bf16-mixed"], as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["execution"] == asdict(replace(PLAIN, workers=3, precision="bf16-mixed"))
    assert load_run(path, None, None, None).trainer.workers == "auto"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_plan_for_a_gpu_can_be_shown_without_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from experiments.config_commands import config_show

    path = tmp_path / "small.yaml"
    path.write_text(dump_config(small_config(trainer={"device": "cuda"})))
    config_show(path, as_json=True)
    said = capsys.readouterr()
    assert "decided where they run: device 'cuda' was asked for" in said.err
    assert json.loads(said.out)["execution"] is None


def test_while_a_stage_trains_numpy_has_one_thread_and_torch_all(tmp_path: Path) -> None:
    config = small_config(stages=[small_stage("gaze", "cooperative", "saliency", epochs=1)])
    found: list[tuple[set[int], int]] = []

    def look(_: str) -> None:
        found.append((_blas_threads(), torch.get_num_threads()))

    before = torch.get_num_threads()
    with threadpool_limits(2, "blas"):
        run(config, tmp_path, say=look)
        assert found == [({1}, before)]
        assert _blas_threads() == {2}


def _blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

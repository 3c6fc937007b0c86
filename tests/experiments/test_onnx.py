"""ONNX says what torch says, for every batch and size, and says what it is."""

import builtins
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from experiments import onnx_export
from experiments.export import export_model
from experiments.gaze_model import GazeModel, load_model
from experiments.onnx_engine import OnnxEngine, use_onnxruntime
from experiments.onnx_export import TOLERANCE, example, export_onnx
from experiments.prediction_config import NOTICE, PredictionConfig
from experiments.predictor import Predictor
from eye_gaze_data.errors import ConfigError, StageError
from tests.experiments.small import MODEL


def untrained(size: tuple[int, int], **settings: Any) -> GazeModel:  # noqa: ANN401
    torch.manual_seed(0)
    chosen = {"task": "joint", "classes": ["a", "b"], "image_size": list(size)} | settings
    return GazeModel(network=MODEL, settings=chosen).eval()


def ours_and_theirs(
    model: GazeModel, path: Path, given: dict[str, torch.Tensor]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    found = session.run(None, {name: value.numpy() for name, value in given.items()})
    with torch.no_grad():
        said = model(**given)
    assert names == list(said)
    return {n: (said[n].numpy(), f) for n, f in zip(names, found, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize("size", [(32, 32), (64, 96)])
def test_parity_for_sizes_and_batches(size: tuple[int, int], tmp_path: Path) -> None:
    model = untrained(size, temperatures=[2.0, 0.5])
    path = tmp_path / "model.onnx"
    said = export_onnx(model, path)
    assert set(said) == {"class_logits", "probabilities", "saliency_logits", "density"}
    assert max(said.values()) < TOLERANCE
    for batch in (1, 3, 8):
        given = example(model.settings, batch, seed=7)
        for ours, theirs in ours_and_theirs(model, path, given).values():
            assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-5)


@pytest.mark.slow
def test_the_engine_predicts_what_the_network_predicts_and_keeps_its_graph(
    evaluated_run: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    run = tmp_path / "run"
    shutil.copytree(evaluated_run, run)
    network, fast = (Predictor.load(run, device="cpu") for _ in range(2))
    path = use_onnxruntime(fast, run, say=lines.append)
    assert path == run / "export" / "joint.onnx"
    assert len(lines) == 1
    rng = np.random.default_rng(0)
    for size in ((90, 60), (31, 200), (32, 32)):
        film = rng.random(size, np.float32)
        one, other = network.predict(film), fast.predict(film)
        assert other.probabilities == pytest.approx(np.asarray(one.probabilities), abs=1e-5)
        assert one.density is not None
        assert other.density is not None
        torch.testing.assert_close(other.density, one.density, rtol=1e-3, atol=1e-8)
        assert other.activation is None
    use_onnxruntime(fast, run, say=lines.append)
    assert len(lines) == 1, "exported once"
    path.write_bytes(b"broken")
    use_onnxruntime(fast, run, say=lines.append)
    assert len(lines) == 2
    _check_metadata(run, path)


def _check_metadata(run: Path, path: Path) -> None:
    said = OnnxEngine(path).metadata
    model = load_model(run)
    assert said["notice"] == NOTICE
    assert json.loads(said["classes"]) == model.pathologies
    assert json.loads(said["image_size"]) == [32, 32]
    assert json.loads(said["temperatures"]) == list(model.settings.temperatures or ())
    assert json.loads(said["facts"])["weights_sha256"] == model.facts["weights_sha256"]
    assert json.loads(said["preprocessing"])["fit"] == "pad"


@pytest.mark.slow
def test_a_graph_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = untrained((32, 32))
    data = onnx_export._graph(model)
    monkeypatch.setattr(onnx_export, "_graph", lambda _: data)
    with torch.no_grad():
        model.network.class_head("joint")[3].bias.add_(0.1)  # type: ignore[index]
    with pytest.raises(StageError, match=r"differs from the network: 'class_logits' by 0\.1"):
        export_onnx(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluated_run: Path
) -> None:
    model = untrained((32, 32))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a loop over numbers\nsecond line")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(StageError, match=r"cannot be exported to ONNX: a loop over numbers; "):
        export_onnx(model, tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="task 'contrast' gives neither findings nor gaze"):
        export_model(evaluated_run, "onnx", tmp_path, "contrast")
    monkeypatch.setattr(onnx_export, "_graph", lambda _: b"no graph")
    with pytest.raises(StageError, match="onnxruntime cannot run the exported graph"):
        export_onnx(model, tmp_path / "model.onnx")


def test_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def without(name: str, *rest: Any) -> Any:  # noqa: ANN401
        if name == "onnxscript":
            raise ImportError(name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"ONNX needs 'onnxscript'; pip install 'gazedx\[export"):
        export_onnx(untrained((32, 32)), tmp_path / "model.onnx")


def test_the_engine_runs_on_the_cpu_alone(evaluated_run: Path, tmp_path: Path) -> None:
    predictor = Predictor.load(evaluated_run, device="cpu")
    predictor.device = torch.device("cuda")
    with pytest.raises(ConfigError, match="engine 'onnxruntime' runs on the CPU"):
        use_onnxruntime(predictor, evaluated_run)
    (tmp_path / "bad.onnx").write_bytes(b"x")
    with pytest.raises(StageError, match=r"bad.onnx: onnxruntime cannot read it .*delete it"):
        OnnxEngine(tmp_path / "bad.onnx")


def test_films_to_try_a_graph_on_have_margins_and_unknown_masks() -> None:
    settings = PredictionConfig(
        task="joint", image_size=(32, 64), organs=("lungs", "heart"), anatomy="cohort"
    )
    given = example(settings, 3, seed=1)
    assert given["image"].shape == (3, 1, 32, 64)
    assert [int(row.sum()) for row in given["valid"]] == [32 * 64, 32 * 56, 32 * 48]
    assert not given["image"][~given["valid"]].any()
    assert given["anatomy"].isnan().flatten(1).all(1).tolist() == [True, False, False]
    assert torch.equal(example(settings, 3, seed=1)["image"], given["image"])

"""Shared models: what is saved is what is loaded, offline, and what the card says is true."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from experiments.finished import FinishedStage
from experiments.gaze_model import GazeModel, load_model, open_predictor
from experiments.model_card import model_card, model_facts
from experiments.prediction_config import NOTICE, PredictionConfig
from experiments.predictor import Predictor
from eye_gaze_data.errors import ConfigError, StageError
from eye_gaze_data.files import read_json, sha256_of_file
from tests.experiments.small import MODEL


@pytest.fixture(scope="module")
def model(evaluated_run: Path) -> GazeModel:
    return load_model(evaluated_run)


@pytest.fixture
def folder(model: GazeModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "shared")
    return tmp_path / "shared"


def bare(**settings: Any) -> GazeModel:  # noqa: ANN401
    """An untrained model of the small network."""
    chosen = {"task": "joint", "classes": ["a", "b"], "image_size": [32, 32]} | settings
    return GazeModel(network=MODEL, settings=chosen).eval()


def test_what_is_loaded_gives_the_same_bits(
    model: GazeModel,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a local folder needs no network")

    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    again: GazeModel = GazeModel.from_pretrained(folder)
    assert capsys.readouterr().out == ""
    image = torch.rand(3, 1, 32, 32)
    valid = torch.ones_like(image, dtype=torch.bool)
    valid[1, ..., :6] = False
    with torch.no_grad():
        one, other = model(image, valid), again(image, valid)
    assert list(one) == ["class_logits", "probabilities", "saliency_logits", "density"]
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert not again.training
    assert again.pathologies == model.pathologies


def test_outputs_are_calibrated_and_densities(model: GazeModel) -> None:
    image = torch.rand(2, 1, 32, 32)
    valid = torch.ones_like(image, dtype=torch.bool)
    valid[0, ..., 20:] = False
    with torch.no_grad():
        found = model(image, valid)
        whole = model(image)["density"]
    assert model.settings.temperatures is not None
    expected = torch.sigmoid(found["class_logits"] / torch.tensor(model.settings.temperatures))
    torch.testing.assert_close(found["probabilities"], expected)
    torch.testing.assert_close(found["density"].sum((1, 2, 3)), torch.ones(2))
    assert not found["density"][0, 0, :, 20:].any()
    torch.testing.assert_close(whole.sum((1, 2, 3)), torch.ones(2))


def test_exclusive_classes_share_one_probability() -> None:
    found = bare(exclusive=True, temperatures=[2.0, 2.0])(torch.rand(2, 1, 32, 32))
    expected = torch.softmax(found["class_logits"] / 2, 1)
    torch.testing.assert_close(found["probabilities"], expected)
    assert "density" not in bare(task="classify")(torch.rand(2, 1, 32, 32))


def test_a_shared_model_predicts_as_its_run(evaluated_run: Path, folder: Path) -> None:
    film = np.random.default_rng(0).random((70, 45), np.float32)
    one = open_predictor(evaluated_run, device="cpu").predict(film)
    other = open_predictor(folder, device="cpu").predict(film)
    assert one.probabilities is not None
    assert np.array_equal(one.probabilities, np.asarray(other.probabilities))
    assert one.density is not None
    assert other.density is not None
    assert torch.equal(one.density, other.density)


def test_the_config_asks_for_no_download_and_names_no_path(
    folder: Path, evaluated_run: Path
) -> None:
    said = read_json(folder / "config.json")
    assert set(said) == {"network", "settings", "facts"}
    assert said["network"]["pretrained"] is False
    pretending = GazeModel(
        network=MODEL | {"pretrained": False}, settings=said["settings"], facts={}
    )
    assert pretending.network_config["pretrained"] is False
    text = (folder / "config.json").read_text() + (folder / "README.md").read_text()
    assert str(evaluated_run) not in text
    assert str(Path.home()) not in text
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "model.safetensors",
    }  # fmt: skip


def test_pretrained_weights_are_never_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def note(config: Any, *_: object, **__: object) -> torch.nn.Module:  # noqa: ANN401
        asked.append(config.pretrained)
        return torch.nn.Identity()

    monkeypatch.setattr("experiments.gaze_model.build_network", note)
    model = GazeModel(
        network=MODEL | {"pretrained": True},
        settings={"task": "joint", "classes": ["a"], "image_size": [32, 32]},
    )
    assert asked == [False]
    assert model.network_config["pretrained"] is False


def test_folders_that_are_no_model_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: no run folder"):
        load_model(tmp_path / "empty")
    with pytest.raises(ConfigError, match="no config.json with network, settings: no gazedx model"):
        GazeModel.from_pretrained(tmp_path / "empty")
    with pytest.raises(ConfigError, match=r"an exported model has no stages; leave out --stage"):
        load_model(folder, "joint")
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(StageError, match=r"model.safetensors: expected safetensors"):
        load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(StageError, match=r"model.safetensors: no such weights file"):
        load_model(folder)


def test_weights_that_lack_a_tensor_or_have_another_shape_are_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    state = load_file(path)
    name = "network.fusion.0.weight"
    save_file({k: v for k, v in state.items() if k != name}, path)
    with pytest.raises(StageError, match="all tensors of the network, 1 are missing, 'network.fus"):
        load_model(folder)
    save_file(state | {name: state[name][:, 1:].contiguous()}, path)
    with pytest.raises(StageError, match=r"'network.fusion.0.weight' has shape"):
        load_model(folder)


def test_organ_masks_of_another_stage_must_be_given() -> None:
    settings = {"organs": ["lungs", "heart"], "anatomy": "stage"}
    with pytest.raises(ConfigError, match="organ masks that another stage of its run predicts"):
        bare(**settings).predictor("cpu")
    film = np.zeros((40, 40), np.float32)
    for anatomy, expected in (("ones", 1.0), ("cohort", np.nan)):
        predictor = bare(organs=["lungs", "heart"], anatomy=anatomy).predictor("cpu")
        masks = predictor.prepare(film)["anatomy"].numpy()
        assert masks.shape == (2, 32, 32)
        np.testing.assert_allclose(masks, np.full_like(masks, expected), rtol=1e-6)


def test_facts_are_those_of_the_run(evaluated_run: Path) -> None:
    facts = model_facts(FinishedStage.load(evaluated_run))
    metrics = read_json(evaluated_run / "evaluate" / "metrics.json")
    assert facts["splits_sha256"] == sha256_of_file(evaluated_run / "splits.csv")
    assert facts["weights_sha256"] == metrics["weights_sha256"]
    rows = (evaluated_run / "splits.csv").read_text().splitlines()[1:]
    assert facts["data"] == [
        {
            "cohort": "phantom",
            "kind": "phantom",
            "images": {
                k: sum(r.endswith(f",{k}") for r in rows) for k in ("train", "test", "valid")
            },
            "patients": 48,
        }
    ]
    numbers = {row["what"]: row for row in facts["metrics"]}
    assert numbers["mean AUROC"]["value"] == metrics["diagnosis"]["phantom"]["macro_auroc"]["value"]
    cc = metrics["saliency"]["phantom"]["rows"]["model"]["cc"]
    assert [numbers["gaze CC, model"][k] for k in ("value", "low", "high", "n")] == [
        cc[k] for k in ("value", "low", "high", "n")
    ]
    json.dumps(facts, allow_nan=False)


def test_the_card_states_metrics_with_intervals_and_limits(model: GazeModel, folder: Path) -> None:
    text = (folder / "README.md").read_text()
    card = vars(ModelCard(text).data)
    assert card["library_name"] == "gazedx"
    assert "research-only" in card["tags"]
    assert NOTICE in text
    row = next(r for r in model.facts["metrics"] if r["what"] == "gaze CC, model")
    line = f"| {row['value']:.3f} | {row['low']:.3f} to {row['high']:.3f} | {row['n']} |"
    assert f"| phantom | gaze CC, model {line}" in text
    assert model.facts["splits_sha256"] in text
    assert "Splits are by patient." in text
    assert "## Limits" in text
    assert "under a use agreement" not in text


def test_the_card_warns_of_agreements_unknown_sources_and_torn_patients() -> None:
    settings = PredictionConfig(task="classify", classes=("a",), image_size=(32, 32))
    data = [{"cohort": "mine", "kind": "csv"}, {"cohort": "boston", "kind": "mimic_cxr"}]
    text = model_card(settings, {"data": data, "split_by_image": ["boston"]})
    assert "**boston: data under a use agreement. Sharing weights" in text
    assert "mine: files of the user's own choice, their licence is not known" in text
    assert "patients of boston may stand in several splits" in text
    assert "These weights were not evaluated." in text
    assert "the probabilities are not calibrated" in text


def test_an_evaluation_of_other_weights_is_not_quoted(evaluated_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(evaluated_run, run)
    metrics = read_json(run / "evaluate" / "metrics.json")
    (run / "evaluate" / "metrics.json").write_text(
        json.dumps(metrics | {"weights_sha256": "other"})
    )
    facts = model_facts(FinishedStage.load(run))
    assert facts["metrics"] == []
    assert Predictor.load(run, device="cpu").settings.temperatures is None

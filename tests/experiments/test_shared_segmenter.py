"""The segmenter of a run stands in its shared model: the same masks, the same predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import interpolate

from experiments.export import export_model
from experiments.finished import FinishedStage
from experiments.gaze_model import GazeModel, load_model, open_predictor
from experiments.onnx_engine import OnnxEngine, use_onnxruntime
from experiments.onnx_export import TOLERANCE, example, export_onnx, metadata
from experiments.predictor import Predictor
from experiments.record import read_stage
from experiments.runner import run
from eye_gaze_data.errors import ConfigError, DataError, StageError
from eye_gaze_data.files import read_json, sha256_of_file

from .anatomy import CLASSIFIER, ORGANS, SEGMENTER, anatomy_config, joint_stage, segment_stage

PLANES = [2, 0]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "anatomy"
    run(anatomy_config(segment_stage(epochs=1), joint_stage()), folder, say=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def shared(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    load_model(finished).save_pretrained(folder)
    return folder


def untrained(
    size: tuple[int, int] = (32, 32), fit: str = "pad", organs: tuple[str, ...] = ("heart",)
) -> GazeModel:
    """A model on a grid of 32x32, fit 'pad', with a segmenter on another."""
    torch.manual_seed(0)
    settings = {"task": "joint", "classes": ["a"], "image_size": [32, 32], "anatomy": "stage"}
    segmenter: dict[str, Any] = {"network": SEGMENTER, "image_size": size, "fit": fit}
    network = CLASSIFIER | {"organs": list(organs)}
    model = GazeModel(network, settings | {"organs": list(organs)}, None, segmenter).eval()
    assert model.segmenter is not None
    # Fresh heads say 0.5 throughout; masks should have a shape.
    torch.nn.init.normal_(model.segmenter.network.get_parameter("head.1.weight"))
    return model


def test_a_shared_model_predicts_bit_for_bit_as_its_run(finished: Path, shared: Path) -> None:
    one = Predictor.of_stage(FinishedStage.load(finished), device="cpu")
    other = open_predictor(shared, device="cpu")
    rng = np.random.default_rng(0)
    for size in ((90, 60), (31, 200), (32, 32)):
        film = rng.random(size, np.float32)
        ours, theirs = one.prepare(film)["anatomy"], other.prepare(film)["anatomy"]
        assert torch.equal(ours, theirs)
        assert ours.std() > 0
        expected, found = one.predict(film), other.predict(film)
        np.testing.assert_array_equal(np.asarray(found.logits), np.asarray(expected.logits))
        assert found.density is not None
        assert expected.density is not None
        assert torch.equal(found.density, expected.density)


def test_the_folder_holds_config_and_weights_of_the_segmenter(finished: Path, shared: Path) -> None:
    said = read_json(shared / "config.json")["segmenter"]
    assert (said["image_size"], said["fit"]) == ([32, 32], "pad")
    assert (said["network"]["organs"], said["network"]["pretrained"]) == (ORGANS, False)
    stored = load_file(shared / "model.safetensors")
    trained = load_file(finished / "01-anatomy" / "weights.safetensors")
    prefix = "segmenter.network."
    own = {k.removeprefix(prefix): v for k, v in stored.items() if k.startswith(prefix)}
    assert own.keys() == trained.keys()
    assert all(torch.equal(own[name], value) for name, value in trained.items())


def test_a_folder_that_lost_its_segmenter_is_refused(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((shared / "config.json").read_text())
    state = load_file(shared / "model.safetensors")
    kept = {k: v for k, v in state.items() if not k.startswith("segmenter.")}
    save_file(kept, tmp_path / "model.safetensors")
    with pytest.raises(StageError, match=r"are missing, 'segmenter\.network\."):
        load_model(tmp_path)


def test_the_card_names_the_segmenter_and_its_dice(finished: Path, shared: Path) -> None:
    record = read_stage(finished / "01-anatomy")
    assert record is not None
    dice = record["monitor"]["value"]
    assert read_json(shared / "config.json")["facts"]["segmenter"] == {
        "stage": "anatomy",
        "organs": ORGANS,
        "weights_sha256": sha256_of_file(finished / "01-anatomy" / "weights.safetensors"),
        "dice": dice,
    }
    text = (shared / "README.md").read_text()
    assert f"stage anatomy, mean Dice {dice:.3f} on the validation split" in text
    assert "masks unknown" not in text


def test_an_image_on_the_segmenters_grid_is_segmented_as_it_is() -> None:
    model = untrained(organs=("heart", "left_lung"))
    given = example(model.settings, 3, seed=0)
    image, valid = given["image"], given["valid"]
    with torch.no_grad():
        found = model(image, valid)
        assert model.segmenter is not None
        masks = model.segmenter.network(image)["anatomy_logits"].sigmoid()[:, PLANES]
        expected = model(image, valid, masks * valid)
        unknown = model(image, valid, torch.full_like(masks, torch.nan))
    assert model.masks_inside
    for name in ("class_logits", "density"):
        torch.testing.assert_close(found[name], expected[name])
    assert (found["class_logits"] - unknown["class_logits"]).abs().max() > 1e-4


def test_an_image_of_another_size_goes_there_and_back() -> None:
    model = untrained((64, 64))
    image = torch.rand(2, 1, 32, 32)
    valid = torch.ones_like(image, dtype=torch.bool)
    valid[0, ..., :8] = False
    assert model.segmenter is not None
    with torch.no_grad():
        found = model.segmenter.on_grid(image, valid)
        large = interpolate(image, (64, 64), mode="bilinear")
        masks = model.segmenter.network(large)["anatomy_logits"].sigmoid()[:, [2]]
    # Half the size, antialiased: a tent of four pixels, 1-3-3-1, at each side.
    weights = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    inner = torch.nn.functional.conv2d(
        masks[..., 1:, 1:], torch.outer(weights, weights)[None, None], stride=2
    )
    torch.testing.assert_close(found[1, :, 1:31, 1:31], inner[1, :, :30, :30], rtol=0, atol=1e-5)
    assert not found[0, :, :, :8].any()


@pytest.mark.parametrize(("size", "fit"), [((32, 32), "stretch"), ((32, 64), "pad")])
def test_an_image_that_shows_films_another_way_is_refused(size: tuple[int, int], fit: str) -> None:
    model = untrained(size, fit)
    image = torch.rand(1, 1, 32, 32)
    with pytest.raises(ConfigError, match=r"does not serve both; give 'anatomy', or use 'predicto"):
        model(image)
    assert model(image, None, torch.ones(1, 1, 32, 32))["probabilities"].shape == (1, 1)
    assert metadata(model)["organ_masks"] == "input 'anatomy'"
    # Films are no prepared images: the segmenter brings them onto its own grid.
    predictor = model.predictor("cpu")
    assert predictor.anatomy is not None
    masks = predictor.prepare(np.random.default_rng(0).random((40, 30), np.float32))["anatomy"]
    assert masks.isfinite().all()
    with pytest.raises(DataError, match="a shared model has no cohort, asked for row 3"):
        predictor.anatomy(3, (40, 30))


def test_a_segmenter_without_the_organs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"reads the organs \['spine'\], its segmenter gives"):
        untrained(organs=("spine",))


def test_bare_weights_hold_the_segmenter_under_its_prefix(finished: Path, tmp_path: Path) -> None:
    export_model(finished, "safetensors", tmp_path)
    stored = load_file(tmp_path / "weights.safetensors")
    trained = load_file(finished / "01-anatomy" / "weights.safetensors")
    for name, value in trained.items():
        assert torch.equal(stored[f"segmenter.{name}"], value)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(32, 32), (64, 64), (16, 16)])
def test_the_graph_segments_inside(size: tuple[int, int], tmp_path: Path) -> None:
    model = untrained(size)
    said = export_onnx(model, tmp_path / "model.onnx")
    assert max(said.values()) < TOLERANCE
    options = {"providers": ["CPUExecutionProvider"]}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", **options)
    assert [one.name for one in session.get_inputs()] == ["image", "valid"]
    given = {k: v for k, v in example(model.settings, 4, seed=9).items() if k != "anatomy"}
    found = session.run(["class_logits"], {k: v.numpy() for k, v in given.items()})[0]
    with torch.no_grad():
        expected = model(**given)["class_logits"]
    assert found == pytest.approx(expected.numpy(), rel=TOLERANCE, abs=TOLERANCE)
    assert session.get_modelmeta().custom_metadata_map["organ_masks"] == "segmented inside"


@pytest.mark.slow
def test_the_engine_takes_the_masks_of_whole_films(shared: Path) -> None:
    network, fast = (open_predictor(shared, device="cpu") for _ in range(2))
    path = use_onnxruntime(fast, shared)
    engine = OnnxEngine(path)
    assert [one.name for one in engine.session.get_inputs()] == ["image", "valid", "anatomy"]
    assert engine.metadata["organ_masks"] == "input 'anatomy'"
    assert json.loads(engine.metadata["facts"])["segmenter"]["stage"] == "anatomy"
    model, rng = load_model(shared), np.random.default_rng(1)
    for size in ((90, 60), (31, 200)):
        film = rng.random(size, np.float32)
        one, other = network.predict(film), fast.predict(film)
        assert other.logits == pytest.approx(np.asarray(one.logits), rel=TOLERANCE, abs=TOLERANCE)
        # The prepared image alone gives masks that are a little different.
        row = network.prepare(film)
        with torch.no_grad():
            near = model(row["image"][None], row["valid"][None])["class_logits"][0]
        assert near.numpy() == pytest.approx(np.asarray(one.logits), abs=0.05)

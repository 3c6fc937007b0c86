"""Masks of a segment stage: written with the model's hash, reused, and the stage travels on."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from experiments.anatomy_source import ensure_masks
from experiments.build import build_cohorts
from experiments.evaluate import evaluate
from experiments.finished import FinishedStage
from experiments.predictor import Predictor
from experiments.record import read_stage
from experiments.report import write_report
from experiments.runner import run
from experiments.stage_data import stage_dataset
from eye_gaze_data.batch import collate
from eye_gaze_data.errors import StageError
from eye_gaze_data.files import read_json, sha256_of_file
from eye_gaze_data.geometry import warp_pixels

from .anatomy import CLASSIFIER, anatomy_config, joint_stage, segment_stage


def quiet(folder: Path, **changes: object) -> list[str]:
    lines: list[str] = []
    run(anatomy_config(segment_stage(), joint_stage(**changes)), folder, say=lines.append)
    return lines


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "anatomy"
    quiet(folder)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    masks = folder / "01-anatomy" / "masks"
    return {path.name: sha256_of_file(path) for path in masks.iterdir()}


def test_the_best_epoch_is_chosen_by_dice(finished: Path) -> None:
    table = pd.read_csv(finished / "01-anatomy" / "metrics.csv")
    assert table[["train/dice_bce", "train/teacher_consistency"]].notna().all().all()
    record = read_stage(finished / "01-anatomy")
    assert record is not None
    assert record["monitor"]["value"] == pytest.approx(table["valid/dice"].max())


@pytest.mark.parametrize("train", [["*"], ["decoder.*", "head.*"]])
def test_the_teacher_of_the_best_epoch_is_handed_over(tmp_path: Path, train: list[str]) -> None:
    run(anatomy_config(segment_stage(epochs=1, train=train)), tmp_path, say=lambda _: None)
    best = load_file(tmp_path / "01-anatomy" / "weights.safetensors")
    last = torch.load(tmp_path / "01-anatomy" / "checkpoints" / "last.ckpt", weights_only=True)
    state = last["state_dict"]
    for name, value in best.items():
        assert torch.equal(value, state[f"teacher.{name}"])
    assert not torch.equal(state["teacher.head.1.weight"], state["network.head.1.weight"])


def test_masks_are_keyed_by_the_model_and_the_data(finished: Path) -> None:
    key = read_json(finished / "01-anatomy" / "masks" / "key.json")
    weights = sha256_of_file(finished / "01-anatomy" / "weights.safetensors")
    record = read_stage(finished / "02-joint")
    assert record is not None
    assert key["weights_sha256"] == weights == record["inputs"]["weights"]["anatomy"]
    assert key["data"] == read_json(finished / "manifest.json")["cohorts"]
    before = hashes(finished)
    assert all("skipped" in line for line in quiet(finished))
    cohort = build_cohorts(anatomy_config(segment_stage(), joint_stage()))
    stage = FinishedStage.load(finished, "anatomy")
    assert ensure_masks(stage, cohort, key["data"], "cpu") == 0
    assert hashes(finished) == before


def test_a_film_has_the_same_masks_in_the_cohort_and_from_elsewhere(finished: Path) -> None:
    joint = FinishedStage.load(finished)
    predictor = Predictor.of_stage(joint, device="cpu")
    cohort = build_cohorts(joint.config)
    source = predictor.anatomy
    assert source is not None
    assert source.organs == tuple(CLASSIFIER["organs"])
    row = int(cohort.rows_of("test")[0])
    film = cohort.images(row)
    np.testing.assert_array_equal(source(row, film.shape), source.of_film(film))
    dataset = stage_dataset(joint.config, joint.stage, cohort, source)
    batch = collate([dataset[0, row]])
    # By hand: the film on the segmenter's grid, through the network, planes in the stage's order.
    network = load_network(finished)
    image = warp_pixels(
        torch.from_numpy(film)[None], dataset[0, row][0]["frame"].double().numpy(), (32, 32)
    )
    with torch.no_grad():
        known = network(image[None].clamp(0, 1))["anatomy_logits"].sigmoid()[0, [2, 0]]
    torch.testing.assert_close(batch["anatomy"][0], known, atol=0.5 / 255 + 1e-5, rtol=0)
    (batched,) = predictor.predict_batch(batch)
    single = predictor.predict(film)
    assert batched.probabilities is not None
    np.testing.assert_allclose(single.probabilities, batched.probabilities, rtol=1e-6)  # type: ignore[arg-type]


def load_network(folder: Path) -> torch.nn.Module:
    from experiments.anatomy_source import load_segmenter

    return load_segmenter(FinishedStage.load(folder, "anatomy"), "cpu").masks.network


def test_prediction_listens_to_the_segmenter(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    predictor = Predictor.load(folder, device="cpu")
    film = np.random.default_rng(0).random((50, 40), np.float32)
    before = predictor.predict(film)
    other = Predictor.load(folder, device="cpu")
    segmenter = other.anatomy.segmenter.masks  # type: ignore[union-attr]
    with torch.no_grad():
        segmenter.network.head[1].bias.add_(20)
    after = other.predict(film)
    assert np.abs(before.probabilities - after.probabilities).max() > 1e-6  # type: ignore[operator]
    # The cohort is not needed for films from elsewhere: neither are its masks.
    shutil.rmtree(folder / "01-anatomy" / "masks")
    again = Predictor.load(folder, device="cpu").predict(film)
    np.testing.assert_array_equal(again.probabilities, before.probabilities)


def test_evaluation_report_and_lost_masks(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    before = hashes(folder)
    shutil.rmtree(folder / "01-anatomy" / "masks")
    metrics = evaluate(folder, device="cpu")
    assert hashes(folder) == before
    assert 0 <= metrics["diagnosis"]["phantom"]["macro_auroc"]["value"] <= 1
    assert write_report(folder).is_file()


def test_another_segmenter_makes_the_stage_that_used_it_stale(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    config = anatomy_config(segment_stage(epochs=1), joint_stage())
    with pytest.raises(StageError, match=r"'anatomy' was complete .* changed: stage\.epochs"):
        run(config, folder, say=lambda _: None)
    run(config, folder, first="anatomy", last="anatomy", say=lambda _: None)
    assert hashes(folder).keys() == hashes(finished).keys()
    assert hashes(folder)["key.json"] != hashes(finished)["key.json"]
    with pytest.raises(StageError, match=r"'joint' was complete .* changed: weights\.anatomy"):
        run(config, folder, say=lambda _: None)


def test_a_stage_waits_for_its_segmenter(tmp_path: Path) -> None:
    config = anatomy_config(segment_stage(), joint_stage())
    with pytest.raises(StageError, match="01-anatomy: the stage was never run"):
        run(config, tmp_path, kinds=["finetune"], say=lambda _: None)

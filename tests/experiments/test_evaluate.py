import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import roc_auc_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments.build import build_cohorts
from experiments.evaluate import evaluate
from experiments.metric_names import METRICS
from experiments.predictor import Prediction, Predictor, grid_of, resample_density
from eye_gaze_data.config import GazeConfig
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.density import count_fixations
from eye_gaze_data.errors import ConfigError, StageError
from eye_gaze_data.files import read_json
from eye_gaze_data.geometry import fit_frame, valid_pixels
from tests.experiments.small import small_config


def test_scores_stand_for_every_test_image_and_no_other(evaluated_run: Path) -> None:
    table = pd.read_csv(evaluated_run / "evaluate" / "per_image.csv")
    splits = pd.read_csv(evaluated_run / "splits.csv")
    test = splits[splits["split"] == "test"]
    assert set(table["image_id"]) == set(test["image_id"])
    for row in ("", "centre_bias_", "uniform_"):
        for name in METRICS:
            assert f"{row}{name}" in table


def test_means_are_those_of_the_images(evaluated_run: Path) -> None:
    table = pd.read_csv(evaluated_run / "evaluate" / "per_image.csv")
    metrics = read_json(evaluated_run / "evaluate" / "metrics.json")
    rows = metrics["saliency"]["phantom"]["rows"]
    for name in METRICS:
        assert rows["model"][name]["value"] == pytest.approx(table[name].mean(), rel=1e-6)
        assert rows["model"][name]["low"] <= rows["model"][name]["value"]
        assert rows["model"][name]["high"] >= rows["model"][name]["value"]
    for finding, entry in metrics["diagnosis"]["phantom"]["findings"].items():
        truth, score = table[f"label_{finding}"], table[f"probability_{finding}"]
        if truth.nunique() == 2:
            expected = roc_auc_score(truth, score)
            assert entry["auroc"]["value"] == pytest.approx(expected, abs=1e-6)


def test_the_uniform_row_is_what_theory_says(evaluated_run: Path) -> None:
    rows = read_json(evaluated_run / "evaluate" / "metrics.json")["saliency"]["phantom"]["rows"]
    uniform = rows["uniform"]
    assert uniform["auc"]["value"] == 0.5
    assert uniform["nss"]["value"] == 0
    assert uniform["cc"]["value"] is None
    n = uniform["cc"]["undefined"]
    assert uniform["cc"]["reasons"] == {"the prediction is constant": n}


def test_a_score_equals_one_made_by_hand(evaluated_run: Path) -> None:
    predictor = Predictor.load(evaluated_run)
    cohort = build_cohorts(small_config())
    table = pd.read_csv(evaluated_run / "evaluate" / "per_image.csv")
    row = int(table["index"].iloc[0])
    prediction = predictor.predict(cohort.images(row))
    frame, size = grid_of(cohort.size_of(row), 64)
    density = resample_density(prediction, frame, size)
    gaze = cohort.gaze.of(row) if cohort.gaze else None
    assert gaze is not None
    dataset = GazeDataset(cohort, (32, 32), gaze=GazeConfig())
    film = np.ones(size, bool)
    truth = dataset.density(row, gaze, frame, film)
    assert truth is not None
    expected = pearsonr(density.ravel(), truth.ravel()).statistic
    assert table["cc"].iloc[0] == pytest.approx(expected, abs=1e-5)
    counts, _ = count_fixations(gaze.x, gaze.y, frame, film)
    nss = ((density - density.mean()) / density.std() * counts).sum() / counts.sum()
    assert table["nss"].iloc[0] == pytest.approx(nss, abs=1e-5)


def test_evaluation_repeats_itself(evaluated_run: Path) -> None:
    before = read_json(evaluated_run / "evaluate" / "metrics.json")
    text = (evaluated_run / "evaluate" / "per_image.csv").read_text()
    evaluate(evaluated_run, device="cpu")
    assert read_json(evaluated_run / "evaluate" / "metrics.json") == before
    assert (evaluated_run / "evaluate" / "per_image.csv").read_text() == text


def test_tensorboard_has_hyperparameters_with_final_metrics(evaluated_run: Path) -> None:
    events = EventAccumulator(str(evaluated_run / "evaluate" / "tensorboard"))
    events.Reload()
    metrics = read_json(evaluated_run / "evaluate" / "metrics.json")
    (event,) = events.Scalars("test/phantom/cc")
    expected = metrics["saliency"]["phantom"]["rows"]["model"]["cc"]["value"]
    assert event.value == pytest.approx(expected, rel=1e-5)
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_an_unfinished_stage_is_refused(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run folder"):
        evaluate(tmp_path)
    with pytest.raises(ConfigError, match="small: no stage 'jint'; known: contrast, classify"):
        Predictor.load(finished_run, "jint")
    (tmp_path / "config.yaml").write_text((finished_run / "config.yaml").read_text())
    with pytest.raises(StageError, match="was never run"):
        Predictor.load(tmp_path)


def test_a_split_without_images_is_refused(finished_run: Path, tmp_path: Path) -> None:
    config = finished_run / "config.yaml"
    (tmp_path / "config.yaml").write_text(config.read_text().replace("test: 0.3", "test: 0.0"))
    (tmp_path / "05-joint").mkdir()
    shutil.copy(finished_run / "05-joint" / "stage.json", tmp_path / "05-joint")
    with pytest.raises(ConfigError, match="no image in split 'test' to evaluate; set evaluate.spl"):
        evaluate(tmp_path)


@pytest.mark.parametrize(("original", "size"), [((90, 60), (64, 64)), ((50, 131), (64, 96))])
def test_a_density_keeps_its_place_when_it_is_resampled(
    original: tuple[int, int], size: tuple[int, int]
) -> None:
    frame = fit_frame(original, size)
    valid = valid_pixels(original, frame, size)
    rows, columns = torch.meshgrid(*(torch.arange(n) + 0.5 for n in size), indexing="ij")
    x, y = frame @ [original[1] * 0.3, original[0] * 0.7, 1]
    blob = torch.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 4.0**2)) * valid[0]
    prediction = Prediction(frame, valid, (blob / blob.sum())[None], None)
    there, grid = grid_of(original, 160)
    density = resample_density(prediction, there, grid)
    assert density.shape == grid
    assert max(grid) == 160
    assert density.sum() == pytest.approx(1)
    peak = np.unravel_index(density.argmax(), grid)
    scale = 160 / max(original)
    assert peak[0] == pytest.approx(original[0] * 0.7 * scale, abs=2.5)
    assert peak[1] == pytest.approx(original[1] * 0.3 * scale, abs=2.5)


def test_padding_does_not_darken_the_edge_of_the_film() -> None:
    frame = fit_frame((64, 33), (64, 64))
    valid = valid_pixels((64, 33), frame, (64, 64))
    flat = valid.float() / valid.sum()
    there, grid = grid_of((64, 33), 200)
    density = resample_density(Prediction(frame, valid, flat, None), there, grid)
    assert density == pytest.approx(np.full(grid, 1 / density.size), rel=1e-4)

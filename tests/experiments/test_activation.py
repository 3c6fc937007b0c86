"""The evidence map of a predictor: padded networks, stages that only classify, the evaluation."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr
from torch.nn.functional import interpolate

from diagnosis.class_activation import class_activation
from experiments.build import build_cohorts
from experiments.evaluate import evaluate
from experiments.finished import FinishedStage
from experiments.load import load_config, parse_config
from experiments.predictor import Predictor, grid_of, resample_density
from experiments.report import write_report
from experiments.runner import run
from experiments.stage_data import stage_dataset
from eye_gaze_data.batch import collate
from eye_gaze_data.errors import StageError
from eye_gaze_data.files import read_json
from tests.experiments.small import MODEL, small_stage, small_tree


def small_run(folder: Path, size: tuple[int, int], **model: Any) -> Path:  # noqa: ANN401
    stage = small_stage("classify", "pretrain", "classify", epochs=1)
    stage["data"]["image_size"] = list(size)
    tree = small_tree(stages=[stage], models={"network": MODEL | model})
    run(parse_config(tree, Path("run.yaml")), folder, say=lambda _: None)
    return folder


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("padded") / "run", (40, 52), pad=True)


def test_a_padded_network_s_evidence_covers_the_padded_grid(padded: Path) -> None:
    predictor = Predictor.load(padded, device="cpu")
    config = load_config(padded / "config.yaml")
    cohort = build_cohorts(config)
    dataset = stage_dataset(config, config.stages[0], cohort)
    batch = collate([dataset[0, row] for row in range(3)])
    found = predictor.predict_batch(batch)
    outputs = predictor.network(batch["image"], "classify")
    features = outputs["features"]
    assert features["classifier"].shape[2:] == (2, 2)  # 64 x 64 after padding
    classes = outputs["class_logits"].argmax(1)
    head = predictor.network.class_head("classify")
    evidence = class_activation(features["classifier"], features["pooled"], head, classes)
    whole = interpolate(evidence, (64, 64), mode="bilinear", align_corners=False)
    for row, one in enumerate(found):
        assert one.density is None
        assert one.activation is not None
        assert one.covers == (64, 64)
        torch.testing.assert_close(one.activation, evidence[row])
        size, frame = (40, 52), one.frame
        grown = whole[row, 0, :40, :52].double().numpy()
        if grown.any():
            shown = resample_density(one, frame, size, "activation")
            film = one.valid[0].numpy()
            expected = np.where(film, grown, 0) / np.where(film, grown, 0).sum()
            np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-9)
        assert bool((one.activation >= 0).all())


def test_a_prediction_of_one_film_is_that_of_its_row(padded: Path) -> None:
    predictor = Predictor.load(padded, device="cpu")
    config = load_config(padded / "config.yaml")
    cohort = build_cohorts(config)
    dataset = stage_dataset(config, config.stages[0], cohort)
    (batched,) = predictor.predict_batch(collate([dataset[0, 5]]))
    single = predictor.predict(cohort.images(5))
    assert batched.probabilities is not None
    assert single.probabilities is not None
    np.testing.assert_allclose(single.probabilities, batched.probabilities, atol=1e-5)
    assert batched.activation is not None
    assert single.activation is not None
    torch.testing.assert_close(single.activation, batched.activation, rtol=1e-3, atol=1e-4)


def test_a_stage_that_only_classifies_is_scored_by_its_evidence(padded: Path) -> None:
    metrics = evaluate(padded, device="cpu")
    write_report(padded)
    rows = metrics["saliency"]["phantom"]["rows"]
    assert "model" not in rows
    assert {"class_activation", "centre_bias", "uniform"} <= set(rows)
    table = pd.read_csv(padded / "evaluate" / "per_image.csv")
    known = table["activation_cc"].dropna()
    assert len(known) > 0
    assert rows["class_activation"]["cc"]["value"] == pytest.approx(known.mean(), rel=1e-6)
    assert rows["class_activation"]["cc"]["undefined"] == int(table["activation_cc"].isna().sum())
    assert read_json(padded / "evaluate" / "metrics.json")["stage"] == "classify"
    predictor = Predictor.load(padded, device="cpu")
    finished = FinishedStage.load(padded)
    cohort = build_cohorts(finished.config)
    row = int(table.loc[table["activation_cc"].notna(), "index"].iloc[0])
    prediction = predictor.predict(cohort.images(row))
    frame, size = grid_of(cohort.size_of(row), 64)
    evidence = resample_density(prediction, frame, size, "activation")
    assert evidence.sum() == pytest.approx(1)
    gaze = cohort.gaze.of(row) if cohort.gaze else None
    dataset = stage_dataset(finished.config, finished.stage, cohort)
    assert gaze is not None
    truth = dataset.density(row, gaze, frame, np.ones(size, bool))
    assert truth is not None
    expected = pearsonr(evidence.ravel(), truth.ravel()).statistic
    by_row = table.set_index("index")["activation_cc"]
    assert by_row[row] == pytest.approx(expected, abs=1e-3)
    with pytest.raises(StageError, match="the stage predicts no density"):
        resample_density(prediction, frame, size)


def test_evidence_of_zero_is_undefined_and_not_a_score(padded: Path) -> None:
    predictor = Predictor.load(padded, device="cpu")
    finished = FinishedStage.load(padded)
    cohort = build_cohorts(finished.config)
    head = predictor.network.class_head("classify")
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.weight.fill_(-1.0)
    prediction = predictor.predict(cohort.images(0))
    assert prediction.activation is not None
    assert bool((prediction.activation == 0).all())
    frame, size = grid_of(cohort.size_of(0), 64)
    assert bool(np.isnan(resample_density(prediction, frame, size, "activation")).all())


def test_a_run_of_all_tasks_has_both_rows(evaluated_run: Path) -> None:
    rows = read_json(evaluated_run / "evaluate" / "metrics.json")["saliency"]["phantom"]["rows"]
    assert {"model", "class_activation", "centre_bias", "uniform"} <= set(rows)


def test_a_stage_of_maps_alone_has_no_evidence(evaluated_run: Path) -> None:
    predictor = Predictor.load(evaluated_run, "saliency", "cpu")
    prediction = predictor.predict(np.full((64, 64), 0.5, np.float32))
    assert prediction.activation is None
    assert prediction.probabilities is None
    assert prediction.density is not None

"""Localisation in the evaluation: by hand from stored predictions, beside chance, and compared."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.build import build_cohorts
from experiments.config import EvaluateConfig
from experiments.image_scores import ImageScorer
from experiments.load import load_config
from experiments.localisation_scores import (
    _lift_of,
    _lift_without,
    localisation_tables,
    score_boxes,
)
from experiments.predictor import Prediction, Predictor, grid_of, resample_density
from eye_gaze_data.cohort import BoxTable, Cohort
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.files import read_json
from eye_gaze_data.geometry import fit_frame, valid_pixels
from tests.experiments.small import small_config

DRAWS = {"resamples": 200, "seed": 0}
SIZE = (64, 64)


def located(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(run / "evaluate" / "metrics.json")["localisation"]
    return found


def test_every_film_whose_boxes_are_known_is_scored(evaluated_run: Path) -> None:
    table = pd.read_csv(evaluated_run / "evaluate" / "per_image.csv")
    config = load_config(evaluated_run / "config.yaml")
    cohort = build_cohorts(config)
    assert cohort.boxes is not None
    for _, line in table.iterrows():
        boxes, labels = cohort.boxes.of(int(line["index"]))
        drawn = {cohort.pathologies[label] for label in labels}
        for name in cohort.pathologies:
            column = f"chance_inside_{name}"
            known = column in table and not math.isnan(line[column])
            assert known == (name in drawn and line[f"label_{name}"] == 1)
        assert math.isnan(line["chance_inside"]) == (len(boxes) == 0)


def test_a_score_equals_one_made_by_hand(evaluated_run: Path) -> None:
    table = pd.read_csv(evaluated_run / "evaluate" / "per_image.csv").set_index("index")
    predictor = Predictor.load(evaluated_run, device="cpu")
    cohort = build_cohorts(load_config(evaluated_run / "config.yaml"))
    assert cohort.boxes is not None
    row = int(table.index[table["chance_inside"].notna()][0])
    prediction = predictor.predict(cohort.images(row))
    frame, size = grid_of(cohort.size_of(row), 64)
    boxes, labels = cohort.boxes.of(row)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    scale = size[0] / cohort.size_of(row)[0]
    shares, areas = [], []
    for number in sorted(set(labels.tolist())):
        inside = np.zeros(size, bool)
        for box in boxes[labels == number]:
            x1, y1, x2, y2 = box * scale
            inside |= (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
        name = cohort.pathologies[number]
        gaze = resample_density(prediction, frame, size)
        evidence = resample_density(prediction, frame, size, number)
        line = table.loc[row]
        assert line[f"chance_inside_{name}"] == pytest.approx(inside.mean())
        assert line[f"gaze_inside_{name}"] == pytest.approx(gaze[inside].sum(), abs=1e-4)
        expected = float(evidence[inside].sum())
        assert line[f"activation_inside_{name}"] == pytest.approx(expected, abs=1e-3, nan_ok=True)
        shares.append(gaze[inside].sum())
        areas.append(inside.mean())
    assert table.loc[row, "gaze_inside"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert table.loc[row, "chance_inside"] == pytest.approx(np.mean(areas))


def test_the_table_is_that_of_the_images(evaluated_run: Path) -> None:
    table = pd.read_csv(evaluated_run / "evaluate" / "per_image.csv")
    group = located(evaluated_run)["phantom"]
    boxed = table[table["chance_inside"].notna()]
    assert group["n_images"] == len(boxed)
    assert group["n_without_boxes"] == len(table) - len(boxed)
    assert list(group["rows"]) == ["class_activation", "model", "centre_bias", "chance"]
    gaze = group["rows"]["model"]["overall"]
    assert gaze["inside"]["value"] == pytest.approx(boxed["gaze_inside"].mean())
    assert gaze["pointing"]["value"] == pytest.approx(boxed["gaze_pointing"].mean())
    ratio = boxed["gaze_inside"].sum() / boxed["chance_inside"].sum()
    assert gaze["lift"]["value"] == pytest.approx(ratio)
    assert gaze["lift"]["low"] <= ratio <= gaze["lift"]["high"]
    assert group["rows"]["chance"]["overall"]["lift"]["value"] == pytest.approx(1)
    for name, scores in group["rows"]["class_activation"]["findings"].items():
        column = table[f"activation_inside_{name}"]
        assert scores["inside"]["n"] == column.notna().sum()
        if column.notna().any():
            assert scores["inside"]["value"] == pytest.approx(column.mean())


def test_the_report_shows_the_table(evaluated_run: Path) -> None:
    page = (evaluated_run / "evaluate" / "report.html").read_text()
    assert "Whether maps stand at the boxes" in page
    overall = located(evaluated_run)["phantom"]["rows"]["model"]["overall"]
    part = page[page.index('id="localisation"') : page.index('id="stages"')]
    assert f">{overall['inside']['value']:.3f}<" in part
    assert f"×{overall['lift']['value']:.2f} [" in part


def made(boxes: list[list[float]], known: bool = True, label: float = 1.0) -> ImageScorer:
    """The scorer of a cohort of one film of 64x64 with some boxes of its first finding."""
    cohort = build_cohorts(small_config())
    frame = pd.DataFrame(boxes, columns=["x1", "y1", "x2", "y2"]).assign(row=0, label=0)
    table = cohort.table.copy()
    table.loc[0, cohort.pathologies[0]] = label
    states = np.full(len(table), known)
    cohort = replace(cohort, table=table, boxes=BoxTable(frame, states), gaze=None)
    dataset = GazeDataset(cohort, SIZE)
    return ImageScorer(cohort, dataset, EvaluateConfig(grid=64), {}, 0)


def said(cohort: Cohort) -> Prediction:
    """All evidence for the first finding in the upper left quarter, none for others."""
    evidence = torch.zeros(len(cohort.pathologies), 4, 4)
    evidence[0, :2, :2] = 1
    frame = fit_frame(SIZE, SIZE)
    logits = np.zeros(len(cohort.pathologies))
    valid = valid_pixels(SIZE, frame, SIZE)
    return Prediction(frame, valid, None, logits, evidence, SIZE, logits)


def test_evidence_for_a_finding_is_its_own_and_not_that_of_the_most_probable() -> None:
    scorer = made([[0, 0, 32, 32]])
    names = scorer.cohort.pathologies
    prediction = said(scorer.cohort)
    assert prediction.logits is not None
    prediction.logits[3] = 9.0
    scores = score_boxes(scorer, 0, prediction, names)
    assert scores[f"activation_inside_{names[0]}"] > 0.7
    assert scores[f"activation_pointing_{names[0]}"] == 1
    assert scores["chance_inside"] == 0.25
    assert "gaze_inside" not in scores
    assert "centre_bias_inside" not in scores


def test_evidence_of_zero_is_undefined_and_counted() -> None:
    scorer = made([[0, 0, 32, 32]])
    names = scorer.cohort.pathologies
    prediction = replace(said(scorer.cohort))
    assert prediction.evidence is not None
    prediction.evidence.zero_()
    scores = score_boxes(scorer, 0, prediction, names)
    assert math.isnan(scores[f"activation_inside_{names[0]}"])
    assert "activation_inside" not in scores
    line = {"group": "phantom", "patient_id": "p", **scores}
    other = line | {f"activation_inside_{names[0]}": 0.5, "activation_inside": 0.5}
    table = pd.DataFrame([line, other | {"patient_id": "q"}])
    found = localisation_tables(table, names, DRAWS)["phantom"]
    own = found["rows"]["class_activation"]["findings"][names[0]]
    assert own["inside"]["n"] == own["inside"]["undefined"] == 1
    assert own["lift"]["value"] == pytest.approx(0.5 / 0.25)


@pytest.mark.parametrize(
    ("boxes", "known", "label"),
    [([[0, 0, 32, 32]], False, 1.0), ([], True, 1.0), ([[0, 0, 32, 32]], True, math.nan)],
)
def test_without_a_complete_list_of_a_stated_finding_there_is_no_score(
    boxes: list[list[float]], known: bool, label: float
) -> None:
    scorer = made(boxes, known, label)
    assert score_boxes(scorer, 0, said(scorer.cohort), scorer.cohort.pathologies) == {}
    table = pd.DataFrame([{"group": "phantom", "patient_id": "p"}])
    assert localisation_tables(table, scorer.cohort.pathologies, DRAWS) == {}


@pytest.mark.parametrize("films_a_patient", [1, 4])
def test_the_lift_without_each_patient_is_that_of_the_others(films_a_patient: int) -> None:
    rng = np.random.default_rng(0)
    inside, area = rng.random(24) * (rng.random(24) < 0.8), rng.uniform(0.01, 0.4, 24)
    unit = np.arange(24) // films_a_patient
    n = 24 // films_a_patient
    found = _lift_without(inside, area)(unit, n)
    expected = [inside[unit != one].sum() / area[unit != one].sum() for one in range(n)]
    assert found == pytest.approx(expected, abs=1e-12)
    weights = np.array([unit != one for one in range(n)], np.float64)
    assert found == pytest.approx(_lift_of(inside, area)(weights), abs=1e-12)

"""A detector from config to report, prediction and comparison; real boxes do not stop it."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments import compare_detection
from experiments.build import build_cohorts
from experiments.compare import compare
from experiments.compare_text import comparison_markdown, comparison_text
from experiments.evaluate import evaluate
from experiments.predict import predict_files
from experiments.predictor import Predictor
from experiments.record import read_stage, stage_folder
from experiments.report import write_report
from experiments.report.run_folder import read_run_folder
from experiments.report.viewer import build_viewer
from experiments.runner import run
from tests.experiments.detector import FRACTIONS, shrunk


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """RetinaNet with both attentions and with the image-level one, trained and evaluated."""
    folder = tmp_path_factory.mktemp("detection")
    options: dict[str, dict[str, Any]] = {"dual": {}, "image": {"supervision": "ila"}}
    for name, model in options.items():
        config = shrunk(**model).model_copy(update={"name": name})
        run(config, folder / name, say=lambda _: None)
        evaluate(folder / name, device="cpu")
    return folder / "dual", folder / "image"


def test_a_detector_trains_and_is_evaluated_in_original_pixels(runs: tuple[Path, Path]) -> None:
    for path in runs:
        config = shrunk()
        record = read_stage(stage_folder(path, config, "detect"))
        assert record is not None
        assert record["status"] == "complete"
        log = pd.read_csv(path / "01-detect" / "metrics.csv")
        names = ["valid/map", "valid/ap50", "valid/detection", "train/image_attention"]
        assert log[names].notna().all().all()
        metrics = json.loads((path / "evaluate" / "metrics.json").read_text())
        # Films without a complete list are a group without a table.
        assert list(metrics["detection"]) == ["films"]
        assert metrics["diagnosis"] == metrics["saliency"] == {}
        found, cohort = metrics["detection"]["films"], build_cohorts(config)
        rows = cohort.rows_of("test", ["films"])
        assert cohort.boxes is not None
        assert found["n_images"] == len(rows)
        assert found["n_boxes"] == sum(len(cohort.boxes.of(row)[0]) for row in rows.tolist())
        table = pd.read_csv(path / "evaluate" / "per_image.csv")
        assert table["n_boxes"].sum() == found["n_boxes"]
        assert table["n_boxes"][table["group"] == "unlabelled"].isna().all()
        boxes = pd.read_csv(path / "evaluate" / "detections.csv")
        assert 32 < boxes["y2"].max() <= 40
        assert (boxes["x2"] > boxes["x1"]).all()


def test_the_report_shows_the_table_and_both_kinds_of_boxes(runs: tuple[Path, Path]) -> None:
    page = write_report(runs[0]).read_text()
    assert '<section id="detection">' in page
    assert "Mean over" in page
    assert 'id="viewer-boxes"' in page
    assert 'id="viewer-predicted"' in page
    viewer = build_viewer(read_run_folder(runs[0]), given_maps=False)
    assert viewer is not None
    shown = [case for case in viewer["cases"] if case["predicted"]]
    assert shown
    assert all(len(case["predicted"]) <= 6 for case in shown)
    best = [float(case["predicted"][-1][-1].split()[-1]) for case in shown]
    rest = [float(case["predicted"][0][-1].split()[-1]) for case in shown]
    assert all(one >= other for one, other in zip(best, rest, strict=True))


def test_prediction_gives_boxes_of_a_film_from_elsewhere(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    cohort = build_cohorts(shrunk())
    row = int(cohort.rows_of("test", ["films"])[0])
    pixels = np.round(np.kron(cohort.images(row), np.ones((5, 5))) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "film.png")
    predictor = Predictor.load(runs[0], device="cpu")
    assert predict_files(predictor, [tmp_path / "film.png"], tmp_path / "out") == (1, [])
    (record,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["films"]
    assert (record["height"], record["width"]) == (200, 160)
    found = record["detections"]
    assert len(found) > 0
    assert found == sorted(found, key=lambda one: -one["score"])
    for one in found:
        x1, y1, x2, y2 = one["box"]
        assert 0 <= x1 < x2 <= 160
        assert 0 <= y1 < y2 <= 200
        assert one["finding"] in cohort.pathologies
    with (tmp_path / "out" / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found)
    assert float(rows[0]["x1"]) == pytest.approx(found[0]["box"][0], abs=0.01)
    overlay = np.asarray(Image.open(tmp_path / "out" / record["overlay"]))
    # The film, and below it the notice.
    assert overlay.shape == (216, 160, 3)


def test_two_detectors_are_compared_side_by_side_and_paired(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_detection, "SWAPS", 50)
    found = compare(list(runs), resamples=100)
    part = found["groups"]["films"]
    for path in runs:
        metrics = json.loads((path / "evaluate" / "metrics.json").read_text())
        shown = part["detection"][str(path)]["AP50"]
        assert shown == metrics["detection"]["films"]["ap50"]
    values = {name: line["mAP"]["mean"] for name, line in part["leaderboard"].items()}
    (gap,) = [one for one in part["comparisons"] if one["metric"] == "mAP"]
    expected = values["image"] - values["dual"]
    assert gap["difference"]["value"] == pytest.approx(expected)
    assert "detection" not in found["groups"]["unlabelled"]
    text, page = comparison_text(found), comparison_markdown(found)
    assert "boxes of each run, with 95 % intervals" in text
    assert "mAP ↑" in text
    assert "| run | mAP ↑ | AP50 ↑ |" in page


@pytest.mark.slow
def test_faster_rcnn_trains_and_is_evaluated(tmp_path: Path) -> None:
    run(shrunk(detector="faster_rcnn", supervision="ila"), tmp_path)
    found = evaluate(tmp_path, device="cpu")["detection"]["films"]
    assert found["n_boxes"] > 0
    assert 0 <= found["map"]["value"] <= found["ap50"]["value"] <= 1


@pytest.mark.slow
def test_a_detector_trains_on_real_boxes(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "real-cxr"
    boxes = pd.read_csv(folder / "boxes.csv")["label"].replace("Lung Opacity", "Pneumonia")
    labels = sorted(set(boxes))
    films = {
        "kind": "csv",
        "images": {
            "csv": str(folder / "labels.csv"), "patient": "patient_id", "source": "source",
            "where": {"source": ["NIH ChestX-ray14"]}, "labels": labels,
        },
        "boxes": {
            "csv": str(folder / "boxes.csv"), "corners": ["x", "y", "w", "h"], "sized": True,
            "complete": True, "rename": {"Lung Opacity": "Pneumonia"},
        },
        "fractions": FRACTIONS,
    }  # fmt: skip
    config = shrunk({"nih": films})
    run(config, tmp_path)
    found = evaluate(tmp_path, device="cpu")["detection"]["nih"]
    # Few boxes, and only films with one have a complete list: no claim but that it runs.
    assert found["n_boxes"] > 0
    assert found["n_without_list"] > 0
    assert 0 <= found["map"]["value"] <= 1
    assert "Detection" in write_report(tmp_path).read_text()

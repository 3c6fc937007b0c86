"""Detection tables and comparisons: boxes in original pixels, films with complete lists, pairs."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose

from diagnosis.metrics import FilmBoxes, match_boxes, mean_average_precision, side_by_side
from experiments import compare_detection
from experiments.build import build_cohorts
from experiments.check import check_against_cohort, check_config
from experiments.compare_detection import compare_boxes, detection_part, detection_spread
from experiments.compare_text import detection_rows
from experiments.config import RunConfig
from experiments.detection_scores import (
    count_boxes,
    detection_tables,
    original_boxes,
    read_matches,
    true_boxes,
)
from experiments.finished import FinishedStage
from experiments.load import parse_config
from experiments.needs import box_counts, needs_met, without_boxes
from experiments.pictures import draw_boxes
from experiments.predictions import StoredPredictions
from experiments.predictor import Prediction
from experiments.report.detection_tables import detection_groups
from experiments.report.run_folder import RunFolder
from experiments.status import metric_lines
from eye_gaze_data.cohort import BoxTable, Cohort
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import read_json
from eye_gaze_data.geometry import fit_frame
from tests.experiments.small import small_stage, small_tree

MODEL = {
    "kind": "dualattnet",
    "backbone": "densenet121",
    "backbone_options": {"growth_rate": 4, "block_config": [1, 1]},
    "width": 16,
}


def detecting(model: dict[str, Any] | None = None, **changes: Any) -> RunConfig:  # noqa: ANN401
    """A run of one detect stage on the small phantom."""
    cohorts = changes.pop("cohorts", None)
    monitor = {"metric": "valid/map", "mode": "max"}
    losses = {"detection": 1, "image_attention": 1}
    data = {"cohorts": "phantom", "image_size": [32, 32]}
    stage = {"losses": losses, "monitor": monitor, "data": data} | changes
    tree = small_tree(stages=[small_stage("detect", "finetune", "detect", **stage)])
    tree["models"] = {"network": MODEL | (model or {})}
    tree["cohorts"] = cohorts or tree["cohorts"]
    return parse_config(tree, Path("detect.yaml"))


def checked(config: RunConfig, cohort: Cohort | None = None) -> list[str]:
    check_config(config)
    cohort = cohort or build_cohorts(config)
    check_against_cohort(config, cohort)
    return needs_met(config, cohort) + without_boxes(config, cohort)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return build_cohorts(detecting())


def with_boxes(cohort: Cohort, keep: Any, known: Any = None) -> Cohort:  # noqa: ANN401
    assert cohort.boxes is not None
    frame = cohort.boxes.frame()
    complete = cohort.boxes.known if known is None else known
    return replace(cohort, boxes=BoxTable(frame[keep(frame)], complete))


def test_what_a_detector_has_is_listed_with_its_numbers(cohort: Cohort) -> None:
    config = detecting()
    assert cohort.boxes is not None
    frame, train = cohort.boxes.frame(), cohort.rows_of("train")
    number = int((frame["row"].isin(train) & (frame["label"] == 0)).sum())
    assert number > 0
    (line,) = checked(config, cohort)
    assert line.startswith("stage detect: model 'dualattnet' needs boxes: on training films with a")
    assert f"list Cardiomegaly {number}, Effusion" in line
    fewer = with_boxes(cohort, lambda f: f["label"] > 1)
    assert "Cardiomegaly 0, Effusion 0" in checked(config, fewer)[0]
    assert checked(config, fewer)[1] == (
        "stage detect: no training film with a complete list has a box of Cardiomegaly, Effusion; "
        "they cannot be detected"
    )


def test_a_list_that_is_not_complete_counts_for_nothing(cohort: Cohort) -> None:
    known = np.arange(len(cohort)) % 2 == 0
    half = with_boxes(cohort, lambda f: f["row"] >= 0, known)
    assert half.boxes is not None
    frame = half.boxes.frame()
    rows = np.intersect1d(cohort.rows_of("train"), np.flatnonzero(known))
    expected = int((frame["row"].isin(rows) & (frame["label"] == 3)).sum())
    assert box_counts(detecting().stages[0], half, "train")["Nodule"] == expected


def test_a_cohort_without_boxes_is_refused(cohort: Cohort) -> None:
    with pytest.raises(ConfigError, match="its model needs boxes, the cohort has none"):
        checked(detecting(), replace(cohort, boxes=None))
    nothing = np.zeros(len(cohort), bool)
    everything = lambda f: f["row"] >= 0  # noqa: E731
    with pytest.raises(ConfigError, match="no film of split 'train' has one; 'complete' of a csv"):
        checked(detecting(), with_boxes(cohort, everything, nothing))
    training = nothing.copy()
    training[cohort.rows_of("train")] = True
    with pytest.raises(ConfigError, match="no film of split 'valid' has one"):
        checked(detecting(), with_boxes(cohort, everything, training))
    valid = cohort.rows_of("valid")
    with pytest.raises(ConfigError, match="split 'valid' with a complete list has a box of Cardio"):
        checked(detecting(), with_boxes(cohort, lambda f: ~f["row"].isin(valid)))


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (
            {"detector": "faster_rcnn"},
            {},
            "'faster_rcnn' proposes boxes without classes; set superv",
        ),
        ({"supervision": "none"}, {}, "loss 'image_attention' is that of the attention, and model"),
        ({}, {"losses": {"kld": 1}}, "loss 'kld' is not for task 'detect'"),
        (
            {},
            {"losses": {"detection": {"weight": 1, "options": {"gamma": 2}}}},
            "option of loss 'detection' 'gamma' does not exist",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    model: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(detecting(model, **changes))


def test_what_goes_together_passes(cohort: Cohort) -> None:
    checked(detecting({"detector": "faster_rcnn", "supervision": "ila"}), cohort)
    checked(detecting({"supervision": "none"}, losses={"detection": 1}), cohort)


def predicted(boxes: list[list[float]], original: tuple[int, int]) -> Prediction:
    found = FilmBoxes(
        np.array(boxes), np.zeros(len(boxes), np.int64), np.linspace(0.9, 0.8, len(boxes))
    )
    frame = fit_frame(original, (32, 32), "pad")
    valid = torch.ones(1, 32, 32, dtype=torch.bool)
    return Prediction(frame, valid, None, None, detections=found)


def test_boxes_come_back_in_original_pixels_without_the_padding() -> None:
    # A film of 100 x 200 (height, width) fills the middle 16 rows of the grid, at a scale of 0.16.
    prediction = predicted(
        [[8.0, 10.0, 16.0, 18.0], [0.0, 4.0, 4.0, 12.0], [0.0, 1.0, 9.0, 7.0]], (100, 200)
    )
    found = original_boxes(prediction, (100, 200))
    assert found is not None
    # The second is cut at the film's edge, the third lies on padding.
    assert_allclose(found.boxes, np.array([[50.0, 12.5, 100, 62.5], [0, 0, 25, 25]]))
    assert_allclose(np.array(found.scores), np.array([0.9, 0.85]))
    assert original_boxes(replace(prediction, detections=None), (100, 200)) is None


def test_true_boxes_are_of_the_stages_classes_and_of_complete_lists(cohort: Cohort) -> None:
    assert cohort.boxes is not None
    row = next(r for r in range(len(cohort)) if set(cohort.boxes.of(r)[1]) >= {3, 5})
    boxes, labels = cohort.boxes.of(row)
    found = true_boxes(cohort, row, ["Edema", "Nodule"])
    assert found is not None
    assert_allclose(found.boxes, boxes[np.isin(labels, [3, 5])])
    assert found.labels.tolist() == [{5: 0, 3: 1}[label] for label in labels if label in (3, 5)]
    unknown = with_boxes(cohort, lambda f: f["row"] >= 0, np.zeros(len(cohort), bool))
    assert true_boxes(unknown, row, ["Edema"]) is None


class Perfect(StoredPredictions):
    """Predicts the true boxes of every second film, and nothing of the others."""

    def __init__(self, cohort: Cohort, classes: list[str]) -> None:
        self.cohort, self.names = cohort, classes

    def of(self, row: int) -> Prediction:
        true = true_boxes(self.cohort, row, self.names)
        size = self.cohort.size_of(row)
        boxes = true if true is not None and row % 2 == 0 else FilmBoxes(
            np.zeros((0, 4)), np.zeros(0, np.int64)
        )  # fmt: skip
        found = FilmBoxes(boxes.boxes, boxes.labels, np.full(len(boxes.labels), 0.5))
        valid = torch.ones(1, *size, dtype=torch.bool)
        return Prediction(fit_frame(size, size, "stretch"), valid, None, None, detections=found)


def table_of(cohort: Cohort, finished: FinishedStage, rows: list[int]) -> pd.DataFrame:
    columns = cohort.table.iloc[rows][["image_id", "patient_id"]].reset_index(drop=True)
    counts = [count_boxes(finished, cohort, row)["n_boxes"] for row in rows]
    return columns.assign(index=rows, group="phantom", n_boxes=counts)


def test_the_table_scores_films_with_a_complete_list(cohort: Cohort, tmp_path: Path) -> None:
    known = np.arange(len(cohort)) % 3 > 0
    cohort = with_boxes(cohort, lambda f: f["label"] != 4, known)
    classes = list(cohort.pathologies)
    config = detecting()
    finished = FinishedStage(tmp_path, config, config.stages[0], classes, False, None)
    rows = list(range(24))
    table = table_of(cohort, finished, rows)
    found = detection_tables(finished, cohort, Perfect(cohort, classes), table)["phantom"]
    assert (found["n_images"], found["n_without_list"]) == (16, 8)
    frame = cohort.boxes.frame()  # type: ignore[union-attr]
    frame = frame[frame["row"].isin([r for r in rows if known[r]])]
    assert found["n_boxes"] == len(frame) > 10
    assert found["n_classes"] == frame["label"].nunique()
    for label, name in enumerate(classes):
        entry, own = found["classes"][name], frame[frame["label"] == label]
        assert entry["n_boxes"] == len(own)
        if own.empty:
            assert math.isnan(entry["map"]["value"])
            continue
        # All that is predicted is right: precision 1 up to the share that is found.
        share = float((own["row"] % 2 == 0).mean())
        expected = (math.floor(100 * share + 1e-9) + 1) / 101 if share else 0.0
        assert_allclose(entry["map"]["value"], expected)
        assert_allclose(entry["ap50"]["value"], expected)
        assert 0 <= entry["map"]["low"] <= expected <= entry["map"]["high"] <= 1
    values = [one["map"]["value"] for one in found["classes"].values()]
    assert_allclose(found["map"]["value"], np.nanmean(values))
    assert math.isnan(found["classes"]["Pneumothorax"]["ap50"]["low"])

    names = table["image_id"][table["n_boxes"].notna()].tolist()
    matches = read_matches(tmp_path / "evaluate", names, classes)
    again = mean_average_precision(matches, np.ones((1, len(names))))
    assert_allclose(again, [found["map"]["value"]])
    with pytest.raises(DataError, match=r"detections.csv: expected boxes of Mass, found '\w+'"):
        read_matches(tmp_path / "evaluate", names, ["Mass"])
    written = pd.read_csv(tmp_path / "evaluate" / "detections.csv")
    assert written["score"].isna().sum() == len(frame)
    assert not set(written["image_id"]) - set(names)

    lines = metric_lines({"saliency": {}, "diagnosis": {}, "detection": {"phantom": found}})
    assert lines[0].startswith("detection, phantom (16 images with a complete list): mAP 0.")
    report = RunFolder(tmp_path, {}, (), {"detection": {"phantom": found}}, (), (), {})
    (group,) = detection_groups(report)
    assert group.facts[2:] == (
        ("true boxes", str(len(frame))), ("without a complete list, left out", "8"),
    )  # fmt: skip
    assert group.overall.precision == f"{found['map']['value']:.3f}"
    assert group.overall.name == f"Mean over {found['n_classes']} with boxes"
    nothing = next(row for row in group.classes if row.name == "Pneumothorax")
    assert (nothing.precision, nothing.boxes) == ("n/a", "0")


def some_matches(rate: float, films: int = 24, seed: int = 0) -> list[Any]:
    """One box a film, found at this rate."""
    square = np.array([[0.0, 0.0, 8.0, 8.0]])
    true = [FilmBoxes(square, np.zeros(1, np.int64))] * films
    rng = np.random.default_rng(seed)
    shift = np.where(rng.random(films) < rate, 0.0, 20.0)
    guessed = [
        FilmBoxes(square + move, np.zeros(1, np.int64), rng.uniform(0.2, 0.9, 1)) for move in shift
    ]
    return match_boxes(guessed, true, 1)


def test_differences_are_paired_and_swapped_by_patient() -> None:
    patients = [f"p{n}" for n in range(24)]
    good, bad = [some_matches(0.95)], [some_matches(0.1, seed=1)]
    ones = np.ones((1, 24))
    gap = mean_average_precision(good[0], ones) - mean_average_precision(bad[0], ones)
    found = compare_boxes(good, bad, patients, resamples=200, seed=0)
    assert [one.metric for one in found] == ["mAP", "AP50"]
    assert_allclose(found[0].difference.value, gap[0])
    assert 0 < found[0].difference.low < gap[0] < found[0].difference.high
    # One of 1001 patterns at the least.
    assert 1 / 1001 - 1e-12 <= found[0].p_value < 0.01
    back = compare_boxes(bad, good, patients, resamples=200, seed=0)
    assert_allclose(back[0].difference.value, -gap[0])
    assert back[0].p_value == found[0].p_value
    same = compare_boxes(good, good, patients, resamples=200, seed=0)
    assert (same[0].difference.value, same[0].difference.high, same[0].p_value) == (0, 0, 1)
    # Films of one patient are swapped together, and come along together.
    one = compare_boxes(good, bad, ["p"] * 24, resamples=200, seed=0)
    assert math.isnan(one[0].p_value)
    assert math.isnan(one[0].difference.low)
    uneven = compare_boxes(good * 2, bad, patients, resamples=200, seed=0)
    assert math.isnan(uneven[0].p_value)
    assert_allclose(uneven[0].difference.value, gap[0])


def test_swaps_equal_a_loop_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_detection, "SWAPS", 99)
    good, bad = some_matches(0.6), some_matches(0.4, seed=1)
    patients = [f"p{n // 2}" for n in range(24)]
    found = compare_boxes([good], [bad], patients, resamples=20, seed=3)
    owner = np.unique(patients, return_inverse=True)[1]
    generator = np.random.default_rng([3, 5])
    both = [side_by_side(good[0], bad[0])]
    sides = np.ones((1, 24)), np.zeros((1, 24))

    def gap(swap: np.ndarray) -> float:
        first, second = (np.where(swap, *pair) for pair in (sides[::-1], sides))
        one, other = (
            mean_average_precision(both, np.concatenate(pair, 1))[0]
            for pair in ((first, second), (second, first))
        )
        return abs(float(one - other))

    observed = gap(np.zeros((1, 24), bool))
    swaps = [generator.integers(2, size=12)[owner][None] == 1 for _ in range(99)]
    expected = (1 + sum(gap(swap) >= observed - 1e-12 for swap in swaps)) / 100
    assert 0.01 < expected < 0.99
    assert found[0].p_value == expected
    monkeypatch.setattr(compare_detection, "_BLOCK_ELEMENTS", 100)
    assert compare_boxes([good], [bad], patients, resamples=20, seed=3) == found


def test_runs_on_other_boxes_are_not_compared() -> None:
    def table(truth: str, value: float | None) -> dict[str, Any]:
        entry = {"value": value, "low": None, "high": 0.5}
        return {"one": {"truth_sha256": truth, "map": entry, "ap50": entry}}

    assert detection_part({"a": table("x", 0.1), "b": {}}, "one") == {}
    with pytest.raises(
        ConfigError, match="scored on other true boxes of 'one', or for other class"
    ):
        detection_part({"a": table("x", 0.1), "b": table("y", 0.1)}, "one")
    part = detection_part({"a": table("x", 0.1), "b": table("x", None)}, "one")
    assert detection_rows(part["detection"])[1:] == [
        ["a", "0.100 [n/a, 0.500]", "0.100 [n/a, 0.500]"],
        ["b", "n/a [n/a, 0.500]", "n/a [n/a, 0.500]"],
    ]
    spread = detection_spread([table("x", 0.1), table("x", 0.3)], "one")
    assert_allclose([spread["mAP"]["mean"], spread["mAP"]["std"]], [0.2, 0.2 / math.sqrt(2)])
    assert math.isnan(detection_spread([table("x", None)], "one")["AP50"]["mean"])


def test_the_best_boxes_are_drawn_where_they_are() -> None:
    lefts = [10.0 + 10 * n for n in range(8)]
    records = [
        {"finding": "Mass", "score": (90 - x) / 100, "box": [x, 20.0, x + 5, 40.0]} for x in lefts
    ]
    picture = np.asarray(draw_boxes(np.zeros((60, 100), np.uint8), records))
    assert picture.shape == (76, 100, 3)
    assert picture[30, 10].tolist() == [53, 208, 255]
    assert picture[30, 12].tolist() == [0, 0, 0]
    # Six at the most: the seventh would stand at 70.
    assert picture[30, 60].tolist() == [53, 208, 255]
    assert picture[30, 70].tolist() == [0, 0, 0]
    # The notice stands below the film, in white letters; boxes have little red.
    assert picture[60:, :, 0].max() > 150
    assert picture[:60, :, 0].max() == 53


def test_other_tasks_are_evaluated_as_before(evaluated_run: Path) -> None:
    page = (evaluated_run / "evaluate" / "report.html").read_text()
    assert 'id="detection"' not in page
    assert 'id="viewer-boxes"' in page
    assert 'id="viewer-predicted"' not in page
    assert "detection" not in read_json(evaluated_run / "evaluate" / "metrics.json")
    assert "n_boxes" not in pd.read_csv(evaluated_run / "evaluate" / "per_image.csv")
    assert not (evaluated_run / "evaluate" / "detections.csv").exists()

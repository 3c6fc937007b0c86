"""What the viewer is given: plain values of every stored case."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from experiments.report.pictures import film_webp, level_png, palette_bytes
from experiments.report.replay import MOST_POINTS, replays
from experiments.report.run_folder import read_run_folder
from experiments.report.viewer import FILM_SIDE, MAP_SIDE, build_viewer
from tests.experiments.test_report import image_row, write_case, write_rows, write_run


def viewer(run: Path, *, given_maps: bool = False) -> dict[str, Any]:
    found = build_viewer(read_run_folder(run), given_maps=given_maps)
    assert found is not None
    return found


def levels(text: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_all_stored_cases_are_there_with_their_scores(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    rows = [image_row(i) for i in range(12)]
    rows[5] |= {"cc": "", "nss": "inf", "kld": "-inf"}
    write_rows(run / "evaluate" / "per_image.csv", rows)
    found = viewer(run)
    assert [case["index"] for case in found["cases"]] == [0, 5, 11]
    assert [metric["key"] for metric in found["metrics"]] == ["cc", "nss", "kld", "sim", "auc"]
    assert [m["key"] for m in found["metrics"] if m["lower_is_better"]] == ["kld"]
    assert found["cases"][1]["scores"] == [None, "inf", "-inf", 0.6, 0.8]
    assert found["findings"] == ["effusion", "nodule"]
    first = found["cases"][0]
    assert (first["truth"], first["probability"]) == ([1.0, None], [0.9, None])
    assert (first["rank"], first["ranked"], first["badge"]) == (1, 11, "best")
    json.dumps(found, allow_nan=False)


def test_thresholds_are_those_of_the_group_and_say_whether_they_were_chosen(
    tmp_path: Path,
) -> None:
    assert viewer(write_run(tmp_path))["groups"] == [
        {"name": "alpha", "thresholds": [0.4, 0.5], "chosen": [True, False]}
    ]


def test_gaze_and_prediction_share_a_scale_in_multiples_of_the_uniform_density(
    tmp_path: Path,
) -> None:
    found = viewer(write_run(tmp_path))
    case = found["cases"][0]
    # 1 / 20 and 1 / 80 against a uniform 1 / 1280.
    assert (case["top"], found["top"]) == (64.0, 64.0)
    assert case["peaks"] == {"truth": 64.0, "prediction": 16.0}
    truth, prediction = (levels(case["maps"][name]) for name in ("truth", "prediction"))
    assert truth.shape == (40, 32)
    assert (truth[13, 12], prediction[15, 12], truth[0, 0]) == (255, 64, 0)
    assert [layer["label"] for layer in found["layers"]] == ["Film", "Clinicians", "Model"]
    given = viewer(tmp_path, given_maps=True)["layers"]
    assert [layer["label"] for layer in given] == ["Film", "People", "Map"]


def test_the_class_activation_has_a_scale_of_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    activation = np.zeros((40, 32), np.float32)
    activation[0, 0] = 1 / 640
    write_case(run, 5, activation=activation, truth=None)
    found = viewer(run)
    assert [layer["key"] for layer in found["layers"]] == [
        "film", "truth", "prediction", "activation",
    ]  # fmt: skip
    case = found["cases"][1]
    assert (case["top"], case["peaks"]) == (16.0, {"prediction": 16.0, "activation": 2.0})
    assert levels(case["maps"]["activation"])[0, 0] == 255


def test_boxes_of_people_and_predicted_ones_are_layers_of_their_own(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    assert not viewer(run)["has_predicted"]
    write_case(
        run, 5, predicted_boxes=np.array([[1, 2, 4, 8], [10, 10, 20, 12]], np.float32),
        predicted_labels=np.array(["nodule", "effusion"]), predicted_scores=np.array([0.9, 0.25]),
    )  # fmt: skip
    found = viewer(run)
    assert (found["has_boxes"], found["has_predicted"]) == (True, True)
    case = found["cases"][1]
    assert case["boxes"] == [[4, 5, 10, 15, "effusion"]]
    # The best last: it is drawn on top.
    assert case["predicted"] == [[10, 10, 10, 2, "effusion 0.25"], [1, 2, 3, 6, "nodule 0.90"]]
    assert found["cases"][0]["predicted"] == []


def test_a_name_that_two_cases_share_gets_a_link_of_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    rows = [image_row(i) for i in range(12)]
    rows[5]["image_id"] = rows[0]["image_id"]
    write_rows(run / "evaluate" / "per_image.csv", rows)
    keys = [case["key"] for case in viewer(run)["cases"]]
    assert keys == ["film000~0", "film000~5", "film011"]


def test_a_run_without_cases_has_no_viewer(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    assert build_viewer(read_run_folder(tmp_path), given_maps=False) is None


def test_scanpaths_are_sorted_by_time_and_start_at_zero() -> None:
    gaze = np.array([[1, 1, 2.5, 0.1], [2, 2, 1.5, np.nan], [3, 3, 7, 0.2], [np.nan, 1, 0, 1]])
    first, second = replays(gaze, np.array([1, 1, 0, 0]), ["Ada", "Bo"])
    assert first == {"reader": "Ada", "points": [[3, 3, 0, 0.2]], "timed": True, "every": 1}
    assert second["points"] == [[2, 2, 0, None], [1, 1, 1, 0.1]]


def test_without_all_starts_the_rows_keep_their_order() -> None:
    gaze = np.array([[1, 1, 5, 0.1], [2, 2, np.nan, 0.1], [3, 3, 1, 0.1]])
    (path,) = replays(gaze, np.zeros(3, np.int64), ["Ada"])
    assert not path["timed"]
    assert path["points"] == [[1, 1, 5, 0.1], [2, 2, None, 0.1], [3, 3, 1, 0.1]]
    assert replays(np.empty((0, 4)), np.empty(0, np.int64), []) == []


def test_raw_samples_are_thinned_evenly_and_it_is_said() -> None:
    gaze = np.column_stack([np.arange(1000.0), np.ones(1000), np.arange(1000) / 60, np.ones(1000)])
    (path,) = replays(gaze, np.full(1000, 3), [])
    assert (path["reader"], path["every"]) == ("reader 3", 3)
    assert [point[0] for point in path["points"]] == list(range(0, 1000, 3))
    assert len(path["points"]) <= MOST_POINTS


def test_a_thousand_cases_of_this_size_are_below_60_megabytes() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:FILM_SIDE, :FILM_SIDE] / FILM_SIDE
    # Noisier than radiographs at this size are.
    film = 120 + 80 * np.sin(9 * x) * np.cos(7 * y) + rng.normal(0, 6, x.shape)
    density = np.exp(-((x - 0.4) ** 2 + (y - 0.6) ** 2) * 30)
    size = len(film_webp(film.clip(0, 255).astype(np.uint8), FILM_SIDE))
    size += 3 * len(level_png(density, 1.0, MAP_SIDE))
    size += len(json.dumps([[100.123, 100.123, 1.123, 0.123]] * 100))
    assert size * 1000 < 60e6


def test_pictures_keep_their_values() -> None:
    film = np.full((400, 200), 77, np.uint8)
    small = levels(film_webp(film, 100))
    assert small.shape[:2] == (100, 50)
    assert np.abs(small.astype(int) - 77).max() <= 2
    palette = np.frombuffer(base64.b64decode(palette_bytes()), np.uint8).reshape(256, 4)
    assert palette[0, 3] == 0
    assert palette[255, 3] == 255
    assert palette[255, :3].tolist() == pytest.approx([243, 249, 155], abs=12)

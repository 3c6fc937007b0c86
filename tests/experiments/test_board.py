"""TensorBoard's tags, steps, layout, panels and curves, read back from the event files."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import precision_score, recall_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.util import tensor_util

from experiments.board import LAYOUT, epochs_before, tag_of, write_precision_recall
from experiments.callbacks import StageLog
from experiments.check import LOSSES
from experiments.check import METRICS as MONITORED
from experiments.panel import LINE, TILE, draw_panel, stratified
from eye_gaze_data.files import write_json
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network
from tests.experiments.small import small_config


def events_of(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


@pytest.mark.parametrize(
    ("name", "task", "tag"),
    [
        ("valid/cc", "joint", "gaze/valid/cc"),
        ("valid/cc_centre_bias", "saliency", "gaze/valid/cc_centre_bias"),
        ("train/kld", "saliency", "gaze/train/kld"),
        ("valid/auroc", "joint", "diagnosis/valid/auroc"),
        ("train/asymmetric_shift_focal", "classify", "diagnosis/train/asymmetric_shift_focal"),
        ("train/loss", "contrast", "optimisation/train/loss"),
        ("train/lr", "fuse", "optimisation/train/lr"),
        ("train/sigma_bce", "joint", "optimisation/train/sigma_bce"),
        ("valid/ordered", "contrast", "contrast/valid/ordered"),
        ("valid/dice", "segment", "anatomy/valid/dice"),
        ("train/weight_kld", "joint", "optimisation/train/weight_kld"),
        ("train/attention_consistency", "joint", "attention/train/attention_consistency"),
        ("valid/pooled_classes", "classify", "attention/valid/pooled_classes"),
        ("valid/map", "detect", "detection/valid/map"),
        ("train/of_an_extension", "joint", "other/train/of_an_extension"),
    ],
)
def test_tags_stand_under_their_task(name: str, task: str, tag: str) -> None:
    assert tag_of(name, task) == tag


def test_every_registered_loss_and_metric_has_a_group() -> None:
    logged = {(name, task) for name, (tasks, _) in LOSSES.items() for task in tasks}
    logged |= {(name, task) for task, names in MONITORED.items() for name in names}
    logged |= {(f"{name}_centre_bias", task) for name, task in logged if name in {"cc", "nss"}}
    assert len(logged) > 30
    groups = {(name, task): tag_of(f"valid/{name}", task).split("/")[0] for name, task in logged}
    assert [pair for pair, group in groups.items() if group == "other"] == []
    assert set(groups.values()) == {
        "gaze", "diagnosis", "attention", "contrast", "anatomy", "detection",
    }  # fmt: skip
    # What a joint stage logs stands under one of its two tasks, or under attention.
    assert {group for (_, task), group in groups.items() if task == "joint"} == {
        "gaze", "diagnosis", "attention",
    }  # fmt: skip


def test_stages_begin_where_the_epochs_before_them_ended(tmp_path: Path) -> None:
    config = small_config()
    write_json(tmp_path / "01-contrast" / "stage.json", {"epochs": 7})
    write_json(tmp_path / "02-classify" / "stage.json", {"epochs": 4})
    names = [stage.name for stage in config.stages]
    assert [epochs_before(tmp_path, config, name) for name in names] == [0, 7, 11, 11, 11]


def log_epochs(log: StageLog, values: dict[int, float]) -> None:
    """Run some epochs of a stage that logs one metric."""
    settings = TaskSettings("joint", "joint", {"kld": 1.0})
    module = TaskModule(Network(), settings)
    for number, (epoch, value) in enumerate(values.items()):
        metrics = {"valid/cc": torch.tensor(value), "valid/auroc": torch.tensor(0.7)}
        optimiser = SimpleNamespace(param_groups=[{"lr": 0.1}])
        state = {"current_epoch": epoch, "max_epochs": 9, "optimizers": [optimiser]}
        trainer = cast(pl.Trainer, SimpleNamespace(callback_metrics=metrics, **state))
        if number == 0:
            log.on_train_start(trainer, module)
        log.on_train_epoch_end(trainer, module)
    log.writer.close()


def test_a_resumed_stage_has_no_step_twice(tmp_path: Path) -> None:
    first = StageLog(tmp_path, "joint", task="joint", before=10)
    log_epochs(first, {0: 0.1, 1: 0.2})
    resumed = StageLog(tmp_path, "joint", task="joint", before=10)
    # The last checkpoint is that of the first epoch: the second one is trained again.
    resumed.load_state_dict({"rows": first.rows[:1]})
    log_epochs(resumed, {1: 0.25, 2: 0.3})
    found = [
        (event.step, event.value)
        for event in events_of(tmp_path / "tensorboard").Scalars("gaze/valid/cc")
    ]
    assert [step for step, _ in found] == [10, 11, 12]
    assert [value for _, value in found] == pytest.approx([0.1, 0.25, 0.3])


def test_the_layout_has_both_tasks_in_one_chart(tmp_path: Path) -> None:
    log_epochs(StageLog(tmp_path, "joint", task="joint"), {0: 0.1})
    events = events_of(tmp_path / "tensorboard")
    (event,) = events.Tensors("custom_scalars__config__")
    stored = layout_pb2.Layout()
    stored.ParseFromString(tensor_util.make_ndarray(event.tensor_proto).item())
    (category,) = stored.category
    assert category.title == "All stages"
    assert [chart.title for chart in category.chart] == list(LAYOUT["All stages"])
    assert list(category.chart[0].multiline.tag) == ["^diagnosis/valid/auroc$", "^gaze/valid/cc$"]
    assert set(events.Tags()["scalars"]) == {
        "diagnosis/valid/auroc", "gaze/valid/cc", "optimisation/train/lr",
    }  # fmt: skip


def test_curves_of_precision_over_recall_are_those_of_the_table(tmp_path: Path) -> None:
    config = small_config()
    for name in ("01-contrast", "02-classify"):
        write_json(tmp_path / name / "stage.json", {"epochs": 3})
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60).astype(float)
    scores = np.clip(0.3 * labels + 0.7 * rng.random(60), 0, 1)
    unknown = labels.copy()
    unknown[:20] = np.nan
    table = pd.DataFrame(
        {"group": "phantom", "label_a": labels, "probability_a": scores, "label_b": unknown,
         "probability_b": scores, "label_c": 1.0, "probability_c": scores}
    )  # fmt: skip
    write_precision_recall(tmp_path, config, "classify", table, ["a", "b", "c"])
    events = events_of(tmp_path / "evaluate" / "tensorboard")
    assert set(events.Tags()["tensors"]) == {"diagnosis/phantom/a", "diagnosis/phantom/b"}
    for name, rows in (("a", slice(None)), ("b", slice(20, None))):
        (event,) = events.Tensors(f"diagnosis/phantom/{name}")
        assert event.step == 6
        curve = tensor_util.make_ndarray(event.tensor_proto)
        for place in (20, 64, 100):
            # The plugin counts in bins: a score is called from the lower end of its bin.
            called = np.floor(scores[rows] * 126) >= place
            assert curve[4][place] == pytest.approx(precision_score(labels[rows], called))
            assert curve[5][place] == pytest.approx(recall_score(labels[rows], called))


def test_the_panel_draws_in_turn_from_all_findings() -> None:
    labels = np.zeros((50, 3))
    labels[40:44, 0], labels[44:47, 1], labels[47:, 2] = 1, 1, 1
    labels[:5] = np.nan
    chosen = stratified(labels, 6, seed=3)
    assert chosen == stratified(labels, 6, seed=3)
    assert len(set(chosen)) == 6
    kinds = [
        int(np.argmax(labels[row] > 0.5)) + 1 if (labels[row] > 0.5).any() else 0 for row in chosen
    ]
    assert kinds == [0, 1, 2, 3, 0, 1]
    assert stratified(labels, 6, seed=4) != chosen
    assert sorted(stratified(labels[45:], 9, seed=0)) == [0, 1, 2, 3, 4]


def test_the_densities_of_a_row_share_one_scale() -> None:
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., 10, 10], truth[..., 30, 30] = 0.75, 0.25
    guess = torch.zeros(1, 1, 64, 64)
    guess[..., 10, 10], guess[..., 50, 50] = 0.25, 0.75
    film, valid = torch.full((1, 1, 64, 64), 0.5), torch.ones(1, 1, 64, 64)
    picture = draw_panel(film, truth, guess, valid, ["a"])
    assert picture.shape == (TILE + LINE, 4 * TILE, 3)

    def at(tile: int, place: int) -> list[int]:
        return cast(list[int], picture[2 * place, tile * TILE + 2 * place].tolist())

    assert at(0, 5) == [128, 128, 128]
    assert at(1, 10) == at(2, 50) == [252, 255, 164]  # inferno's last colour
    assert at(1, 30) == at(2, 10)
    assert at(3, 10)[2] > at(3, 10)[0]  # less than people looked: blue
    assert at(3, 50)[0] > at(3, 50)[2]
    assert at(3, 5)[0] == pytest.approx(at(3, 5)[2], abs=3)
    assert picture[TILE:].max() == 255
    assert bool((picture[TILE:, : 4 * TILE] == 0).mean() > 0.5)

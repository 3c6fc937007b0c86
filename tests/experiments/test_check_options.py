"""What a stage may not ask of its model, data and losses: refused before training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.build import build_cohorts
from experiments.check import check_against_cohort, check_config
from experiments.config import RunConfig
from experiments.load import parse_config
from eye_gaze_data.errors import ConfigError
from tests.experiments.small import MODEL, small_stage, small_tree

UNET = {"kind": "smp_unet", "encoder": "tu-resnet18"}
MT = {"kind": "mt_unet", "widths": [4, 4]}


def one(task: str, model: dict[str, Any] | None = None, **changes: Any) -> RunConfig:  # noqa: ANN401
    kind = "pretrain" if task == "contrast" else "cooperative"
    tree = small_tree(stages=[small_stage("only", kind, task, **changes)])
    tree["models"] = {"network": model or MODEL}
    return parse_config(tree, Path("run.yaml"))


def strided(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"cohorts": "phantom", "image_size": [32, 32], **changes}


def losses(**values: Any) -> dict[str, Any]:  # noqa: ANN401
    monitor = {"metric": "valid/loss", "mode": "min"}
    return {"losses": values, "monitor": monitor}


REFUSED: list[tuple[str, dict[str, Any] | None, dict[str, Any], str]] = [
    ("contrast", MT, {}, "contrast.encoder 'encoder_a' does not exist; did you mean 'encoder'"),
    ("contrast", None, {"contrast": {"encoder": "encoder"}}, "contrast.encoder 'encoder' does not"),
    (
        "contrast",
        MODEL | {"attention": [{"use": "probabilistic_pooling", "at": "fusion"}]},
        losses(pooled_classes=1),
        "a contrast stage has no loss 'pooled_classes' of its attention",
    ),
    ("saliency", MODEL | {"in_channels": 3}, {}, "films have 1 channel, model 'network' expects 3"),
    ("classify", UNET | {"in_channels": 2}, {}, "expects 2; set in_channels: 1"),
    ("saliency", None, losses(map_cross_entropy=1), "goes with a 'smp_unet' whose map is"),
    ("saliency", UNET, losses(map_cross_entropy=1), "'smp_unet' whose map is 'sigmoid'"),
    ("saliency", None, {"data": strided(stride=5)}, "data.stride goes with fit 'strided', not"),
    ("classify", None, {"legacy": {"unpooled_triplet": True}}, "is for task 'contrast'"),
    ("fuse", None, {"legacy": {"unmasked_softmax": True}}, "is for tasks 'saliency' and 'joint'"),
    ("contrast", None, {"legacy": {"unmasked_softmax": True}}, "'saliency' and 'joint'"),
    ("saliency", None, {"weighting": "kendall"}, "weighting 'kendall' is for task 'joint'"),
    ("fuse", None, {"weighting": "paper"}, "weighting 'paper' is for task 'joint'"),
    ("fuse", UNET, {}, "a 'smp_unet' cannot do task 'fuse'"),
    ("fuse", MT, {}, "a 'mt_unet' cannot do task 'fuse'"),
    (
        "classify",
        None,
        losses(bce={"weight": 1, "options": {"class_wieghts": [1]}}),
        "option of loss 'bce' 'class_wieghts' does not exist; did you mean 'class_weights'",
    ),
    (
        "saliency",
        None,
        losses(kld={"weight": 1, "options": {"class_weights": [1]}}),
        "option of loss 'kld' 'class_weights' does not exist",
    ),
    ("classify", None, losses(bce={"options": {"class_weights": "balanced"}}), "a list of numbers"),
    ("classify", None, losses(bce={"options": {"class_weights": [1, 0]}}), "found [1, 0]"),
    ("classify", None, losses(bce={"options": {"class_weights": [1, -2]}}), "found [1, -2]"),
    ("classify", None, losses(bce={"options": {"class_weights": 3}}), "found 3"),
    ("classify", None, losses(bce={"options": {"class_weights": [".inf"]}}), "numbers above 0"),
    (
        "classify",
        None,
        losses(cross_entropy={"options": {"class_weights": "equal"}}),
        "or 'balanced' for 'cross_entropy', found 'equal'",
    ),
    ("saliency", None, losses(scanpat=1), "'scanpat' does not exist; did you mean 'scanpath'"),
    ("classify", None, losses(scanpath=1), "loss 'scanpath' is not for task 'classify'"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "model", "changes", "message"), REFUSED)
def test_what_does_not_go_together_is_refused(
    task: str, model: dict[str, Any] | None, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(one(task, model, **changes))
    assert str(caught.value).startswith("stage 'only': ")
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_must_be_finite(value: float) -> None:
    wrong = losses(bce={"options": {"class_weights": [1.0, value]}})
    with pytest.raises(ConfigError, match="numbers above 0"):
        check_config(one("classify", **wrong))


ALLOWED: list[tuple[str, dict[str, Any] | None, dict[str, Any]]] = [
    ("contrast", MT, {"contrast": {"encoder": "encoder"}}),
    ("contrast", None, {"contrast": {"encoder": "encoder_b"}}),
    ("contrast", None, {"legacy": {"unpooled_triplet": True}}),
    ("saliency", UNET | {"map": "sigmoid"}, losses(map_cross_entropy=1)),
    ("saliency", None, {"data": strided(stride=2, fit="strided")}),
    ("saliency", None, {"legacy": {"unmasked_softmax": True, "drifting_statistics": True}}),
    ("joint", None, {"weighting": "paper"}),
    ("joint", None, losses(bce={"options": {"class_weights": [1, 2.5]}}, scanpath=0.5)),
    ("classify", None, losses(cross_entropy={"options": {"class_weights": "balanced"}})),
]


@pytest.mark.parametrize(("task", "model", "changes"), ALLOWED)
def test_what_goes_together_passes(
    task: str, model: dict[str, Any] | None, changes: dict[str, Any]
) -> None:
    check_config(one(task, model, **changes))


def test_a_legacy_split_names_a_cohort_of_the_run() -> None:
    config = parse_config(small_tree(legacy_split=["phantoms"]), Path("run.yaml"))
    with pytest.raises(ConfigError, match="legacy_split 'phantoms' does not exist.*'phantom'"):
        check_config(config)


def test_two_losses_of_one_head_are_refused() -> None:
    both = losses(bce=1, cross_entropy=1)
    config = one("classify", **both)
    with pytest.raises(ConfigError, match="read the same logits; choose one"):
        check_against_cohort(config, build_cohorts(config))


def test_labels_of_two_kinds_do_not_meet_in_a_stage() -> None:
    films = small_tree()["cohorts"]["phantom"]
    cohorts = {"several": films, "one": films | {"labels": "exclusive", "seed": 1}}
    data = {"cohorts": ["several", "one"], "image_size": [32, 32]}
    stage = small_stage("only", "cooperative", "classify", data=data)
    config = parse_config(small_tree(stages=[stage], cohorts=cohorts), Path("run.yaml"))
    message = "'only': cohorts with exclusive and with multiple labels cannot meet in one stage"
    with pytest.raises(ConfigError, match=message):
        check_against_cohort(config, build_cohorts(config))


def test_a_softmax_over_labels_that_may_hold_at_once_is_refused() -> None:
    config = one("classify", **losses(cross_entropy=1))
    with pytest.raises(ConfigError, match="'only': several labels may hold at once; use 'bce'"):
        check_against_cohort(config, build_cohorts(config))


@pytest.mark.parametrize("gone", ["train", "valid"])
def test_a_split_without_images_is_refused(gone: str) -> None:
    config = one("classify")
    cohort = build_cohorts(config)
    cohort.table.loc[cohort.table["split"] == gone, "split"] = "test"
    message = f"stage 'only': cohort 'phantom' has no image in split '{gone}', and a stage needs"
    with pytest.raises(ConfigError, match=message):
        check_against_cohort(config, cohort)


@pytest.mark.parametrize(("devices", "nodes"), [(4, 2), (8, 1)])
def test_a_split_with_fewer_images_than_processes_is_refused(devices: int, nodes: int) -> None:
    config = one("classify")
    cohort = build_cohorts(config)
    valid = np.flatnonzero(cohort.table["split"] == "valid")
    cohort.table.loc[valid[7:], "split"] = "test"
    many = config.trainer.model_copy(update={"devices": devices, "nodes": nodes})
    with pytest.raises(
        ConfigError, match=r"'only': 7 image\(s\) in split 'valid' cannot be shared by 8 processes"
    ):
        check_against_cohort(config.model_copy(update={"trainer": many}), cohort)
    seven = many.model_copy(update={"devices": 7, "nodes": 1})
    check_against_cohort(config.model_copy(update={"trainer": seven}), cohort)

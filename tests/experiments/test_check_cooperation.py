"""Turns that cannot work are refused before anything is read, each with one message."""

from pathlib import Path
from typing import Any

import pytest

from experiments.build import build_cohorts
from experiments.check import check_against_cohort, check_config
from experiments.load import load_config
from experiments.runner import run
from eye_gaze_data.errors import ConfigError
from tests.experiments.small import small_config, small_stage, small_tree

BCE = {"metric": "valid/bce", "mode": "min"}


def task(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"losses": ["bce"], "parameters": ["fusion.*"], "monitor": BCE, **changes}


def data(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"cohorts": "phantom", "image_size": [32, 32], **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"losses": {"bce": [1, 0], "kld": [1, 0]}},
            "weight above 0 in every epoch, found none in epoch 1",
        ),
        (
            {"losses": {"bce": 0, "kld": 0}},
            "weight above 0 in every epoch, found none in epoch 0",
        ),
        (
            {"losses": {"bce": [1, 1], "kld": 1}, "weighting": "kendall"},
            "loss 'bce' has a weight an epoch, which goes with weighting 'fixed', not 'kendall'",
        ),
        (
            {"losses": {"bce": [1, 1], "kld": 1}, "tasks": {"a": task()}},
            "loss 'bce' has a weight an epoch, which does not go with 'tasks'",
        ),
        (
            {"tasks": {"a": task(losses=["bcee"])}},
            "tasks.a.losses 'bcee' is no loss of the stage; did you mean 'bce'?",
        ),
        (
            {"tasks": {"a": task(), "b": task()}},
            "tasks 'a' and 'b' both have the loss 'bce'",
        ),
        (
            {"tasks": {"a": task(monitor={"metric": "valid/auc", "mode": "max"})}},
            "tasks.a.monitor.metric 'valid/auc' does not exist; did you mean 'valid/auroc'?",
        ),
        (
            {"tasks": {"a": task()}, "schedule": {"name": "plateau", "reload_best": True}},
            "schedule.reload_best would bring back what a mature task is done with",
        ),
        (
            {"unfreeze": {"fusion.*": 2}},
            "unfreeze 'fusion.*' begins with epoch 2, and the stage ends after epoch 1",
        ),
        (
            {"unfreeze": {"fusion.*": 1}, "legacy": {"drifting_statistics": True}},
            "legacy.drifting_statistics lets norms of resting parts change",
        ),
        (
            {"data": data(cohorts={"phantom": 2}, supervision={"both": 1})},
            "drawn either by the weights of data.cohorts or by data.supervision",
        ),
        (
            {"data": data(supervision={"labels": 1})},
            "loss 'kld' needs gaze, and data.supervision draws no row that knows it",
        ),
        (
            {"data": data(supervision={"gaze": 1, "labels": 0})},
            "loss 'bce' needs labels, and data.supervision draws no row that knows it",
        ),
    ],
)
def test_turns_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(small_config(stages=[small_stage("joint", "finetune", "joint", **changes)]))
    assert str(caught.value).startswith("stage 'joint': ")
    assert message in str(caught.value)


def test_shares_that_are_all_zero_are_refused() -> None:
    stage = small_stage("views", "pretrain", "contrast", data=data(supervision={"both": 0}))
    with pytest.raises(ConfigError, match="stage 'views': data.supervision needs a share above 0"):
        check_config(small_config(stages=[stage]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unfreeze": {"fusion.*": -1}}, "'stages.0.unfreeze.fusion.*': Input should be greater"),
        ({"losses": {"bce": []}}, "stages.0.losses.bce.weight"),
        ({"losses": {"bce": [1, -1]}}, "stages.0.losses.bce.weight"),
        ({"tasks": {"a": task(rate=0)}}, "'stages.0.tasks.a.rate': Input should be greater"),
        (
            {"tasks": {"a": task(stop_afer=2)}},
            "unknown key 'stages.0.tasks.a.stop_afer'; did you mean 'stop_after'?",
        ),
        ({"data": data(supervision={"boxes": 1})}, "stages.0.data.supervision.boxes"),
        ({"optimiser": {"rates": {"fusion.*": 0}}}, "stages.0.optimiser.rates.fusion.*"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small_config(stages=[small_stage("joint", "finetune", "joint", **changes)])
    assert message in str(caught.value)


def test_the_shipped_cooperative_run_passes() -> None:
    check_config(load_config(Path("cooperative")))


@pytest.mark.parametrize(
    ("stage", "cohort", "message"),
    [
        (
            small_stage("gaze", "cooperative", "saliency"),
            {"gaze": "none"},
            "stage 'gaze': no training image of its cohorts has gaze",
        ),
        (
            small_stage("findings", "cooperative", "classify"),
            {"with_labels": False},
            "stage 'findings': no training image of its cohorts has a stated label",
        ),
        (
            small_stage("findings", "cooperative", "classify"),
            {"prevalence": 0.0},
            "stage 'findings': no class has both a positive and a negative training image",
        ),
        (
            small_stage(
                "joint", "cooperative", "joint", data=data(supervision={"gaze": 1, "both": 1})
            ),
            {},
            "data.supervision wants a share of 1 of 'gaze', and no training image knows that; "
            "there are 24 both, 0 gaze, 0 labels",
        ),
    ],
)
def test_a_stage_that_the_cohort_cannot_serve_is_refused(
    stage: dict[str, Any], cohort: dict[str, Any], message: str
) -> None:
    phantom = {**small_tree()["cohorts"]["phantom"], **cohort}
    config = small_config(stages=[stage], cohorts={"phantom": phantom})
    with pytest.raises(ConfigError) as caught:
        check_against_cohort(config, build_cohorts(config))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unfreeze": {"encodr_a.*": 1}}, "unfreeze 'encodr_a.*' matches no trained parameter"),
        (
            {"train": ["fusion.*"], "unfreeze": {"encoder_a.*": 1}},
            "unfreeze 'encoder_a.*' matches no trained parameter",
        ),
        ({"unfreeze": {"*": 1}}, "'unfreeze' lets nothing move in epoch 0"),
        (
            {"optimiser": {"rates": {"decodr.*": 2}}},
            "optimiser.rates 'decodr.*' matches no trained parameter; did you mean 'decoder.*'?",
        ),
        (
            {
                "tasks": {
                    "a": task(),
                    "b": task(losses=["kld"], parameters=["decoder.*", "fusion.0.*"]),
                }
            },
            "tasks 'a' and 'b' both own 'fusion.0.bias'",
        ),
        (
            {"init": [{"file": "nowhere.safetensors"}]},
            "nowhere.safetensors: no such weights file",
        ),
    ],
)
def test_globs_and_files_are_tried_before_anything_is_trained(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    stages = [
        small_stage("first", "cooperative", "saliency"),
        small_stage("joint", "finetune", "joint", **changes),
    ]
    with pytest.raises(ConfigError) as caught:
        run(small_config(stages=stages), tmp_path / "run", say=lambda _: None)
    assert "stage 'joint': " in str(caught.value)
    assert message in str(caught.value)
    assert not (tmp_path / "run" / "01-first").exists()

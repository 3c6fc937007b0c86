"""What is wrong with an anatomy stage is named before training starts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from experiments.anatomy_source import cohort_anatomy
from experiments.build import build_cohorts
from experiments.check import check_against_cohort, check_config, not_built
from experiments.config import RunConfig
from experiments.load import expand_rounds
from experiments.stage_data import build_data
from eye_gaze_data.anatomy import annotated_rows
from eye_gaze_data.cohort import Cohort, Pixels
from eye_gaze_data.errors import ConfigError

from .anatomy import CLASSIFIER, ORGANS, SEGMENTER, anatomy_config, joint_stage, segment_stage
from .small import MODEL, small_config, small_stage


def refused(config: RunConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_config(config)


def from_stage(name: str, *organs: str) -> dict[str, Any]:
    return {"source": "stage", "stage": name, "organs": list(organs) or CLASSIFIER["organs"]}


def test_a_run_with_an_anatomy_stage_is_right() -> None:
    config = anatomy_config(segment_stage(), joint_stage())
    check_config(config)
    check_against_cohort(config, build_cohorts(config))
    assert not_built(config) == []


def test_a_source_that_is_no_earlier_segment_stage_is_refused() -> None:
    missing = joint_stage(anatomy=from_stage("anatomi"))
    refused(
        anatomy_config(segment_stage(), missing),
        "'joint' takes organ masks from stage 'anatomi', which does not exist; did you mean 'anat",
    )
    refused(
        anatomy_config(joint_stage(), segment_stage()),
        "takes organ masks from stage 'anatomy', which comes no earlier",
    )
    other = joint_stage(name="other", anatomy={"source": "ones", "organs": CLASSIFIER["organs"]})
    refused(
        anatomy_config(other, joint_stage(anatomy=from_stage("other"))),
        "from stage 'other', whose task is 'joint'; masks come from a stage of task 'segment'",
    )


def test_organs_that_are_not_segmented_are_refused() -> None:
    models = {
        "segmenter": SEGMENTER | {"organs": ["heart"]},
        "classifier": CLASSIFIER,
    }
    anatomy = {"source": "cohort", "organs": ["heart"]}
    stages = [segment_stage(anatomy=anatomy), joint_stage()]
    refused(
        small_config(models=models, stages=stages),
        "stage 'anatomy' does not segment organ 'left_lung'",
    )
    refused(
        anatomy_config(segment_stage(anatomy=anatomy)),
        "attends to organs left_lung, right_lung, heart, but 'anatomy' gives heart",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anatomy": None}, "task 'segment' learns from the cohort's masks"),
        ({"anatomy": {"source": "ones", "organs": ORGANS}}, "learns from the cohort's masks"),
        ({"losses": {"teacher_consistency": 1}}, "needs the loss 'dice_bce'"),
        ({"losses": {"dice_bce": 1}}, "expected data.views of 1, found 2"),
        ({"model": "classifier"}, "a 'anatomy_xnet' cannot do task 'segment'"),
        (
            {"monitor": {"metric": "valid/teacher_consistency", "mode": "min"}},
            "monitor.metric 'valid/teacher_consistency' does not exist",
        ),
        ({"task": "joint"}, "a 'anatomy_segmenter' cannot do task 'joint'"),
    ],
)
def test_a_segment_stage_that_cannot_learn_is_refused(change: dict[str, Any], message: str) -> None:
    kind = {"kind": "cooperative"} if "task" in change else {}
    refused(anatomy_config(segment_stage(**change, **kind)), message)


def test_views_fit_and_mix_of_a_segment_stage() -> None:
    data = segment_stage()["data"]
    refused(anatomy_config(segment_stage(data=data | {"views": 1})), "data.views of 2, found 1")
    refused(anatomy_config(segment_stage(data=data | {"fit": "crop"})), "sees the whole film")
    mix = segment_stage(data=data | {"cohorts": {"phantom": 1}})
    refused(anatomy_config(mix), "annotated_share and the weights of data.cohorts are two mixes")


def test_a_source_says_what_goes_with_it() -> None:
    wrong: list[dict[str, Any]] = [{"source": "stage"}, {"source": "ones", "stage": "anatomy"}]
    for fields in wrong:
        anatomy = {"organs": CLASSIFIER["organs"]} | fields
        refused(
            anatomy_config(segment_stage(), joint_stage(anatomy=anatomy)),
            "expected anatomy.stage with source 'stage' and only there",
        )
    anatomy = from_stage("anatomy") | {"annotated": 3}
    refused(
        anatomy_config(segment_stage(), joint_stage(anatomy=anatomy)),
        "anatomy.annotated goes with source 'cohort', not 'stage'",
    )
    stage = small_stage("one", "cooperative", "segment", losses={"dice_bce": 1})
    refused(small_config(models={"network": MODEL}, stages=[stage]), "cannot do task 'segment'")


class Changed:
    """The masks of a cohort, some of them other than they should be."""

    def __init__(self, cohort: Cohort, change: Callable[[int, Pixels], Pixels]) -> None:
        assert cohort.masks is not None
        self.masks, self.change = cohort.masks, change

    def __call__(self, row: int) -> Pixels:
        return self.change(row, self.masks(row))


def test_masks_that_cannot_be_learned_from_are_named() -> None:
    config = anatomy_config(segment_stage(anatomy={"source": "cohort", "organs": ORGANS}))
    cohort = build_cohorts(config)
    valid = set(cohort.rows_of("valid").tolist())
    train = set(cohort.rows_of("train").tolist())
    first = cohort.table["image_id"].iat[min(train)]

    def check(change: Callable[[int, Pixels], Pixels]) -> None:
        check_against_cohort(config, replace(cohort, masks=Changed(cohort, change)))

    with pytest.raises(ConfigError, match="': no film of split 'valid' has a mask of left_lung"):
        check(lambda row, masks: masks * np.float32(np.nan if row in valid else 1))
    with pytest.raises(ConfigError, match="no film of split 'train' has a mask"):
        check(lambda row, masks: masks * np.float32(np.nan if row in train else 1))
    with pytest.raises(
        ConfigError, match=f"'{first}'.*'left_lung' must lie in .0, 1.*found .0, 255."
    ):
        check(lambda _, masks: masks * np.float32(255))
    with pytest.raises(
        ConfigError, match=f"'{first}': its film has .64, 64. .* masks have .64, 32."
    ):
        check(lambda _, masks: masks[:, :, ::2])


def test_the_annotated_films_are_drawn_by_seed_from_the_training_split() -> None:
    config = anatomy_config(segment_stage())
    cohort, stage = build_cohorts(config), config.stages[0]
    assert stage.anatomy is not None
    train, valid = cohort.rows_of("train"), cohort.rows_of("valid")
    source = cohort_anatomy(config, stage, stage.anatomy, cohort)
    drawn = annotated_rows(source, cohort, train)
    assert len(drawn) == 6
    assert len(annotated_rows(source, cohort, valid)) == len(valid)
    again = cohort_anatomy(config, stage, stage.anatomy, cohort)
    assert annotated_rows(again, cohort, train).tolist() == drawn.tolist()
    other = config.model_copy(update={"seed": 1})
    differs = annotated_rows(cohort_anatomy(other, stage, stage.anatomy, cohort), cohort, train)
    assert differs.tolist() != drawn.tolist()
    many = segment_stage(anatomy={"source": "cohort", "organs": ORGANS, "annotated": 99})
    message = f"annotated asks for 99 training films with masks .* the cohort has {len(train)}"
    with pytest.raises(ConfigError, match=message):
        check_against_cohort(anatomy_config(many), cohort)


def test_an_epoch_holds_the_declared_share_of_annotated_films() -> None:
    config = anatomy_config(segment_stage(teacher={"annotated_share": 0.75}, batch_size=4))
    cohort, stage = build_cohorts(config), config.stages[0]
    assert stage.anatomy is not None
    source = cohort_anatomy(config, stage, stage.anatomy, cohort)
    loader = build_data(config, stage, cohort, source).train_dataloader()
    batches = list(loader)
    masks = [batch["anatomy"][:4] for batch in batches]
    known = sum(int((~part.flatten(1).isnan().any(1)).sum()) for part in masks)
    assert sum(len(part) for part in masks) == 4 * (len(cohort.rows_of("train")) // 4)
    assert known == round(0.75 * len(cohort.rows_of("train")))
    all_known = anatomy_config(segment_stage(anatomy={"source": "cohort", "organs": ORGANS}))
    spec = all_known.stages[0]
    assert spec.anatomy is not None
    whole = build_data(
        all_known, spec, cohort, cohort_anatomy(all_known, spec, spec.anatomy, cohort)
    )
    assert whole.weights is None
    assert whole.train_rows["annotated"].tolist() == cohort.rows_of("train").tolist()


def test_masks_inside_rounds_come_from_the_latest_stage_of_that_name() -> None:
    from pathlib import Path

    inner = [{"name": "masks"}, {"name": "use", "anatomy": {"source": "stage", "stage": "masks"}}]
    stages = [{"rounds": 2, "stages": inner}, {"name": "end", "anatomy": {"stage": "masks"}}]
    expanded = expand_rounds(stages, Path("x.yaml"))
    found = [stage.get("anatomy", {}).get("stage") for stage in expanded]
    assert found == [None, "masks-r1", None, "masks-r2", "masks-r2"]

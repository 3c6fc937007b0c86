"""What a contrast stage cannot do is refused by name, before training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.build import build_cohorts
from experiments.check import check_against_cohort, check_config
from experiments.config import RunConfig
from experiments.contrast_check import check_positives, check_trained
from experiments.load import parse_config
from experiments.plan import check_networks
from eye_gaze_data.errors import ConfigError
from tests.experiments.small import small_stage, small_tree

Tree = dict[str, Any]
VIEWS = {"views": 2, "augment": "radiograph"}
KNN = {"metric": "valid/knn", "mode": "max"}


def contrast(losses: Tree, data: Tree | None = None, **changes: Any) -> RunConfig:  # noqa: ANN401
    cohorts = changes.pop("cohorts", None)
    monitor = {"metric": "valid/loss", "mode": "min"}
    stage = small_stage("only", "pretrain", "contrast", losses=losses, monitor=monitor)
    stage["data"] = {"cohorts": "phantom", "image_size": [32, 32], **(data or {})}
    tree = small_tree(stages=[stage | changes])
    if cohorts:
        tree["cohorts"]["phantom"] |= cohorts
    return parse_config(tree, Path("run.yaml"))


REFUSED: list[tuple[Tree, Tree, Tree, str]] = [
    ({"nt_xent": 1}, {}, {}, "'nt_xent' compares two views of each film; set data.views: 2"),
    ({"vicreg": 1}, {"views": 3, "augment": "radiograph"}, {}, "compares two views.*found 3 view"),
    ({"byol": 1}, {}, {}, "positives of loss 'byol' are the views of a film; set data.views"),
    ({"nt_xent": 1}, {"views": 2}, {}, "without augmentation the views of a film are one picture"),
    (
        {"supcon": 1},
        {"views": [{}, {}]},
        {"contrast": {"positives": "augmentation"}},
        "are one picture; set data.augment",
    ),
    (
        {"nt_xent": 1},
        VIEWS,
        {"contrast": {"positives": "label"}},
        "'nt_xent' compares the two views.*'label' goes with triplet, supcon, byol",
    ),
    ({"vicreg": 1}, VIEWS, {"contrast": {"positives": "gaze"}}, "'gaze' goes with triplet, supcon"),
    ({"supcon": {"options": {"temprature": 1}}}, {}, {}, "'temprature' does not exist"),
    ({"supcon": {"options": {"temperature": 0}}}, {}, {}, "'temperature' of loss 'sup.*found 0"),
    ({"triplet": {"options": {"mining": "hard"}}}, {}, {}, "'mining' of loss 'triplet'.*'hard'"),
    ({"byol": {"options": {"momentum": 2}}}, VIEWS, {}, "'momentum' of loss 'byol'.*found 2"),
    ({"triplet": 1}, {}, {"contrast": {"encoder": "encoder"}}, "contrast.encoder 'encoder'"),
    ({"triplet": 1}, {}, {"batch_size": 1}, "a contrast needs a batch_size of at least 2"),
    ({"bce": 1}, {}, {}, "loss 'bce' is not for task 'contrast'"),
    (
        {"supcon": 1},
        {},
        {"legacy": {"unpooled_triplet": True}},
        "legacy.unpooled_triplet is the loss 'triplet' of one encoder",
    ),
    (
        {"triplet": {"options": {"mining": "semi_hard"}}},
        {},
        {"legacy": {"unpooled_triplet": True}},
        "no option but 'margin'",
    ),
    (
        {"triplet": 1},
        {},
        {"legacy": {"unpooled_triplet": True}, "contrast": {"encoder": "both"}},
        "of one encoder",
    ),
    ({"triplet": 1}, {}, {"monitor": {"metric": "valid/kn", "mode": "max"}}, "mean 'valid/knn'"),
]  # fmt: skip


@pytest.mark.parametrize(("losses", "data", "changes", "message"), REFUSED)
def test_what_does_not_go_together_is_refused(
    losses: Tree, data: Tree, changes: Tree, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^stage 'only': .*{message}"):
        check_config(contrast(losses, data, **changes))


@pytest.mark.parametrize(
    ("losses", "data", "changes"),
    [
        ({"nt_xent": 1}, VIEWS, {}),
        ({"vicreg": 1}, {"views": [{}, {"noise": 0.1}]}, {}),
        ({"byol": 1}, {}, {"contrast": {"positives": "label"}}),
        ({"byol": 0.5, "supcon": 1}, VIEWS, {"contrast": {"positives": "gaze", "encoder": "both"}}),
        (
            {"triplet": {"options": {"mining": "semi_hard", "normalise": True}}},
            {},
            {"monitor": KNN},
        ),
        ({"triplet": {"options": {"margin": 2}}}, {}, {"legacy": {"unpooled_triplet": True}}),
    ],
)
def test_what_goes_together_passes(losses: Tree, data: Tree, changes: Tree) -> None:
    check_config(contrast(losses, data, **changes))


@pytest.mark.parametrize("encoder", ["encoder_a", "both"])
def test_an_encoder_that_is_embedded_is_trained(encoder: str) -> None:
    config = contrast({"triplet": 1}, contrast={"encoder": encoder}, train=["encoder_b.*"])
    message = (
        r"contrast.encoder 'encoder_a' is not trained, train names encoder_b.\*; add 'encoder_a"
    )
    with pytest.raises(ConfigError, match=message):
        check_networks(config, build_cohorts(config))
    check_trained(config.stages[0], ["encoder_a.x", "encoder_b.y"])


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"stop_after": 2}, "stop_after is 2"),
        ({"schedule": {"name": "plateau", "patience": 2}}, "schedule.patience is 2"),
    ],
)
def test_a_stage_waits_for_the_next_look(changes: Tree, key: str) -> None:
    looks: Tree = {"contrast": {"watch": {"every": 3}}, "monitor": KNN}
    with pytest.raises(ConfigError, match=f"looked at every 3 epochs.*{key}; let it be at least 3"):
        check_config(contrast({"triplet": 1}, **looks, **changes))
    check_config(contrast({"triplet": 1}, **looks, stop_after=3))
    check_config(contrast({"triplet": 1}, contrast=looks["contrast"], **changes))


def test_two_encoders_need_a_model_with_two() -> None:
    config = contrast({"triplet": 1}, contrast={"encoder": "both"})
    tree = config.model_dump(mode="json")
    tree["models"]["network"] = {"kind": "mt_unet", "widths": [4, 4]}
    with pytest.raises(ConfigError, match="contrast.encoder 'encoder_a' does not exist"):
        check_config(RunConfig.model_validate(tree))


@pytest.mark.parametrize(
    ("changes", "cohorts", "message"),
    [
        (
            {"contrast": {"positives": "gaze"}},
            {"gaze": "none"},
            r"'gaze' compares films that were looked at; 0 training image\(s\) of its cohorts",
        ),
        (
            {"contrast": {"positives": "patient"}},
            {},
            r"two training films and a second patient; found \d+ patient\(s\) with at most 1 film",
        ),
        ({}, {"with_labels": False}, "no training image states every label.*: augmentation"),
    ],
)  # fmt: skip
def test_films_that_cannot_give_positives_are_refused(
    changes: Tree, cohorts: Tree, message: str
) -> None:
    config = contrast({"supcon": 1}, cohorts=cohorts, **changes)
    with pytest.raises(ConfigError, match=f"^stage 'only': .*{message}"):
        check_against_cohort(config, build_cohorts(config))


def test_without_labels_views_can_be_contrasted_but_not_scored() -> None:
    config = contrast({"nt_xent": 1}, VIEWS, cohorts={"with_labels": False})
    cohort = build_cohorts(config)
    check_against_cohort(config, cohort)
    scored = contrast({"nt_xent": 1}, VIEWS, cohorts={"with_labels": False}, monitor=KNN)
    with pytest.raises(ConfigError, match="valid/knn needs films with and without a finding"):
        check_against_cohort(scored, cohort)


def test_what_the_labels_allow() -> None:
    config = contrast({"supcon": 1})
    cohort, stage = build_cohorts(config), config.stages[0]
    rows = np.arange(4)
    names = cohort.pathologies
    cohort.table.loc[:, names] = 0.0
    with pytest.raises(ConfigError, match="no two training films have unlike findings .*one class"):
        check_positives(stage, cohort, rows)
    cohort.table.loc[:3, names[:4]] = np.eye(4)
    with pytest.raises(ConfigError, match="no two training films have alike findings"):
        check_positives(stage, cohort, rows)
    paired = contrast({"supcon": 1}, VIEWS)
    check_positives(paired.stages[0], cohort, rows)  # the other view is a positive
    cohort.table.loc[3, list(names)] = cohort.table.loc[2, list(names)]
    check_positives(stage, cohort, rows)
    with pytest.raises(ConfigError, match="at least 2 training films, found 1"):
        check_positives(stage, cohort, rows[:1])


def test_patients_too_rare_to_meet_in_a_batch_are_refused() -> None:
    by_patient = {"contrast": {"positives": "patient"}}
    config = contrast({"supcon": 1}, **by_patient, batch_size=8)
    cohort = build_cohorts(config)
    cohort.table.loc[1, "patient_id"] = str(cohort.table.loc[0, "patient_id"])
    rows = np.arange(24)
    # 8 * 7 / (24 * 23): the one pair is in every tenth batch.
    with pytest.raises(ConfigError, match="a batch of 8 films holds 0.1 pairs of films of one"):
        check_positives(config.stages[0], cohort, rows)
    paired = contrast({"supcon": 1}, VIEWS, **by_patient, batch_size=8)
    check_positives(paired.stages[0], cohort, rows)
    check_positives(config.stages[0], cohort, rows[:8])  # all in one batch: exactly one pair

"""From a config to its parts: the split by image, class weights, sigmoids of exclusive classes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from experiments.build import build_cohorts, build_module
from experiments.config import RunConfig
from experiments.load import parse_config
from experiments.stage_data import stage_classes
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.splits import legacy_split
from tests.experiments.small import small_stage, small_tree

MONITOR = {"metric": "valid/loss", "mode": "min"}


def make(losses: dict[str, Any], *, labels: str = "exclusive", **changes: Any) -> RunConfig:  # noqa: ANN401
    stage = small_stage("only", "pretrain", "classify", losses=losses, monitor=MONITOR)
    tree = small_tree(stages=[stage], **changes)
    tree["cohorts"]["phantom"] |= {"labels": labels, "n_patients": 60}
    return parse_config(tree, Path("run.yaml"))


def counts_of(cohort: Cohort, split: str) -> list[int]:
    rows = cohort.rows_of(split, ["phantom"])
    return [int(count) for count in (cohort.labels[rows] == 1).sum(0)]


def test_a_legacy_split_is_by_image_and_says_so() -> None:
    config = make({"cross_entropy": 1}, legacy_split=["phantom"])
    cohort = build_cohorts(config)
    classes = cohort.labels.argmax(1).tolist()
    assert cohort.table["split"].tolist() == legacy_split(classes)
    splits = cohort.table.groupby("patient_id")["split"].nunique()
    torn = int((splits > 1).sum())
    assert (
        f"phantom: split by image: {torn} patient(s) stand in more than one split" in cohort.notes
    )
    plain = build_cohorts(make({"cross_entropy": 1}))
    assert plain.table["split"].tolist() != cohort.table["split"].tolist()
    assert not [note for note in plain.notes if "split by image" in note]


def test_a_legacy_split_needs_exclusive_classes() -> None:
    config = make({"bce": 1}, labels="multilabel", legacy_split=["phantom"])
    with pytest.raises(ConfigError, match="cohort 'phantom' has several labels an image"):
        build_cohorts(config)


def test_balanced_weights_are_those_of_the_training_rows() -> None:
    losses = {"cross_entropy": {"weight": 1, "options": {"class_weights": "balanced"}}}
    config = make(losses)
    cohort = build_cohorts(config)
    module = build_module(config, config.stages[0], cohort)
    counts = np.array(counts_of(cohort, "train"))
    expected = counts.sum() / (len(counts) * counts)
    found = module.settings.class_weights["cross_entropy"]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_weights_that_are_given_go_to_their_loss() -> None:
    config = make({"bce": {"options": {"class_weights": [1, 2, 3.5]}}})
    module = build_module(config, config.stages[0], build_cohorts(config))
    assert set(module.settings.class_weights) == {"bce"}
    assert module.settings.class_weights["bce"].tolist() == [1.0, 2.0, 3.5]
    assert module.settings.class_weights["bce"].dtype == torch.float32


def test_a_wrong_number_of_weights_names_the_classes() -> None:
    config = make({"cross_entropy": {"options": {"class_weights": [1, 2]}}})
    cohort = build_cohorts(config)
    with pytest.raises(ConfigError) as caught:
        build_module(config, config.stages[0], cohort)
    names = ", ".join(cohort.pathologies)
    message = f"expected 3 class_weights for loss 'cross_entropy' ({names}), found 2"
    assert message in str(caught.value)


def test_balanced_weights_need_every_class() -> None:
    losses = {"cross_entropy": {"options": {"class_weights": "balanced"}}}
    config = make(losses)
    cohort = build_cohorts(config)
    absent = cohort.pathologies[1]
    has = cohort.table[absent] == 1
    cohort.table.loc[has, "split"] = "test"
    cohort.table.loc[cohort.table.index[has][:1], "split"] = "valid"
    with pytest.raises(ConfigError, match=f"there is none of {absent}"):
        build_module(config, config.stages[0], cohort)


@pytest.mark.parametrize(
    ("labels", "loss", "exclusive"),
    [
        ("exclusive", "cross_entropy", True),
        ("exclusive", "bce", False),
        ("multilabel", "bce", False),
    ],
)
def test_binary_cross_entropy_means_a_sigmoid_each(labels: str, loss: str, exclusive: bool) -> None:
    config = make({loss: 1}, labels=labels)
    cohort = build_cohorts(config)
    names, found = stage_classes(config.stages[0], cohort)
    assert found is exclusive
    assert list(names) == list(cohort.pathologies)
    assert build_module(config, config.stages[0], cohort).settings.exclusive is exclusive

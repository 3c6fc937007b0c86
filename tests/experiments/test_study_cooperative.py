"""The shipped study of cooperation: every cell is a run that can work and is what it says."""

from pathlib import Path

import pytest

from experiments.build import build_cohorts
from experiments.check import LOSSES, check_config, not_built
from experiments.study import load_study

CELLS = (
    "staged", "joint", "diagnosis", "gaze", "diagnosis_12", "gaze_8",
    "no_pretraining", "supcon", "nt_xent", "vicreg", "byol",
    "encoder_a", "encoder_b", "rounds_1", "rounds_2", "rounds_3", "readers_1", "readers_5",
    "quarter", "quarter_diagnosis", "shuffled", "no_dwell",
)  # fmt: skip


def test_these_cells_with_three_seeds() -> None:
    study, configs = load_study(Path("study/cooperative"))
    assert tuple(configs) == CELLS
    assert study.seeds == (0, 1, 2)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_a_run_that_can_work(cell: str) -> None:
    config = load_study(Path("study/cooperative"))[1][cell]
    losses = {loss for stage in config.stages for loss in stage.losses}
    if not all(loss in LOSSES and LOSSES[loss][1] for loss in losses):
        pytest.skip(f"not built: {sorted(losses)}")
    check_config(config)
    assert not_built(config) == []


def test_arms_have_the_epochs_that_they_say() -> None:
    configs = load_study(Path("study/cooperative"))[1]
    epochs = {name: sum(stage.epochs for stage in c.stages) for name, c in configs.items()}
    assert [epochs[name] for name in ("staged", "joint", "diagnosis", "gaze", "byol")] == [20] * 5
    # What each task alone has is what it has in staged.
    of = {stage.task: stage.epochs for stage in configs["staged"].stages}
    assert epochs["diagnosis_12"] == of["classify"] + of["fuse"] + of["joint"]
    assert epochs["gaze_8"] == of["saliency"] + of["joint"]
    assert [epochs[f"rounds_{n}"] for n in (1, 2, 3)] == [24, 30, 36]
    third = configs["rounds_3"].stages[-1]
    assert third.round is not None
    assert (third.name, third.round.until) == ("fuse-r3", "no_gain")
    assert [init.stage for init in configs["rounds_2"].stages[4].init] == ["fuse"]


def test_little_data_leaves_test_and_validation_as_they_are() -> None:
    configs = load_study(Path("study/cooperative"))[1]
    whole, quarter = (build_cohorts(configs[name]) for name in ("staged", "quarter"))
    for split in ("test", "valid"):
        assert quarter.rows_of(split).tolist() == whole.rows_of(split).tolist()
    few, many = (set(cohort.rows_of("train").tolist()) for cohort in (quarter, whole))
    assert few < many
    assert 0.15 < len(few) / len(many) < 0.35

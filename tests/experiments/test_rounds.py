"""Rounds: what counts as a gain, which round stands, and runs that end before the last round."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.config import RunConfig
from experiments.evaluate import evaluate
from experiments.finished import FinishedStage
from experiments.load import expand_rounds, load_config
from experiments.plan import plan
from experiments.record import read_stage, stage_folder
from experiments.report import write_report
from experiments.rounds import Outcome, Value, gained, outcome_of, result_stage, standing
from experiments.runner import run
from experiments.status import run_status
from eye_gaze_data.errors import ConfigError, StageError
from eye_gaze_data.files import read_json
from tests.experiments.small import small_config, small_stage


def rounds_of(*values: Sequence[float]) -> list[dict[str, Value]]:
    """KLD and AUROC of each round."""
    return [{"gaze": Value(k, "min"), "diagnosis": Value(a, "max")} for k, a in values]


@pytest.mark.parametrize(
    ("before", "after", "tolerance", "expected"),
    [
        ((2.0, 0.7), (1.9, 0.6), 0.0, ["gaze"]),
        ((2.0, 0.7), (2.1, 0.8), 0.0, ["diagnosis"]),
        ((2.0, 0.7), (2.0, 0.7), 0.0, []),
        ((2.0, 0.7), (1.9, 0.8), 0.15, []),
        ((2.0, 0.7), (1.8, 0.8), 0.15, ["gaze"]),
        ((2.0, math.nan), (2.5, 0.5), 0.0, ["diagnosis"]),
        ((2.0, 0.7), (math.nan, 0.7), 0.0, []),
    ],
)
def test_a_gain_is_in_the_direction_of_its_own_monitor_and_beyond_the_tolerance(
    before: Sequence[float], after: Sequence[float], tolerance: float, expected: list[str]
) -> None:
    one, other = rounds_of(before, after)
    assert gained(one, other, tolerance) == expected


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ([], Outcome(0, None, 4)),
        ([(2.0, 0.7)], Outcome(1, None, 4)),
        ([(2.0, 0.7), (1.9, 0.6)], Outcome(2, None, 4)),
        ([(2.0, 0.7), (2.1, 0.6)], Outcome(1, 2, 4)),
        ([(2.0, 0.7), (1.9, 0.6), (1.9, 0.5)], Outcome(2, 3, 4)),
        # What was trained after rounds had ended does not count.
        ([(2.0, 0.7), (2.0, 0.7), (1.0, 0.9)], Outcome(1, 2, 4)),
        ([(4.0, 0.7), (3.0, 0.7), (2.0, 0.7), (1.0, 0.7)], Outcome(4, None, 4)),
    ],
)
def test_rounds_end_after_the_first_without_gain(
    values: list[tuple[float, float]], outcome: Outcome
) -> None:
    found = outcome_of(rounds_of(*values), 4)
    assert found == outcome
    assert found.decided == (outcome.ended is not None or outcome.best == 4)


def test_the_file_says_when_rounds_end() -> None:
    entry = {"rounds": 2, "until": "no_gain", "tolerance": 0.1, "stages": [{"name": "a"}]}
    first, second = expand_rounds([{"rounds": 1, "stages": [{"name": "z"}]}, entry], Path("r"))[1:]
    assert first["round"] == {
        "stage": "a", "group": 1, "number": 1, "until": "no_gain", "tolerance": 0.1,
    }  # fmt: skip
    assert second["round"]["number"] == 2
    with pytest.raises(ConfigError, match="until: no_gain, tolerance: 0.*found keys .*'untill'"):
        expand_rounds([{"rounds": 2, "untill": "no_gain", "stages": [{"name": "a"}]}], Path("r"))
    stage = small_stage("fuse", "cooperative", "fuse")
    with pytest.raises(ConfigError, match=r"'stages.0.round.until': Input should be 'end' or 'no_"):
        small_config(stages=[{"rounds": 2, "until": "never", "stages": [stage]}])


def in_rounds(tolerance: float, rounds: int = 3, **changes: Any) -> RunConfig:  # noqa: ANN401
    short: dict[str, Any] = {"epochs": 1, "data": {"cohorts": "phantom", "image_size": [32, 32]}}
    parts = ["encoder_b.*", "decoder.*", "saliency_head.*"]
    gaze = small_stage(
        "gaze", "cooperative", "saliency", init={"stage": "fuse"}, train=parts, **short
    )
    fuse = small_stage(
        "fuse", "cooperative", "fuse", init={"stage": "gaze"}, train=["fusion.*"], **short
    )
    group = {"rounds": rounds, "until": "no_gain", "tolerance": tolerance, "stages": [gaze, fuse]}
    stages = [
        small_stage("fuse", "cooperative", "fuse", train=["fusion.*"], **short),
        group,
        small_stage("joint", "finetune", "joint", init={"stage": "fuse"}, **short),
    ]
    return small_config(stages=stages, **changes)


def quiet(config: RunConfig, folder: Path, **choice: Any) -> list[str]:  # noqa: ANN401
    lines: list[str] = []
    run(config, folder, say=lines.append, **choice)
    return lines


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rounds end after the second, as no gain is larger than ten."""
    folder = tmp_path_factory.mktemp("rounds") / "run"
    quiet(in_rounds(10.0, evaluate={"grid": 32, "resamples": 100, "cases": 1, "sensitivity": 0,
                                    "stage": "fuse-r3"}), folder)  # fmt: skip
    return folder


def test_rounds_after_one_without_gain_are_skipped_and_say_why(ended: Path) -> None:
    records = {path.name: read_stage(path) or {} for path in sorted(ended.glob("0*"))}
    status = {name: record["status"] for name, record in records.items()}
    assert status == {
        "01-fuse": "complete", "02-gaze-r1": "complete", "03-fuse-r1": "complete",
        "04-gaze-r2": "complete", "05-fuse-r2": "complete", "06-gaze-r3": "skipped",
        "07-fuse-r3": "skipped", "08-joint": "complete",
    }  # fmt: skip
    reason = "no task gained more than 10 in round 2; the weights of round 1 stand in"
    assert records["07-fuse-r3"]["reason"] == reason
    assert records["06-gaze-r3"]["stands_in"] == "gaze-r1"
    assert records["08-joint"]["init"].startswith("from 'fuse-r1': ")
    first = records["03-fuse-r1"]["weights_sha256"]
    assert records["08-joint"]["inputs"]["weights"] == {"fuse-r1": first}
    # Within the rounds each starts from the one before, also from the one without gain.
    assert records["04-gaze-r2"]["init"].startswith("from 'fuse-r1': ")
    assert read_json(ended / "run.json")["finished"] is not None
    assert not (ended / "07-fuse-r3" / "weights.safetensors").exists()


def test_status_plan_and_evaluation_know_which_round_stands(ended: Path) -> None:
    config = load_config(ended / "config.yaml")
    rows = {row["stage"]: row for row in run_status(ended, config)}
    assert (rows["gaze-r3"]["status"], rows["gaze-r3"]["monitor"]) == (
        "skipped",
        "gaze-r1 stands in",
    )
    assert "no task gained" in rows["gaze-r3"]["error"]
    assert {row["stage"]: row["then"] for row in plan(config, ended)}["fuse-r3"] == "skipped"
    names = ["gaze-r1", "gaze-r2", "gaze-r3", "fuse-r3", "joint"]
    stands = [standing(config, ended, name) for name in names]
    assert stands == ["gaze-r1", "gaze-r2", "gaze-r1", "fuse-r1", "joint"]
    assert result_stage(config, ended) == "fuse-r1"
    for asked, found in {None: "fuse-r1", "fuse-r3": "fuse-r1", "fuse-r2": "fuse-r2"}.items():
        assert FinishedStage.load(ended, asked).stage.name == found


def test_an_evaluation_and_its_report_take_the_round_that_stands(ended: Path) -> None:
    metrics = evaluate(ended, device="cpu")
    assert metrics["stage"] == "fuse-r1"
    page = write_report(ended).read_text(encoding="utf-8")
    assert "fuse-r3" in page
    assert "skipped" in page


def test_a_finished_run_of_rounds_is_not_run_again(ended: Path) -> None:
    config = load_config(ended / "config.yaml")
    before = {path: path.read_bytes() for path in ended.glob("0*/weights.safetensors")}
    lines = quiet(config, ended)
    assert [line.split("  ")[1].split(":")[0] for line in lines] == (
        ["finished before, skipped"] * 5 + ["skipped"] * 2 + ["finished before, skipped"]
    )
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.slow
def test_another_tolerance_runs_the_missing_round_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    quiet(in_rounds(10.0, rounds=3), folder)
    kept = (folder / "08-joint" / "weights.safetensors").read_bytes()
    with pytest.raises(StageError, match="stage 'joint' was complete with other inputs; changed: "):
        quiet(in_rounds(0.0), folder)
    third = read_stage(folder / "07-fuse-r3") or {}
    assert third["status"] == "complete"
    assert (folder / "08-joint" / "weights.safetensors").read_bytes() == kept
    lines = quiet(in_rounds(10.0), folder, first="gaze-r3", last="fuse-r3")
    assert all("skipped: no task gained" in line for line in lines)
    assert (read_stage(folder / "07-fuse-r3") or {})["status"] == "skipped"


def test_a_stage_after_rounds_that_are_not_done_cannot_start(tmp_path: Path) -> None:
    config = in_rounds(0.0, rounds=2)
    quiet(config, tmp_path / "run", last="fuse-r1")
    with pytest.raises(StageError, match="starts from stage 'fuse-r2', which was never run"):
        quiet(config, tmp_path / "run", kinds=["finetune"])
    assert read_stage(stage_folder(tmp_path / "run", config, "joint")) is None

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diagnosis.published.config import DualAttNetConfig
from experiments import training
from experiments.config import RunConfig
from experiments.load import load_config
from experiments.record import locked, read_stage
from experiments.runner import run, select_stages
from eye_gaze_data.errors import ConfigError, StageError
from eye_gaze_data.files import read_json
from tests.experiments.small import small_config, small_stage, small_tree

STAGES = ["01-contrast", "02-classify", "03-saliency", "04-fuse", "05-joint"]


def quiet(config: RunConfig, folder: Path, **choice: Any) -> list[str]:  # noqa: ANN401
    lines: list[str] = []
    run(config, folder, say=lines.append, **choice)
    return lines


def weights(folder: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_file(folder / stage / "weights.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], prefix: str = "") -> bool:
    names = [name for name in one if name.startswith(prefix)]
    assert names
    return all(torch.equal(one[name], other[name]) for name in names)


def test_the_run_folder_is_as_designed(finished_run: Path) -> None:
    top = {path.name for path in finished_run.iterdir() if path.name not in {".lock", "evaluate"}}
    assert top == {"config.yaml", "run.json", "splits.csv", "manifest.json", *STAGES}
    for stage in STAGES:
        names = {path.name for path in (finished_run / stage).iterdir()}
        assert {"stage.json", "weights.safetensors", "checkpoints", "metrics.csv"} <= names
        assert "tensorboard" in names
    assert not [path for path in finished_run.rglob("*") if path.name.endswith(".tmp")]
    facts = read_json(finished_run / "run.json")
    assert facts["finished"] is not None
    assert torch.__version__.startswith(facts["versions"]["torch"])


def test_the_saved_config_is_the_run(finished_run: Path) -> None:
    assert load_config(finished_run / "config.yaml") == small_config()


def test_splits_are_written_and_part_patients(finished_run: Path) -> None:
    table = pd.read_csv(finished_run / "splits.csv")
    assert list(table.columns) == ["cohort", "image_id", "patient_id", "split"]
    assert len(table) == 48
    assert (table.groupby("patient_id")["split"].nunique() == 1).all()


def test_each_stage_trains_what_it_says_and_nothing_else(finished_run: Path) -> None:
    contrast, classify, saliency, fuse, joint = (weights(finished_run, name) for name in STAGES)
    assert all(name.startswith("encoder_a.") for name in contrast)
    assert not equal(contrast, classify, "encoder_a.")
    assert equal(classify, saliency, "encoder_a.")
    assert equal(classify, saliency, "encoder_classifier.")
    assert not equal(classify, saliency, "decoder.")
    for part in ("encoder_a.", "encoder_b.", "decoder.", "saliency_head."):
        assert equal(saliency, fuse, part)
    assert not equal(saliency, fuse, "fusion.")
    assert not equal(fuse, joint, "encoder_a.")


def test_the_files_of_an_epoch_leave_out_what_is_frozen(finished_run: Path) -> None:
    folder = finished_run / "03-saliency" / "checkpoints"
    best = load_file(folder / "best.safetensors")
    last = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    moving = ("encoder_b.", "decoder.", "saliency_head.")
    whole = weights(finished_run, "03-saliency")
    assert set(best) == {name for name in whole if name.startswith(moving)}
    assert equal(best, whole)
    assert {name for name in last if name.startswith("network.")} == {f"network.{n}" for n in best}


def test_the_record_of_a_stage_tells_what_happened(finished_run: Path) -> None:
    record = read_stage(finished_run / "03-saliency")
    assert record is not None
    assert (record["status"], record["epochs"]) == ("complete", 2)
    assert record["init"].startswith("from 'classify': ")
    table = pd.read_csv(finished_run / "03-saliency" / "metrics.csv")
    best = int(np.argmin(table["valid/kld"].to_numpy()))
    assert record["best_epoch"] == best
    assert record["monitor"]["value"] == pytest.approx(table["valid/kld"].min(), rel=1e-6)
    total = sum(
        value.numel()
        for name, value in weights(finished_run, "03-saliency").items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert record["n_trained"] + record["n_frozen"] == total


def test_tensorboard_has_scalars_by_task_on_one_axis_and_a_panel(finished_run: Path) -> None:
    steps = {}
    for number, name in enumerate(STAGES):
        events = EventAccumulator(str(finished_run / name / "tensorboard"))
        events.Reload()
        scalars = events.Tags()["scalars"]
        (loss,) = [tag for tag in scalars if tag == "optimisation/valid/loss"]
        # Two epochs a stage.
        assert [event.step for event in events.Scalars(loss)] == [2 * number, 2 * number + 1]
        steps[name] = set(scalars)
    assert {"gaze/train/kld", "gaze/valid/kld", "gaze/valid/cc"} <= steps["03-saliency"]
    assert {"diagnosis/valid/auroc", "gaze/valid/cc"} <= steps["05-joint"]
    assert "contrast/valid/ordered" in steps["01-contrast"]
    assert not any(tag.startswith("other/") for tags in steps.values() for tag in tags)


def test_tensorboard_has_a_panel_of_fixed_cases(finished_run: Path) -> None:
    events = EventAccumulator(str(finished_run / "03-saliency" / "tensorboard"))
    events.Reload()
    (panel,) = events.Tags()["images"]
    images = events.Images(panel)
    assert [image.step for image in images] == [4, 5]
    cases = len(read_json(finished_run / "03-saliency" / "panel.json")["images"])
    assert (images[0].width, images[0].height) == (4 * 128, cases * (128 + 16))
    again = read_json(finished_run / "05-joint" / "panel.json")
    assert again == read_json(finished_run / "03-saliency" / "panel.json")


def test_a_finished_run_is_not_run_again(finished_run: Path) -> None:
    before = (finished_run / "05-joint" / "weights.safetensors").stat().st_mtime_ns
    lines = quiet(small_config(), finished_run)
    assert [line.split()[0] for line in lines] == [name[3:] for name in STAGES]
    assert all("skipped" in line for line in lines)
    assert (finished_run / "05-joint" / "weights.safetensors").stat().st_mtime_ns == before


def test_a_changed_stage_is_refused_and_nothing_is_overwritten(finished_run: Path) -> None:
    tree = small_tree()
    tree["stages"][2]["optimiser"] = {"lr": 5e-4}
    before = weights(finished_run, "03-saliency")
    with pytest.raises(StageError) as caught:
        quiet(small_config(stages=tree["stages"]), finished_run)
    assert "stage 'saliency' was complete with other inputs" in str(caught.value)
    assert "changed: stage.optimiser.lr" in str(caught.value)
    assert "--from saliency" in str(caught.value)
    assert equal(before, weights(finished_run, "03-saliency"))


def test_other_splits_are_refused(finished_run: Path) -> None:
    cohorts = {"phantom": {**small_tree()["cohorts"]["phantom"], "seed": 3}}
    with pytest.raises(StageError, match="began with other splits"):
        quiet(small_config(cohorts=cohorts), finished_run)


def test_a_stage_can_be_run_afresh(finished_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(finished_run, folder)
    tree = small_tree()
    tree["stages"][4]["epochs"] = 1
    lines = quiet(small_config(stages=tree["stages"]), folder, first="joint")
    assert lines[0].startswith("joint  epoch 1/1")
    record = read_stage(folder / "05-joint")
    assert record is not None
    assert record["epochs"] == 1


def test_a_stage_command_needs_what_comes_before(tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        quiet(small_config(), tmp_path / "run", kinds=["cooperative"])
    assert "starts from stage 'classify', which was never run" in str(caught.value)
    assert "gazedx run CONFIG --until classify" in str(caught.value)


def test_stages_are_selected_by_kind_and_name() -> None:
    config = small_config()
    names = [stage.name for stage in select_stages(config, ["cooperative"], None, None)]
    assert names == ["saliency", "fuse"]
    names = [stage.name for stage in select_stages(config, None, "classify", "saliency")]
    assert names == ["classify", "saliency"]
    with pytest.raises(ConfigError, match="no stage 'jint'"):
        select_stages(config, None, "jint", None)
    message = (
        r"no stage to run of kind cooperative, from 'joint' until 'joint'; the run has, in order: "
        r"contrast \(pretrain\), classify \(pretrain\), saliency \(cooperative\)"
    )
    with pytest.raises(ConfigError, match=message):
        select_stages(config, ["cooperative"], "joint", None)
    with pytest.raises(ConfigError, match="no stage to run from 'joint' until 'fuse'; the run has"):
        select_stages(config, None, "joint", "fuse")


def test_a_record_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "stage.json").write_text("{")
    with pytest.raises(StageError, match=r"stage.json: expected JSON, cannot read it \(Expecting"):
        read_stage(tmp_path)


def test_a_frozen_part_that_moved_fails_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = itertools.count()
    monkeypatch.setattr(training, "fingerprint", lambda *_, **__: str(next(prints)))
    config = small_config(stages=[small_stage("gaze", "cooperative", "saliency", epochs=1)])
    with pytest.raises(StageError, match="stage 'gaze': a frozen parameter or statistic changed"):
        quiet(config, tmp_path)
    record = read_stage(tmp_path / "01-gaze")
    assert record is not None
    assert record["status"] == "failed"
    assert not (tmp_path / "01-gaze" / "weights.safetensors").exists()


def test_a_locked_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with locked(folder), pytest.raises(StageError, match="another process is writing"):
        quiet(small_config(), folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ["encodr_b.*"]}, "train glob 'encodr_b.*' matches no parameter"),
        (
            {"init": [{"stage": "first", "prefixes": {"encoder_z.": "encoder_a."}}]},
            "the prefix 'encoder_z.' matches no tensor",
        ),
        (
            {"init": [{"stage": "first", "prefixes": {"encoder_a.": "encoder_b."}}]},
            "has no place in the network",
        ),
        (
            {"data": {"cohorts": "phantom", "image_size": [40, 32]}},
            "image_size must be multiples of 32, found 40x32; the next is 64x32, or set pad: true",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    stages = [
        small_stage("first", "cooperative", "saliency"),
        small_stage("second", "cooperative", "saliency", **changes),
    ]
    with pytest.raises((ConfigError, StageError)) as caught:
        quiet(small_config(stages=stages), tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run" / "01-first" / "weights.safetensors").exists()


def test_a_system_that_is_not_built_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DualAttNetConfig, "built", False)
    with pytest.raises(
        ConfigError, match="cannot be trained yet:\n.*'dualattnet' is not built yet"
    ):
        quiet(load_config(Path("dualattnet")), tmp_path / "run")


def test_a_plateau_goes_back_to_the_best_weights_and_stops(tmp_path: Path) -> None:
    schedule = {"name": "plateau", "patience": 1, "reload_best": True, "stop_below": 1e-3}
    stage = small_stage(
        "saliency", "cooperative", "saliency", schedule=schedule,
        optimiser={"lr": 5e-2}, epochs=40, monitor={"metric": "valid/cc", "mode": "min"},
    )  # fmt: skip
    folder = tmp_path / "run"
    quiet(small_config(stages=[stage]), folder)
    record = read_stage(folder / "01-saliency")
    table = pd.read_csv(folder / "01-saliency" / "metrics.csv")
    assert record is not None
    # CC is to be small, and training raises it: the rate must fall below 1e-3 and end the stage.
    assert record["epochs"] < 40
    assert sorted(table["lr"].unique(), reverse=True)[:2] == pytest.approx([5e-2, 5e-3])


def test_a_stage_stops_after_epochs_without_gain(tmp_path: Path) -> None:
    stage = small_stage(
        "saliency", "cooperative", "saliency", epochs=30, stop_after=2,
        monitor={"metric": "valid/cc", "mode": "min"}, optimiser={"lr": 1e-2},
    )  # fmt: skip
    quiet(small_config(stages=[stage]), tmp_path / "run")
    record = read_stage(tmp_path / "run" / "01-saliency")
    assert record is not None
    assert record["epochs"] == record["best_epoch"] + 3


def test_gaze_only_and_label_only_films_share_a_stage(tmp_path: Path) -> None:
    phantom = small_tree()["cohorts"]["phantom"]
    cohorts = {
        "looked_at": {**phantom, "with_labels": False, "seed": 1},
        "labelled": {**phantom, "gaze": "none", "seed": 2},
    }
    data = {"cohorts": {"looked_at": 1, "labelled": 3}, "image_size": [32, 32]}
    stage = small_stage("joint", "cooperative", "joint", data=data)
    folder = tmp_path / "run"
    quiet(small_config(stages=[stage], cohorts=cohorts), folder)
    table = pd.read_csv(folder / "01-joint" / "metrics.csv")
    assert table[["train/bce", "train/kld", "valid/bce", "valid/kld"]].notna().all().all()
    losses = table["valid/bce"] + table["valid/kld"]
    assert table["valid/loss"].to_numpy() == pytest.approx(losses.to_numpy(), rel=1e-4)

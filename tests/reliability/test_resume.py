"""A run that was interrupted and started again ends in the same bits as one that was not."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from experiments import build
from experiments.callbacks import StageCheckpoint
from experiments.config import RunConfig
from experiments.load import dump_config
from experiments.record import read_stage
from experiments.runner import run
from eye_gaze_data.errors import StageError
from eye_gaze_data.files import read_json, write_json
from saliency.module import TaskModule
from tests.experiments.small import small_config, small_stage

TASKS = {
    "contrast": ("pretrain", ["encoder_a.*"]),
    "classify": ("pretrain", ["encoder_a.*", "encoder_classifier.*"]),
    "saliency": ("cooperative", ["encoder_b.*", "decoder.*", "saliency_head.*"]),
    "fuse": ("cooperative", ["fusion.*"]),
    "joint": ("finetune", ["*"]),
}


def config_of(task: str, **changes: Any) -> RunConfig:  # noqa: ANN401
    kind, train = TASKS[task]
    stage = small_stage(task, kind, task, train=train, epochs=3)
    stage |= {"optimiser": {"name": "adamw", "lr": 3e-3}, "schedule": {"name": "cosine"}}
    trainer = {"device": "cpu", **changes.pop("trainer", {})}
    return small_config(stages=[stage | changes], trainer=trainer)


def trained(config: RunConfig, folder: Path) -> dict[str, torch.Tensor]:
    run(config, folder, say=lambda _: None)
    return load_file(next(folder.glob("01-*")) / "weights.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def logged(folder: Path) -> str:
    return (next(folder.glob("01-*")) / "metrics.csv").read_text()


def interrupt(
    monkeypatch: pytest.MonkeyPatch, where: type, name: str, call: int, error: BaseException
) -> None:
    """Let the ``call``-th call of a method raise, before it does anything."""
    original: Callable[..., Any] = getattr(where, name)
    calls = 0

    def wrapped(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == call:
            raise error
        return original(*arguments, **options)

    monkeypatch.setattr(where, name, wrapped)


def test_a_stage_does_not_go_on_with_another_frozen_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("saliency")
    with monkeypatch.context() as patch:
        interrupt(patch, TaskModule, "training_step", 5, SystemExit(143))
        with pytest.raises(SystemExit):
            trained(config, tmp_path)
    checkpoint = tmp_path / "01-saliency" / "checkpoints" / "last.ckpt"
    before = checkpoint.read_bytes()
    # As where a release of torch draws other weights from the same seed.
    built = build.build_network
    monkeypatch.setattr(build, "build_network", lambda model, n, seed: built(model, n, seed + 17))
    with pytest.raises(StageError, match=r"last.ckpt: what the stage keeps frozen has other"):
        trained(config, tmp_path)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("task", TASKS)
def test_resume_equals_uninterrupted_for_every_task(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(config_of(task), tmp_path / "whole")
    with monkeypatch.context() as patch:
        # The fifth batch is in the middle of the second epoch.
        interrupt(patch, TaskModule, "training_step", 5, SystemExit(143))
        with pytest.raises(SystemExit) as stopped:
            trained(config_of(task), tmp_path / "cut")
    assert stopped.value.code == 143
    record = read_stage(tmp_path / "cut" / f"01-{task}")
    assert record is not None
    assert record["status"] == "interrupted"
    assert same(trained(config_of(task), tmp_path / "cut"), whole)
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")


@pytest.mark.parametrize(
    ("where", "name", "call"),
    [
        (TaskModule, "training_step", 1),
        (TaskModule, "validation_step", 3),
        (StageCheckpoint, "_keep_best", 1),
        (StageCheckpoint, "_keep_best", 2),
        (StageCheckpoint, "on_train_epoch_end", 2),
        (StageCheckpoint, "on_train_epoch_end", 3),
    ],
)
def test_a_stage_may_break_anywhere(
    where: type, name: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of("saliency", schedule={"name": "plateau", "patience": 1, "reload_best": True})
    whole = trained(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, where, name, call, OSError("No space left on device"))
        with pytest.raises(OSError, match="No space left"):
            trained(config, tmp_path / "cut")
    record = read_stage(tmp_path / "cut" / "01-saliency")
    assert record is not None
    assert (record["status"], record["error"]) == ("failed", "OSError: No space left on device")
    assert same(trained(config, tmp_path / "cut"), whole)


def test_a_stage_that_had_stopped_early_stays_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = {"metric": "valid/cc", "mode": "min"}
    config = config_of("saliency", epochs=20, stop_after=1, monitor=monitor)
    whole = trained(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("experiments.training._export", lambda *_: (_ for _ in ()).throw(KeyError()))
        with pytest.raises(KeyError):
            trained(config, tmp_path / "cut")
    assert same(trained(config, tmp_path / "cut"), whole)
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")


@pytest.mark.parametrize("task", ["joint", "contrast"])
def test_workers_resume_where_the_loader_was(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(config_of(task, epochs=3), tmp_path / "whole")
    many = config_of(task, epochs=3)
    many = many.model_copy(update={"trainer": many.trainer.model_copy(update={"workers": 2})})
    with monkeypatch.context() as patch:
        # In the third epoch: the checkpoint is that of the second.
        interrupt(patch, TaskModule, "training_step", 7, SystemExit(143))
        with pytest.raises(SystemExit):
            trained(many, tmp_path / "cut")
    assert same(trained(many, tmp_path / "cut"), whole)
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")


def test_the_same_run_twice_is_the_same(tmp_path: Path) -> None:
    config = config_of("joint")
    one, other = (trained(config, tmp_path / name) for name in ("one", "other"))
    assert same(one, other)
    assert not same(
        one, trained(small_config(**{**config_tree(config), "seed": 1}), tmp_path / "3")
    )


def config_tree(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude={"name", "cohorts", "models", "evaluate"})


@pytest.mark.filterwarnings("ignore:.*worker processes in total")
@pytest.mark.parametrize("workers", [1, 3])
def test_results_do_not_depend_on_workers(workers: int, tmp_path: Path) -> None:
    alone = trained(config_of("joint", epochs=2), tmp_path / "0")
    helped = trained(config_of("joint", epochs=2, trainer={"workers": workers}), tmp_path / "many")
    assert same(alone, helped)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    config = config_of("saliency")
    stage = tmp_path / "run" / "01-saliency"
    (stage / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": Evil()}, stage / "checkpoints" / "last.ckpt")
    trained(config_of("saliency"), tmp_path / "other")
    record = read_json(tmp_path / "other" / "01-saliency" / "stage.json")
    write_json(stage / "stage.json", record | {"status": "interrupted"})
    with pytest.raises(Exception, match="(?i)weights.only"):
        trained(config, tmp_path / "run")
    assert not (tmp_path / "executed").exists()


def test_a_loss_that_is_not_finite_ends_the_stage_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    config = config_of("saliency", optimiser={"name": "sgd", "lr": 1e30})
    with pytest.raises(Exception, match="stage 'saliency', epoch 0, batch 1: the loss is not") as e:
        trained(config, tmp_path / "run")
    assert "learning rate 9.7e+29" in str(e.value)
    assert "images p0000" in str(e.value)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_real_signals_at_random_moments(sign: signal.Signals, tmp_path: Path) -> None:
    config = small_config(trainer={"device": "cpu"})
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(config))
    command = [sys.executable, "-m", "experiments", "run", str(path), "--out"]
    # The number of threads decides the order of sums: both runs must be started alike.
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    rng = random.Random(0)
    out = str(tmp_path / "cut")
    for _ in range(5):
        with subprocess.Popen([*command, out], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            epochs, wanted = 0, rng.randrange(1, 4)
            line = ""
            while epochs < wanted and (line := process.stdout.readline()):
                epochs += "skipped" not in line
                if line.startswith("gaze"):
                    break
            if line.startswith("gaze"):
                # The run has printed its result: there is nothing left to interrupt.
                assert (process.stdout.read(), process.wait())[1] == 0
                break
            time.sleep(rng.random())
            process.send_signal(sign)
            process.stdout.read()
            code = process.wait()
        assert code == (143 if sign is signal.SIGTERM else -signal.SIGKILL)
    done = subprocess.run([*command, out], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for stage in sorted((tmp_path / "whole").glob("0*")):
        cut = load_file(tmp_path / "cut" / stage.name / "weights.safetensors")
        assert same(cut, load_file(stage / "weights.safetensors"))
    left = [p for p in (tmp_path / "cut").rglob(".*") if p.name not in {".lock"}]
    assert sign is signal.SIGKILL or not left

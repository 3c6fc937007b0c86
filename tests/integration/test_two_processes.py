"""Two gloo processes on one run: one writes, both train, also where one has no gaze."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from experiments.load import dump_config
from experiments.record import read_stage
from eye_gaze_data.files import read_json
from tests.experiments.small import small_config, small_stage, small_tree


def by_torchrun(words: list[str]) -> str:
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    done = subprocess.run(
        [sys.executable, *launch, *words], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-9000:]
    return done.stdout


def by_srun(words: list[str]) -> str:
    """As srun starts two tasks on one node: it sets no variable that torch knows."""
    job = {
        "SLURM_JOB_ID": "14518", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2",
        "SLURM_NNODES": "1", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODEID": "0",
        "SLURM_NODELIST": "127.0.0.1",
    }  # fmt: skip
    tasks = [
        subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **job, "SLURM_PROCID": rank, "SLURM_LOCALID": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    found = [task.communicate(timeout=500) for task in tasks]
    for task, (_, errors) in zip(tasks, found, strict=True):
        assert task.returncode == 0, errors[-9000:]
    return found[0][0]


LAUNCH = {"torchrun": by_torchrun, "srun": by_srun}


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.parametrize("launcher", LAUNCH)
def test_two_processes_finish_a_run(launcher: str, tmp_path: Path) -> None:
    phantom = small_tree()["cohorts"]["phantom"]
    # Few films with gaze among many without: many a batch has none on one rank.
    cohorts = {
        "looked_at": {**phantom, "with_labels": False, "n_patients": 12, "seed": 1},
        "labelled": {**phantom, "gaze": "none", "seed": 2},
    }
    data = {"cohorts": ["looked_at", "labelled"], "image_size": [32, 32]}
    saliency = ["encoder_b.*", "decoder.*", "saliency_head.*"]
    stages = [
        small_stage("classify", "pretrain", "classify", data=data),
        small_stage(
            "saliency", "cooperative", "saliency", data=data, init=[{"stage": "classify"}],
            train=saliency, batch_size=4,
        ),
        small_stage(
            "fuse", "cooperative", "fuse", data=data, init=[{"stage": "saliency"}],
            train=["fusion.*"],
        ),
        small_stage(
            "joint", "cooperative", "joint", data=data, init=[{"stage": "fuse"}], batch_size=4
        ),
    ]  # fmt: skip
    trainer = {"device": "cpu", "devices": 2}
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(small_config(stages=stages, cohorts=cohorts, trainer=trainer)))
    out = tmp_path / "run"
    words = ["-m", "experiments", "run", str(path), "--out", str(out)]
    for _ in range(2):
        said = LAUNCH[launcher](words)
    assert "finished before, skipped" in said
    cuts = []
    for name in ("01-classify", "02-saliency", "03-fuse", "04-joint"):
        record = read_stage(out / name)
        assert record is not None
        assert (record["status"], record["epochs"]) == ("complete", 2)
        cuts.append(record["computed_once"])
    assert cuts == [None, "encoder_a", "pooled", None]
    assert not list(out.rglob("*.values"))
    table = pd.read_csv(out / "04-joint" / "metrics.csv")
    assert table[["valid/bce", "valid/kld", "valid/auroc", "valid/cc"]].notna().all().all()
    metrics = read_json(out / "evaluate" / "metrics.json")
    assert metrics["diagnosis"]["labelled"]["macro_auroc"]["value"] is not None


def test_the_wrong_number_of_processes_is_refused(tmp_path: Path) -> None:
    from experiments.runner import run
    from eye_gaze_data.errors import ConfigError

    config = small_config(trainer={"device": "cpu", "devices": 2})
    with pytest.raises(ConfigError, match=r"1 process\(es\) were started; launch with: torchrun"):
        run(config, tmp_path / "run")


def test_srun_is_known_by_its_variables_and_does_not_requeue_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from experiments.config import TrainerConfig
    from experiments.ranks import cluster
    from eye_gaze_data.errors import ConfigError

    many = TrainerConfig(devices=2)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert cluster(many) == []
    for name, value in (("NTASKS", 2), ("PROCID", 1), ("LOCALID", 1), ("NODEID", 0)):
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(ConfigError, match="SLURM: .*--ntasks-per-node=2"):
        cluster(many)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    (environment,) = cluster(many)
    assert (environment.world_size(), environment.global_rank()) == (2, 1)
    assert not environment.auto_requeue
    assert cluster(TrainerConfig()) == []
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "torchrun within a job")
    assert cluster(many) == []

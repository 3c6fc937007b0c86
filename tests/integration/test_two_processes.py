"""Two gloo processes on one run: one writes, both train, also where one has no gaze."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from experiments.load import dump_config
from experiments.record import read_stage
from eye_gaze_data.files import read_json
from tests.experiments.small import small_config, small_stage, small_tree


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_finish_a_run(tmp_path: Path) -> None:
    phantom = small_tree()["cohorts"]["phantom"]
    # Few films with gaze among many without: many a batch has none on one rank.
    cohorts = {
        "looked_at": {**phantom, "with_labels": False, "n_patients": 12, "seed": 1},
        "labelled": {**phantom, "gaze": "none", "seed": 2},
    }
    data = {"cohorts": ["looked_at", "labelled"], "image_size": [32, 32]}
    stages = [
        small_stage("classify", "pretrain", "classify", data=data),
        small_stage(
            "joint", "cooperative", "joint", data=data, init=[{"stage": "classify"}], batch_size=4
        ),
    ]
    trainer = {"device": "cpu", "devices": 2}
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(small_config(stages=stages, cohorts=cohorts, trainer=trainer)))
    out = tmp_path / "run"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
        "29517", "-m", "experiments", "run", str(path), "--out", str(out),
    ]  # fmt: skip
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-9000:]
    assert "finished before, skipped" in done.stdout
    record = read_stage(out / "02-joint")
    assert record is not None
    assert (record["status"], record["epochs"]) == ("complete", 2)
    table = pd.read_csv(out / "02-joint" / "metrics.csv")
    assert table[["valid/bce", "valid/kld", "valid/auroc", "valid/cc"]].notna().all().all()
    metrics = read_json(out / "evaluate" / "metrics.json")
    assert metrics["diagnosis"]["labelled"]["macro_auroc"]["value"] is not None


def test_the_wrong_number_of_processes_is_refused(tmp_path: Path) -> None:
    from experiments.runner import run
    from eye_gaze_data.errors import ConfigError

    config = small_config(trainer={"device": "cpu", "devices": 2})
    with pytest.raises(ConfigError, match=r"1 process\(es\) were started; launch with: torchrun"):
        run(config, tmp_path / "run")

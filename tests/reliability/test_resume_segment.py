"""A segment stage that was interrupted ends in the same bits: teacher, ramp and mix included."""

from pathlib import Path

import pytest

from saliency.module import TaskModule
from tests.experiments.anatomy import anatomy_config, segment_stage

from .test_resume import interrupt, logged, same, trained


def test_resume_equals_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = {"ramp": 1.0, "annotated_share": 0.5}
    stage = segment_stage(epochs=3, schedule={"name": "cosine"}, teacher=teacher)
    config = anatomy_config(stage, trainer={"device": "cpu"})
    whole = trained(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, TaskModule, "training_step", 5, SystemExit(143))
        with pytest.raises(SystemExit):
            trained(config, tmp_path / "cut")
    assert same(trained(config, tmp_path / "cut"), whole)
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")

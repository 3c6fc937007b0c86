"""Segmenters and detectors that were interrupted end in the same bits.

Of a segmenter the teacher, its ramp and the mix of films are included.
"""

from pathlib import Path

import pytest

from experiments.config import RunConfig
from saliency.module import TaskModule
from tests.experiments.anatomy import anatomy_config, segment_stage
from tests.experiments.detector import shrunk

from .test_resume import interrupt, logged, same, trained


def segmenter() -> RunConfig:
    teacher = {"ramp": 1.0, "annotated_share": 0.5}
    stage = segment_stage(epochs=3, schedule={"name": "cosine"}, teacher=teacher)
    return anatomy_config(stage, trainer={"device": "cpu"})


def detector() -> RunConfig:
    config = shrunk()
    (stage,) = config.stages
    return config.model_copy(update={"stages": (stage.model_copy(update={"epochs": 3}),)})


@pytest.mark.parametrize("config", [segmenter(), detector()], ids=["segment", "detect"])
def test_resume_equals_uninterrupted(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, TaskModule, "training_step", 5, SystemExit(143))
        with pytest.raises(SystemExit):
            trained(config, tmp_path / "cut")
    assert same(trained(config, tmp_path / "cut"), whole)
    assert logged(tmp_path / "cut") == logged(tmp_path / "whole")

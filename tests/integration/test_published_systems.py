"""The published systems' configs, small: each trains, evaluates and reports; the study is sound."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from experiments.build import build_cohorts
from experiments.check import check_against_cohort, check_config, not_built
from experiments.config import RunConfig
from experiments.evaluate import evaluate
from experiments.load import CONFIGS, parse_config
from experiments.plan import check_networks
from experiments.predictor import Predictor
from experiments.record import read_stage, stage_folder
from experiments.report import write_report
from experiments.runner import run
from experiments.study import load_study

FRACTIONS = {"train": 0.5, "valid": 0.25, "test": 0.25}


def shrunk(name: str) -> RunConfig:
    """A shipped config at small size: its stage, losses and options unchanged."""
    tree: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    films = {"n_patients": 48, "height": 32, "width": 32, "fractions": FRACTIONS}
    tree["cohorts"]["films"] |= films
    tree["models"]["classifier"]["backbone_options"] = {"growth_rate": 8, "block_config": [2, 2]}
    if name == "msanet":
        tree["models"]["classifier"]["width"] = 8
    for stage in tree["stages"]:
        stage |= {"batch_size": 8, "epochs": 1}
        stage["data"]["image_size"] = [32, 32]
    if name == "anatomy_xnet":
        small = {"backbone_options": {"growth_rate": 4, "block_config": [1, 1]}, "widths": [8]}
        tree["models"]["segmenter"] |= small
        tree["stages"][0]["anatomy"]["annotated"] = 8
    tree["evaluate"] |= {"grid": 32, "resamples": 200, "cases": 2}
    return parse_config(tree, Path(f"{name}.yaml"))


@pytest.mark.parametrize("name", ["anatomy_xnet", "msanet", "msaimnet"])
def test_a_published_system_trains_evaluates_and_reports(name: str, tmp_path: Path) -> None:
    config = shrunk(name)
    run(config, tmp_path)
    record = read_stage(stage_folder(tmp_path, config, "joint"))
    assert record is not None
    assert record["status"] == "complete"
    metrics = evaluate(tmp_path)
    scores = metrics["saliency"]["films"]["rows"]
    assert {"model", "class_activation", "centre_bias", "uniform"} <= set(scores)
    assert -1 <= scores["model"]["cc"]["value"] <= 1
    assert 0 <= metrics["diagnosis"]["films"]["macro_auroc"]["value"] <= 1
    assert "Class activation" in write_report(tmp_path).read_text()
    # A film from elsewhere: for Anatomy-XNet the segmenter of its first stage runs on it.
    predictor = Predictor.load(tmp_path)
    said = predictor.predict(np.random.default_rng(0).random((40, 30), np.float32)).probabilities
    assert said is not None
    assert ((said > 0) & (said < 1)).all()
    assert (predictor.anatomy is not None) == (name == "anatomy_xnet")


def test_every_cell_of_the_study_can_be_built_on_its_cohort() -> None:
    study, configs = load_study(Path("study/attention"))
    cohort = build_cohorts(configs["none"])
    assert {"none", "anatomy_aware", "anatomy_xnet", "msanet", "msaimnet"} <= set(study.cells)
    for config in configs.values():
        check_config(config)
        check_against_cohort(config, cohort)
        check_networks(config, cohort)
        assert not_built(config) == []
        assert [stage.epochs for stage in config.stages] == [12]


def test_the_study_on_open_films_is_sound() -> None:
    """Its films are not everywhere: what needs none of them is checked."""
    study, configs = load_study(Path("study/real_attention"))
    assert list(study.cells) == ["anatomy_xnet", "no_masks", "msaimnet"]
    first, without, other = configs.values()
    assert first.cohorts == without.cohorts == other.cohorts
    kinds = [config.models["classifier"].kind for config in configs.values()]
    assert kinds == ["anatomy_xnet", "anatomy_xnet", "msaimnet"]
    for config in configs.values():
        check_config(config)
        assert not_built(config) == []
    sources = [config.stage("classify").anatomy for config in configs.values()]
    assert [source and source.source for source in sources] == ["stage", "ones", None]
    assert set(other.stage("classify").losses) == {"asymmetric_shift_focal"}

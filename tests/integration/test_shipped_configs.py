"""The shipped schedules of the paper and its baselines, small: each trains, evaluates, reports."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from experiments.build import build_cohorts
from experiments.config import RunConfig
from experiments.evaluate import evaluate
from experiments.load import CONFIGS, parse_config
from experiments.record import read_stage, stage_folder
from experiments.report import write_report
from experiments.runner import run
from eye_gaze_data.layouts.egd_cxr import write_egd_cxr
from eye_gaze_data.phantom import PhantomConfig
from eye_gaze_data.readers.gaze_config import EgdCxrConfig, FilmFolder
from eye_gaze_data.splits import legacy_split

SMALL_MODELS: dict[str, dict[str, Any]] = {
    "dual_encoder": {
        "backbone": "densenet121",
        "backbone_options": {"growth_rate": 4, "block_config": [1, 1, 1, 1]},
        "widths": [4, 4, 8, 8, 8],
    },
    "mt_unet": {"widths": [4, 4, 8, 8]},
    "smp_unet": {"encoder": "tu-resnet18"},
}


def shrunk(name: str) -> RunConfig:
    """A shipped config at small size: its stages, losses, schedules and options unchanged."""
    tree = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    defaults = tree.get("defaults", {})
    strided = defaults.get("data", {}).get("fit") == "strided"
    side = 64 if strided else 32
    tree["cohorts"]["egd"] |= {"n_patients": 36, "height": side, "width": side}
    fractions = {"train": 0.5, "valid": 0.25, "test": 0.25}
    tree["cohorts"]["egd"] |= {"fractions": fractions}
    for model in tree["models"].values():
        model |= SMALL_MODELS[model["kind"]]
    for stage in [defaults, *tree["stages"]]:
        stage |= {"batch_size": 8}
        if "data" in stage:
            stage["data"] |= {"image_size": [32, 32]} | ({"stride": 2} if strided else {})
        if "epochs" in stage:
            stage["epochs"] = 1
    tree["evaluate"] |= {"grid": 32, "resamples": 200, "cases": 2, "sensitivity": 2}
    return parse_config(tree, Path(f"{name}.yaml"))


@pytest.mark.parametrize("name", ["egd_paper", "egd_paper_legacy"])
def test_the_paper_s_schedule_runs_on_the_files_of_egd_cxr(name: str, tmp_path: Path) -> None:
    """From the layout as published to the scores, by patient and by the released code's split."""
    config = shrunk(name)
    phantom = config.cohorts["egd"]
    assert isinstance(phantom, PhantomConfig)
    # Positions are whole pixels: on smaller films they would seem to be of another size.
    phantom = phantom.model_copy(update={"height": 64, "width": 64})
    write_egd_cxr(tmp_path / "egd", phantom, films=tmp_path / "mimic", layout="jpg")
    cohort = EgdCxrConfig(
        root=tmp_path / "egd", images=FilmFolder(root=tmp_path / "mimic", layout="jpg")
    )
    config = config.model_copy(update={"cohorts": {"egd": cohort}})
    run(config, tmp_path / "run")
    metrics = evaluate(tmp_path / "run")
    diagnosis = metrics["diagnosis"]["egd"]
    assert list(diagnosis["findings"]) == ["Normal", "CHF", "pneumonia"]
    assert metrics["saliency"]["egd"]["n_images"] == diagnosis["n_images"]
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")["split"].tolist()
    by_counter = legacy_split(build_cohorts(config).labels.argmax(1).tolist())
    assert (splits == by_counter) == (name == "egd_paper_legacy")


@pytest.mark.parametrize("name", ["egd_paper", "egd_paper_legacy", "joint", "mt_unet", "egd_unet"])
def test_a_shipped_schedule_trains_evaluates_and_reports(name: str, tmp_path: Path) -> None:
    config = shrunk(name)
    run(config, tmp_path)
    records = [read_stage(stage_folder(tmp_path, config, stage.name)) for stage in config.stages]
    assert [record and record["status"] for record in records] == ["complete"] * len(records)
    metrics = evaluate(tmp_path)
    scores = metrics["saliency"]["egd"]["rows"]
    floors = {"anatomical_prior", "centre_bias", "uniform"}
    assert {"model", "class_activation"} | floors <= set(scores)
    assert -1 <= scores["model"]["cc"]["value"] <= 1
    assert 0 <= metrics["diagnosis"]["egd"]["macro_auroc"]["value"] <= 1
    page = write_report(tmp_path).read_text()
    assert "Class activation" in page


def test_the_cooperative_schedule_trains_evaluates_and_reports(tmp_path: Path) -> None:
    tree = yaml.safe_load((CONFIGS / "cooperative.yaml").read_text())
    fractions = {"train": 0.5, "valid": 0.25, "test": 0.25}
    for cohort in tree["cohorts"].values():
        cohort |= {"n_patients": 20, "height": 64, "width": 64, "fractions": fractions}
    tree["models"]["network"] |= SMALL_MODELS["dual_encoder"]
    tree["defaults"]["data"]["image_size"] = [32, 32]
    tree["defaults"]["batch_size"] = 8
    for stage in [*tree["stages"][:2], *tree["stages"][2]["stages"]]:
        stage["epochs"] = 2
    # No gain is as large as that: the third round is never needed.
    tree["stages"][2]["tolerance"] = 100.0
    tree["stages"][3]["epochs"] = 3
    tree["evaluate"] |= {"grid": 32, "resamples": 200, "cases": 2, "sensitivity": 2}
    config = parse_config(tree, Path("cooperative.yaml"))
    run(config, tmp_path, say=lambda _: None)
    records = {
        stage.name: read_stage(stage_folder(tmp_path, config, stage.name)) or {}
        for stage in config.stages
    }
    status = {name: record["status"] for name, record in records.items()}
    skipped = {"gaze-r3", "diagnosis-r3"}
    assert status == {name: "skipped" if name in skipped else "complete" for name in status}
    assert records["together"]["init"].startswith("from 'diagnosis-r1': ")
    assert set(records["together"]["tasks"]) == {"diagnosis", "gaze"}
    metrics = evaluate(tmp_path)
    assert metrics["stage"] == "together"
    assert -1 <= metrics["saliency"]["known"]["rows"]["model"]["cc"]["value"] <= 1
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert all(name in page for name in skipped)

"""What the doctor says of a machine that is fit, and of one that is not."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import doctor, estimate, prepare_data
from experiments.config import RunConfig
from experiments.doctor import data_paths, findings
from experiments.load import parse_config
from tests.experiments.small import small_tree


def by_check(config: RunConfig | None = None) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in findings(config)}


def with_folder(root: Path) -> RunConfig:
    cohort = {"kind": "nih_chestxray14", "root": str(root)}
    return parse_config(small_tree(cohorts={"nih": cohort}), Path("small.yaml"))


def test_a_fit_machine_needs_no_advice_of_its_packages() -> None:
    rows = by_check()
    for check in ("torchvision fits torch", "package saliency", "package experiments", "lightning"):
        assert rows[check]["advice"] == "", check
    assert torch.__version__ in rows["torchvision fits torch"]["result"]
    assert rows["extra dicom"]["result"] == "installed"
    assert rows["extra export"]["result"] == "installed"
    assert rows["package diagnosis"]["result"] == "ours"


def test_what_is_wrong_comes_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"lightning": "2.0", "pytorch-lightning": "2.6.6"}
    monkeypatch.setattr(doctor, "version", lambda name: known[name])
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"saliency": ["saliency"]})
    monkeypatch.setattr(prepare_data, "usable_cores", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(estimate, "free_space", lambda _: 2**30)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    rows = by_check()
    assert rows["lightning"]["advice"] == "pip install lightning==2.6.6, or uninstall it"
    assert rows["package saliency"]["advice"] == "pip uninstall saliency, then reinstall gazedx"
    assert rows["threads"]["advice"].startswith("set OMP_NUM_THREADS=1")
    assert rows["disk"]["advice"] == "free some space, or use --out"
    assert "pip install 'gazedx[export]'" in rows["extra export"]["result"]


def test_a_torchvision_of_another_torch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        """No operator of torchvision was loaded."""

    monkeypatch.setattr(torch.ops, "torchvision", Nothing())
    advice = doctor._torchvision()["advice"]
    assert (
        advice
        == f"install the torchvision that was built for torch {torch.__version__.split('+')[0]}"
    )


def test_data_folders_of_a_config_are_looked_for(tmp_path: Path) -> None:
    config = with_folder(tmp_path)
    assert ("nih.root", tmp_path) in list(data_paths(config.cohorts))
    assert by_check(config)["data nih.root"] == {
        "check": "data nih.root", "result": str(tmp_path), "advice": "",
    }  # fmt: skip
    gone = by_check(with_folder(tmp_path / "gone"))["data nih.root"]
    assert gone["result"] == f"{tmp_path / 'gone'} is not there"
    assert gone["advice"] == "set cohorts.nih.root"

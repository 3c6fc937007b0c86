"""The commands on what others computed, through the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from eye_gaze_data.files import read_json, write_json
from tests.experiments.test_cli import gazedx
from tests.experiments.test_score_maps import write_study

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


def test_score_prints_the_table_and_writes_the_report(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path
) -> None:
    maps, fixations = write_study(tmp_path)
    words = ("score", "--maps", str(maps), "--fixations", str(fixations), "--sigma", "0.08")
    code, out, _ = gazedx(
        capsys, monkeypatch, *words, "--out", str(tmp_path / "one"), "--resamples", "100"
    )
    assert code == 0
    assert "gaze, maps (6 images, test)" in out
    assert "leave one reader out" in out
    assert (tmp_path / "one" / "evaluate" / "report.html").is_file()
    for path in maps.iterdir():
        np.save(path, np.load(path) ** 4)
    options = ("--out", str(tmp_path / "two"), "--resamples", "100", "--quiet")
    assert gazedx(capsys, monkeypatch, *words, *options)[:2] == (0, "")
    folders = [str(tmp_path / name) for name in ("one", "two")]
    page = tmp_path / "table.md"
    code, out, _ = gazedx(
        capsys, monkeypatch, "compare", *folders, "--resamples", "100", "--out", str(page), "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["reference"] == "one"
    assert {one["metric"] for one in found["groups"]["maps"]["comparisons"]} >= {"nss", "kld"}
    assert page.read_text().startswith("# Comparison of runs")


def test_mistakes_are_one_message(capsys: Capture, monkeypatch: Patch, tmp_path: Path) -> None:
    maps, fixations = write_study(tmp_path)
    words = ("score", "--maps", str(maps), "--fixations", str(fixations))
    code, _, error = gazedx(capsys, monkeypatch, *words, "--weight", "time")
    assert code == 2
    assert "error: --weight: expected count or duration, found 'time'" in error
    (maps / "0.npy").unlink()
    code, _, error = gazedx(capsys, monkeypatch, *words)
    assert code == 1
    assert "images of " + str(fixations) + ", found none for 0 (1 in all)" in error
    code, _, error = gazedx(capsys, monkeypatch, "compare", str(tmp_path), str(tmp_path / "x"))
    assert code == 1
    assert "was not evaluated" in error


def test_runs_of_other_grids_are_refused(
    capsys: Capture, monkeypatch: Patch, evaluated_run: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(evaluated_run, tmp_path / "other")
    config = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(config.replace("seed: 0", "seed: 5", 1))
    folders = (str(evaluated_run), str(other))
    code, out, _ = gazedx(capsys, monkeypatch, "compare", *folders, "--resamples", "100")
    assert code == 0
    assert "± 0.000" in out
    path = other / "evaluate" / "metrics.json"
    metrics = read_json(path)
    write_json(path, metrics | {"identity": metrics["identity"] | {"grid": 320}})
    code, _, error = gazedx(capsys, monkeypatch, "compare", *folders)
    assert code == 2
    assert "grid 64 and 320" in error


def test_evaluate_takes_its_own_settings(
    capsys: Capture, monkeypatch: Patch, evaluated_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(evaluated_run, tmp_path / "run")
    settings = ("--set", "evaluate.grid=48", "--set", "evaluate.sensitivity=0", "--json")
    code, out, _ = gazedx(capsys, monkeypatch, "evaluate", str(run), *settings)
    assert code == 0
    assert json.loads(out)["grid"] == 48
    assert read_json(run / "evaluate" / "metrics.json")["settings"]["grid"] == 48
    code, _, error = gazedx(capsys, monkeypatch, "evaluate", str(run), "--set", "seed=1")
    assert code == 2
    assert "--set seed=1: a run that is trained can be given evaluate.* only" in error

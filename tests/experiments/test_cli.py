import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from diagnosis.published.config import DualAttNetConfig
from experiments import cli
from experiments.load import dump_config
from eye_gaze_data.files import read_json
from tests.experiments.small import small_config


def gazedx(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    """Exit code, output and errors of a command, run in this process."""
    monkeypatch.setattr(sys, "argv", ["gazedx", *words])
    code = 0
    try:
        cli.main()
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['gazedx', '--help']\n"
        "from experiments import cli\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'pytorch_lightning', 'pandas'} & sys.modules.keys()\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Research use only" in done.stdout


def test_an_unknown_key_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("config", "check", "demo", "--set", "stages.fuse.epoch=3")
    code, _, error = gazedx(capsys, monkeypatch, *words)
    assert code == 2
    assert "unknown key 'stages.3.epoch'; did you mean 'epochs'?" in error
    assert "Traceback" not in error


def test_the_resolved_config_is_a_config(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, _ = gazedx(capsys, monkeypatch, "config", "show", "demo", "--seed", "5", "--yaml")
    assert code == 0
    path = tmp_path / "shown.yaml"
    path.write_text(out)
    code, again, _ = gazedx(capsys, monkeypatch, "config", "show", str(path), "--yaml")
    assert (code, again) == (0, out)
    assert "seed: 5" in out


def test_config_show_prints_the_plan(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(dump_config(small_config()))
    code, out, _ = gazedx(capsys, monkeypatch, "config", "show", str(path))
    assert code == 0
    columns = ("stage", "what trains", "frozen", "handed over", "losses", "pace")
    assert all(column in out for column in columns)
    assert "from contrast" in out
    code, out, _ = gazedx(capsys, monkeypatch, "config", "show", str(path), "--json")
    shown = json.loads(out)
    assert code == 0
    assert [row["stage"] for row in shown["plan"]] == [s["name"] for s in shown["config"]["stages"]]


def test_without_data_the_plan_is_what_is_declared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tree = small_config().model_dump(mode="json")
    tree["cohorts"] = {"phantom": {"kind": "csv", "images": {"csv": "films.csv", "root": "."}}}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    code, out, err = gazedx(capsys, monkeypatch, "config", "show", str(path))
    assert code == 0
    assert "nothing is counted, the data are not there: " in err
    assert "films.csv" in err
    assert "encoder_classifier.*  -" in out


def test_config_schema_is_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = gazedx(capsys, monkeypatch, "config", "schema")
    assert code == 0
    assert {"name", "stages", "cohorts"} <= json.loads(out)["properties"].keys()


@pytest.mark.parametrize("name", ["anatomy_xnet", "msaimnet", "dualattnet", "mixed"])
def test_config_check_accepts_what_is_declared(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    code, out, _ = gazedx(capsys, monkeypatch, "config", "check", name)
    assert code == 0
    assert "not there yet" not in out


def test_run_of_a_declared_system_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(DualAttNetConfig, "built", False)
    words = ("run", "dualattnet", "--out", str(tmp_path / "run"))
    code, _, error = gazedx(capsys, monkeypatch, *words)
    assert code == 2
    assert "the model 'dualattnet' is not built yet" in error


def test_dry_run_prints_the_plan(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(dump_config(small_config()))
    words = ("run", str(path), "--out", str(tmp_path / "run"), "--dry-run", "--json")
    code, out, _ = gazedx(capsys, monkeypatch, *words)
    plan = {row["stage"]: row for row in json.loads(out)}
    assert code == 0
    assert list(plan) == ["contrast", "classify", "saliency", "fuse", "joint"]
    assert plan["joint"]["frozen"] == 0
    assert plan["fuse"]["trained"] == (8 + 4) * 64 + 64 + 64 * 6 + 6
    assert plan["saliency"]["from"] == "classify"
    assert not (tmp_path / "run").exists()


def test_status_and_report_of_a_run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    evaluated_run: Path,
) -> None:
    code, out, _ = gazedx(capsys, monkeypatch, "status", str(evaluated_run), "--json")
    assert code == 0
    rows = json.loads(out)
    assert [row["status"] for row in rows] == ["complete"] * 5
    # Counted from 1, as the lines of the training are.
    for number, row in enumerate(rows, 1):
        record = read_json(evaluated_run / f"{number:02d}-{row['stage']}" / "stage.json")
        assert row["best"] == record["best_epoch"] + 1
    code, out, error = gazedx(capsys, monkeypatch, "report", str(evaluated_run))
    assert (code, error) == (0, "")
    assert out.strip().endswith("report.html")


def test_a_report_before_the_evaluation_says_so(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    evaluated_run: Path,
    tmp_path: Path,
) -> None:
    left_out = shutil.ignore_patterns("evaluate", "*.ckpt", "*.safetensors")
    shutil.copytree(evaluated_run, tmp_path / "run", ignore=left_out)
    code, out, error = gazedx(capsys, monkeypatch, "report", str(tmp_path / "run"))
    assert code == 0
    assert out.strip().endswith("report.html")
    assert "not evaluated yet: curves only. See gazedx status, then gazedx evaluate" in error


@pytest.mark.parametrize("command", ["status", "report", "evaluate"])
def test_a_folder_that_is_no_run_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
) -> None:
    code, _, error = gazedx(capsys, monkeypatch, command, str(tmp_path))
    assert code == 2
    assert "no run folder (it has no config.yaml); see: gazedx run --help" in error


def test_predict_does_the_good_files_and_lists_the_bad_ones(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    evaluated_run: Path,
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (90, 60), np.uint8)).save(films / "tall.png")
    Image.fromarray(rng.integers(0, 255, (40, 80), np.uint8)).save(films / "wide.jpg")
    (films / "broken.png").write_bytes(b"no image")
    (films / "empty.png").write_bytes(b"")
    out = tmp_path / "out"
    words = ("predict", str(evaluated_run), str(films), "--out", str(out))
    code, text, error = gazedx(capsys, monkeypatch, *words)
    assert code == 1
    assert "2 film(s) predicted" in text
    assert "Research use only" in text
    assert "broken.png: expected an image" in error
    assert "empty.png: the file is empty" in error
    density = np.load(out / "tall.density.npy")
    assert density.shape == (90, 60)
    assert density.sum() == pytest.approx(1, abs=1e-5)
    with Image.open(out / "wide.overlay.png") as overlay:
        assert overlay.size[0] > 80
        assert overlay.size[1] > 40
    record = json.loads((out / "predictions.json").read_text())
    assert record["notice"] == "Research use only. Not a medical device."
    assert len(record["films"][0]["findings"]) == 6
    assert all(0 <= p <= 1 for film in record["films"] for p in film["findings"].values())


def test_doctor_finds_our_own_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = gazedx(capsys, monkeypatch, "doctor", "--json")
    found = {row["check"]: row["result"] for row in json.loads(out)}
    assert found["package saliency"] == "ours"
    assert found["gazedx"] == "0.1.0"


def test_data_check_and_show(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(dump_config(small_config()))
    code, out, _ = gazedx(capsys, monkeypatch, "data", "check", str(path), "--json")
    facts = json.loads(out)["phantom"]
    assert code == 0
    assert (facts["images"], facts["patients"]) == (48, 48)
    assert (facts["gaze"]["what"], facts["gaze"]["readers"]) == ("fixations", 2)
    assert facts["gaze"]["images"] == 48
    assert json.loads(out)["all cohorts"]["same film under two ids"] == []
    sheet = tmp_path / "sheet.png"
    words = ("data", "show", str(path), "--out", str(sheet), "--count", "4")
    assert gazedx(capsys, monkeypatch, *words)[0] == 0
    with Image.open(sheet) as image:
        assert np.asarray(image).std() > 10

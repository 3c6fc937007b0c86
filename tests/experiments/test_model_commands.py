"""``predict`` and ``export`` as commands: options, messages, exit codes; help of every command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open

from experiments.gaze_model import load_model
from experiments.prediction_config import NOTICE
from tests.experiments.test_cli import gazedx

Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@pytest.fixture
def film(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (50, 40), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "film.png")
    return tmp_path / "film.png"


def test_help_of_every_command_imports_nothing_heavy() -> None:
    program = (
        "import contextlib, io, sys\n"
        "from experiments.cli import app\n"
        "from typer.main import get_command\n"
        "def walk(command, words):\n"
        "    yield words\n"
        "    for name, child in sorted(getattr(command, 'commands', {}).items()):\n"
        "        yield from walk(child, [*words, name])\n"
        "count = 0\n"
        "for words in list(walk(get_command(app), [])):\n"
        "    text = io.StringIO()\n"
        "    with contextlib.redirect_stdout(text):\n"
        "        try:\n            app([*words, '--help'])\n"
        "        except SystemExit as done:\n            assert not done.code, words\n"
        "    assert 'Usage' in text.getvalue(), words\n"
        "    count += 1\n"
        "heavy = {'torch', 'pytorch_lightning', 'pandas'} & sys.modules.keys()\n"
        "print(count)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20


def test_predict_prints_its_json_and_writes_what_was_asked(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, film: Path, evaluated_run: Path
) -> None:
    out = tmp_path / "out"
    words = ("predict", str(evaluated_run), str(film), "--out", str(out), "--json")
    code, text, _ = gazedx(
        capsys, monkeypatch, *words, "--tiff", "--no-npy", "--no-overlay", "--attention"
    )
    assert code == 0
    record = json.loads(text)["films"][0]
    assert (out / record["tiff"]).is_file()
    assert (out / record["attention"]).is_file()
    assert {"density", "overlay"}.isdisjoint(record)
    assert text == (out / "predictions.json").read_text()


def test_predict_counts_what_it_left_out(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, film: Path, evaluated_run: Path
) -> None:
    bad = [tmp_path / name for name in ("one.png", "two.png")]
    for path in bad:
        path.write_bytes(b"x")
    words = ("predict", str(evaluated_run), str(bad[0]), str(film), str(bad[1]))
    code, text, error = gazedx(capsys, monkeypatch, *words, "--out", str(tmp_path / "out"))
    assert code == 1
    assert "1 film(s) predicted" in text
    lines = error.splitlines()
    assert lines[0] == "2 file(s) left out:"
    for line, path in zip(lines[1:], bad, strict=True):
        assert line.startswith(f"left out: {path}: expected an image")


def test_attention_needs_the_network(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, film: Path, evaluated_run: Path
) -> None:
    words = ("predict", str(evaluated_run), str(film), "--engine", "onnxruntime", "--attention")
    code, _, error = gazedx(capsys, monkeypatch, *words, "--out", str(tmp_path / "out"))
    assert code == 2
    assert "--attention needs the network itself; leave out --engine onnxruntime" in error


def test_export_to_hub_and_weights_alone(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, evaluated_run: Path
) -> None:
    out = tmp_path / "shared"
    out.mkdir()
    (out / "README.md").write_text("the card of other weights")
    code, text, _ = gazedx(capsys, monkeypatch, "export", str(evaluated_run), "--out", str(out))
    assert code == 0
    assert f"notice: {NOTICE}" in text
    assert "other weights" not in (out / "README.md").read_text()
    words = ("export", str(out), "--to", "safetensors", "--out", str(tmp_path / "bare"), "--json")
    code, text, _ = gazedx(capsys, monkeypatch, *words)
    path = tmp_path / "bare" / "weights.safetensors"
    assert json.loads(text)["model"] == str(path)
    network = load_model(evaluated_run).network.state_dict()
    with safe_open(path, "pt") as file:
        said = file.metadata()
        assert set(file.keys()) == set(network)
        assert all((file.get_tensor(name) == value).all() for name, value in network.items())
    assert json.loads(said["network"])["kind"] == "dual_encoder"
    assert json.loads(said["image_size"]) == [32, 32]
    assert said["notice"] == NOTICE


@pytest.mark.parametrize("command", ["predict", "export"])
def test_a_folder_that_is_no_model_is_a_usage_error(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, film: Path, command: str
) -> None:
    words = (str(film),) if command == "predict" else ()
    code, _, error = gazedx(capsys, monkeypatch, command, str(tmp_path), *words)
    assert code == 2
    assert "no run folder (it has no config.yaml)" in error
    assert "Traceback" not in error


def test_a_stage_that_does_not_exist_lists_those_that_do(
    capsys: Capture, monkeypatch: Patch, evaluated_run: Path
) -> None:
    code, _, error = gazedx(capsys, monkeypatch, "export", str(evaluated_run), "--stage", "jiont")
    assert code == 2
    assert "no stage 'jiont'; known: contrast, classify, saliency, fuse, joint" in error

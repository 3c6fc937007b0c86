"""One exported model, taken into another program: no gazedx, no torch, the same numbers."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.experiments.small import small_tree

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "onnx_film.py"


def gazedx(folder: Path, *words: object) -> str:
    """The output of a public command in a process of its own."""
    command = [sys.executable, "-m", "experiments", *map(str, words)]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_exported_model_in_a_program_of_its_own(tmp_path: Path) -> None:
    tree = small_tree(evaluate={"grid": 64, "resamples": 200, "cases": 0, "sensitivity": 0})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree))
    gazedx(tmp_path, "run", "run.yaml", "--out", "run", "--quiet")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (9, 7), np.uint8)
    Image.fromarray(coarse).resize((150, 210)).save(tmp_path / "film.png")
    deep = np.asarray(Image.fromarray(coarse).resize((181, 97)), np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    gazedx(tmp_path, "predict", "run", "film.png", "deep.png", "--out", "predicted", "--quiet")
    said = gazedx(tmp_path, "export", "run", "--to", "onnx", "--out", "exported")
    assert "largest difference, density" in said
    gazedx(tmp_path, "export", "run", "--to", "hub", "--out", "shared")
    gazedx(tmp_path, "predict", "shared", "film.png", "deep.png", "--out", "again", "--quiet")
    expected = json.loads((tmp_path / "predicted" / "predictions.json").read_text())
    again = json.loads((tmp_path / "again" / "predictions.json").read_text())
    assert again == expected
    for record in expected["films"]:
        name = Path(record["file"]).stem
        command = [
            sys.executable, "-c",
            "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], "
            "run_name='__main__'); heavy = {'torch', 'experiments'} & sys.modules.keys(); "
            "sys.exit(f'imported {heavy}' if heavy else 0)",
            str(EXAMPLE), "exported/model.onnx", record["file"], f"{name}.npz",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["notice"] == expected["notice"]
        assert found["findings"] == pytest.approx(record["findings"], abs=1e-4)
        density = np.load(tmp_path / "predicted" / record["density"])
        theirs = np.load(tmp_path / f"{name}.npz")["density"]
        assert theirs.shape == density.shape
        np.testing.assert_allclose(theirs, density, atol=1e-3 * density.max())

"""One model, taken into other programs: onnxruntime without gazedx and torch, plain torch, XRV."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from experiments.api import GazeModel, XRVModel, read_image
from tests.integration.commands import gazedx
from tests.integration.conftest import Walk

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "onnx_film.py"


class Shared(NamedTuple):
    """Two films, what ``predict`` says of them, and the exported folder."""

    folder: Path
    films: dict[str, Any]


@pytest.fixture(scope="module")
def shared(walk: Walk, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (9, 7), np.uint8)
    Image.fromarray(coarse).resize((150, 210)).save(folder / "film.png")
    deep = np.asarray(Image.fromarray(coarse).resize((181, 97)), np.uint16) * 257
    Image.fromarray(deep).save(folder / "deep.png")
    said = predict(walk.run, folder, "predicted")
    gazedx("export --to hub --quiet", walk.run, "--out", folder / "shared")
    return Shared(folder, said)


def predict(model: Path, folder: Path, out: str) -> dict[str, Any]:
    films = [folder / "film.png", folder / "deep.png"]
    gazedx("predict --quiet --device cpu", model, *films, "--out", folder / out)
    found: dict[str, Any] = json.loads((folder / out / "predictions.json").read_text())
    return found


def test_the_shared_folder_predicts_as_the_run_did(shared: Shared) -> None:
    assert predict(shared.folder / "shared", shared.folder, "again") == shared.films
    for record in shared.films["films"]:
        assert sum(record["findings"].values()) == pytest.approx(1, abs=1e-5)
        before = np.load(shared.folder / "predicted" / record["density"])
        after = np.load(shared.folder / "again" / record["density"])
        assert np.array_equal(before, after)


def test_the_shared_weights_are_those_of_the_run(walk: Walk, shared: Shared) -> None:
    trained = load_file(walk.run / "03-fuse" / "weights.safetensors")
    given = load_file(shared.folder / "shared" / "model.safetensors")
    names = {name: name.removeprefix("network.") for name in given}
    assert set(names.values()) == trained.keys()
    assert all(np.array_equal(given[name], trained[names[name]]) for name in given)


def test_from_pretrained_is_a_module_like_any_other(shared: Shared) -> None:
    model = GazeModel.from_pretrained(str(shared.folder / "shared")).eval()
    film = read_image(shared.folder / "film.png")
    sample = model.predictor("cpu").prepare(film)
    with torch.no_grad():
        found = model(sample["image"][None], sample["valid"][None])
    expected = list(shared.films["films"][0]["findings"].values())
    assert found["probabilities"][0].tolist() == pytest.approx(expected, abs=1e-6)
    temperatures = torch.tensor(model.settings.temperatures)
    again = (found["class_logits"][0].double() / temperatures).softmax(0)
    assert again.tolist() == pytest.approx(expected, abs=1e-5)


def test_torchxrayvisions_range_gives_the_same_findings(shared: Shared) -> None:
    model = XRVModel(GazeModel.from_pretrained(str(shared.folder / "shared")).eval())
    for record, name in zip(shared.films["films"], ("film.png", "deep.png"), strict=True):
        with Image.open(shared.folder / name) as picture:
            film = np.asarray(picture, np.float32)
        top = 255 if film.max() <= 255 else 65535
        # As torchxrayvision.datasets.normalize has it.
        x = torch.from_numpy((2 * film / top - 1) * 1024)[None, None]
        found = dict(zip(model.pathologies, model(x)[0].tolist(), strict=True))
        assert found == pytest.approx(record["findings"], abs=1e-5)


@pytest.mark.parametrize("page", ["path-elsewhere", "export"])
def test_the_block_of_a_page_runs(
    page: str, shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shared.folder)
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, page, "exec"), names)  # noqa: S102 - our own pages
    expected = list(shared.films["films"][0]["findings"].values())
    assert list(names["prediction"].probabilities) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_the_graph_in_a_program_without_gazedx_and_torch(walk: Walk, shared: Shared) -> None:
    said = gazedx("export --to onnx", walk.run, "--out", shared.folder / "exported")
    assert "largest difference, density" in said
    for record in shared.films["films"]:
        name = Path(record["file"]).stem
        command = [
            sys.executable, "-c",
            "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], "
            "run_name='__main__'); heavy = {'torch', 'experiments'} & sys.modules.keys(); "
            "sys.exit(f'imported {heavy}' if heavy else 0)",
            str(EXAMPLE), "exported/model.onnx", f"{name}.png", f"{name}.npz",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=shared.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["notice"] == shared.films["notice"]
        assert found["findings"] == pytest.approx(record["findings"], abs=1e-4)
        density = np.load(shared.folder / "predicted" / record["density"])
        theirs = np.load(shared.folder / f"{name}.npz")["density"]
        assert theirs.shape == density.shape
        np.testing.assert_allclose(theirs, density, atol=1e-3 * density.max())

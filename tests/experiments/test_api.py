"""The Python interface: its names, and the README's block run as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from experiments import api
from eye_gaze_data.files import read_json
from tests.experiments.small import small_tree

README = Path(__file__).resolve().parents[2] / "README.md"


def test_names_are_about_ten_and_documented() -> None:
    assert len(api.__all__) == 12
    for name in api.__all__:
        assert (getattr(api, name).__doc__ or "").strip(), name


@pytest.mark.slow
def test_the_block_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 12
    # A file of that name goes before the shipped config; the small one trains in seconds.
    (tmp_path / "demo").write_text(yaml.safe_dump(small_tree()))
    film = np.random.default_rng(0).integers(0, 255, (50, 40), np.uint8)
    Image.fromarray(film).save(tmp_path / "film.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(blocks[0], "README.md", "exec"), names)  # noqa: S102 - our own README
    records = read_json(tmp_path / "predictions" / "predictions.json")["films"]
    said = names["prediction"]
    assert list(records[0]["findings"].values()) == pytest.approx(said.probabilities)  # type: ignore[attr-defined]
    assert (tmp_path / "shared" / "model.safetensors").is_file()

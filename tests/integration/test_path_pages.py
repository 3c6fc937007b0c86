"""The pages of the four paths: each command and each block of Python runs as it stands there."""

import csv
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.docs.test_commands import ROOT, shown
from tests.integration.commands import gazedx
from tests.integration.conftest import Walk, overrides

PAGES = [ROOT / "docs" / f"path-{name}.md" for name in ("train", "look", "elsewhere", "check")]


def scripts(page: Path) -> list[list[str]]:
    """The words of each ``python`` line of a page."""
    return [shlex.split(line) for line in re.findall(r"^ {4}python (.+)$", page.read_text(), re.M)]


def blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


def write_fixations(walk: Walk, path: Path) -> None:
    with (walk.data / "eye_gaze.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if len(row["DICOM_ID"]) == 44]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "x", "y"])
        for row in rows[::5]:
            writer.writerow([row["DICOM_ID"], row["X_ORIGINAL"], row["Y_ORIGINAL"]])


@pytest.mark.slow
def test_the_pages_run_as_they_stand_there(
    walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader's own names are those of the phantom; sizes are small; there is no GPU."""
    monkeypatch.chdir(tmp_path)
    film = np.random.default_rng(0).integers(0, 255, (90, 70), np.uint8)
    Image.fromarray(film).save("film.png")
    write_fixations(walk, tmp_path / "fixations.csv")
    with (walk.run / "evaluate" / "per_image.csv").open(newline="") as file:
        case = next(csv.DictReader(file))
    mine = {
        "DATA": walk.data, "FILMS": walk.folder / "mimic", "IMAGE": case["image_id"],
        "cuda": "cpu", "runs/demo": "runs/mine",
    }  # fmt: skip
    ran = []
    for page in PAGES:
        for words in shown(page):
            if words == ["doctor"]:
                continue  # it judges the machine
            given = [str(mine.get(word, word)) for word in words]
            if given[0] == "run" or given[:2] == ["config", "check"]:
                given += overrides()
            if given[0] == "score":
                for path in Path("maps").glob("*.density.npy"):
                    path.rename(str(path).replace(".density", ""))
            gazedx(shlex.join(given))
            ran.append(given[0])
        for words in scripts(page):
            given = [str(mine.get(word, word)) for word in words]
            done = subprocess.run([sys.executable, ROOT / given[0], *given[1:]], check=False)
            assert done.returncode == 0, given
        for block in blocks(page):
            text = block.replace("runs/demo", "runs/mine")
            text = text.replace("000003", f"{int(case['index']):06d}")
            exec(compile(text, page.name, "exec"), {})  # noqa: S102 - our own pages
    assert {"run", "report", "predict", "export", "score", "evaluate"} <= set(ran)
    assert Path("result.npz").is_file()
    assert Path("cases.pdf").read_bytes().startswith(b"%PDF")

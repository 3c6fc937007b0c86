"""Checking a number of a finished run: from what it stored, without the program that wrote it."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from eye_gaze_data.files import read_json, write_json
from tests.integration.commands import gazedx
from tests.integration.conftest import HEIGHT, Walk

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "check_numbers.py"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check(run: Path, *words: object, code: int = 0) -> list[str]:
    """The lines of the example, in a process that must not know gazedx or torch."""
    program = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: assert not {'torch', 'experiments', 'eye_gaze_data'} & sys.modules.keys()"
    )
    command = [sys.executable, "-c", program, str(EXAMPLE), str(run), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def run(walk: Walk, tmp_path: Path) -> Path:
    """A copy: moved elsewhere, and free to be changed."""
    return Path(shutil.copytree(walk.run, tmp_path / "moved"))


def test_every_number_comes_out_with_numpy_alone(walk: Walk, run: Path) -> None:
    lines = check(run, walk.folder / "mimic")
    n_test = len(table(run / "evaluate" / "per_image.csv"))
    assert all(line.startswith("same") for line in lines[:-1]), lines
    # Weights, split, patients, films; seven means; two a finding; two an image.
    assert lines[-1] == f"{4 + 7 + 2 * 3 + 2 * n_test} checks, 0 failed"
    assert "same    films found by their hash: reported 40, found 40" in lines
    aurocs = [line for line in lines if "AUROC" in line]
    assert len(aurocs) == 3


def tamper_auroc(run: Path) -> None:
    path = run / "evaluate" / "metrics.json"
    metrics = read_json(path)
    metrics["diagnosis"]["egd"]["findings"]["CHF"]["auroc"]["value"] += 0.01
    write_json(path, metrics)


def tamper_split(run: Path) -> None:
    path = run / "splits.csv"
    path.write_text(path.read_text().replace(",test\n", ",train\n", 1))


def tamper_weights(run: Path) -> None:
    path = run / "03-fuse" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("tamper", "what"),
    [(tamper_auroc, "egd, CHF, AUROC"), (tamper_split, "splits"), (tamper_weights, "weights")],
)
def test_a_changed_number_is_found(tamper, what: str, run: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    tamper(run)
    lines = check(run, code=1)
    assert [line.split(": ")[0] for line in lines if line.startswith("DIFFERS")] == [
        f"DIFFERS {what}"
    ]


def test_a_film_that_was_changed_is_found(walk: Walk, run: Path, tmp_path: Path) -> None:
    films = Path(shutil.copytree(walk.folder / "mimic", tmp_path / "films"))
    film = sorted(films.rglob("*.dcm"))[0]
    film.write_bytes(film.read_bytes()[:-1] + b"\x01")
    lines = check(run, films, code=1)
    assert "DIFFERS films found by their hash: reported 40, found 39" in lines


def test_the_evaluation_again_from_the_weights_is_the_same(run: Path) -> None:
    before = json.loads((run / "evaluate" / "metrics.json").read_text())
    rows = table(run / "evaluate" / "per_image.csv")
    shutil.rmtree(run / "evaluate")
    gazedx("evaluate --quiet --device cpu", run)
    assert json.loads((run / "evaluate" / "metrics.json").read_text()) == before
    assert table(run / "evaluate" / "per_image.csv") == rows


def test_predict_and_score_give_the_numbers_of_evaluate(
    walk: Walk, run: Path, tmp_path: Path
) -> None:
    """Two ways: the run's own, and densities and fixations as files of anybody."""
    gazedx(f"evaluate --quiet --set evaluate.grid={HEIGHT}", run)
    rows = {row["image_id"]: row for row in table(run / "evaluate" / "per_image.csv")}
    films = [p for p in (walk.folder / "mimic").rglob("*.dcm") if p.stem in rows]
    maps = tmp_path / "maps"
    gazedx("predict --quiet --no-overlay --device cpu", run, *films, "--out", maps)
    for path in maps.glob("*.density.npy"):
        path.rename(maps / path.name.replace(".density", ""))
    with (tmp_path / "fixations.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "x", "y", "patient"])
        for row in table(walk.data / "eye_gaze.csv"):
            if row["DICOM_ID"] in rows and min(int(row["X_ORIGINAL"]), int(row["Y_ORIGINAL"])) >= 0:
                patient = rows[row["DICOM_ID"]]["patient_id"]
                writer.writerow([row["DICOM_ID"], row["X_ORIGINAL"], row["Y_ORIGINAL"], patient])
    out = tmp_path / "scores"
    gazedx(
        "score --quiet --densities --pixel-centres --resamples 200 --grid", HEIGHT,
        "--maps", maps, "--fixations", tmp_path / "fixations.csv", "--out", out,
    )  # fmt: skip
    scored = table(out / "evaluate" / "per_image.csv")
    assert {row["image_id"] for row in scored} == rows.keys()
    for row in scored:
        for metric in ("cc", "nss", "kld", "sim", "auc", "n_fixations"):
            ours = float(rows[row["image_id"]][metric])
            assert float(row[metric]) == pytest.approx(ours, abs=2e-4), metric

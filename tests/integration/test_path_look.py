"""Looking at what the clinician and the model looked at: report, viewer, overlays, figures."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib import colormaps
from PIL import Image

from eye_gaze_data.images import read_image
from tests.integration.commands import gazedx
from tests.integration.conftest import HEIGHT, WIDTH, Walk

SIDE = 320  # of stored cases


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def published_gaze(walk: Walk, image: str) -> npt.NDArray[np.float64]:
    """(n, 2) of x, y: whole pixels as published, so that the middle of them is meant."""
    rows = [row for row in table(walk.data / "eye_gaze.csv") if row["DICOM_ID"] == image]
    points = np.array([(int(row["X_ORIGINAL"]), int(row["Y_ORIGINAL"])) for row in rows])
    middles: npt.NDArray[np.float64] = points[(points >= 0).all(1)] + 0.5
    return middles


def bells(at: float, length: int) -> npt.NDArray[np.float64]:
    """A truncated Gaussian and its two reflections, at the middles of the pixels."""
    sigma = 75.5 / 3056 * SIDE
    centres = np.array([at, -at, 2 * length - at])
    away = np.abs(np.arange(length)[:, None] + 0.5 - centres)
    values: npt.NDArray[np.float64] = np.exp(-0.5 * (away / sigma) ** 2)
    values[away > 250 / 75.5 * sigma] = 0
    return np.asarray(values.sum(1), np.float64)


def painted(points: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.float64]:
    """The paper's density by its definition: a sum of Gaussians, each sample counting 1."""
    density = np.zeros((SIDE, SIDE * WIDTH // HEIGHT))
    for x, y in (points * scale).tolist():
        density += np.outer(bells(y, density.shape[0]), bells(x, density.shape[1]))
    return np.asarray(density / density.sum(), np.float64)


def test_a_stored_case_holds_the_gaze_that_was_published(walk: Walk) -> None:
    for row in table(walk.run / "evaluate" / "per_image.csv")[:2]:
        case = np.load(walk.run / "evaluate" / "cases" / f"{int(row['index']):06d}.npz")
        points = published_gaze(walk, row["image_id"])
        np.testing.assert_allclose(case["gaze"][:, :2], points * SIDE / HEIGHT, atol=1e-3)
        truth = case["truth"].astype(np.float64)
        assert abs(truth.sum() - 1) < 1e-3
        expected = painted(points, SIDE / HEIGHT)
        np.testing.assert_allclose(truth, expected, atol=2e-3 * expected.max())


def test_the_page_embeds_every_case_and_its_numbers(walk: Walk) -> None:
    page = (walk.run / "evaluate" / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', page)
    assert found is not None
    cases = {case["id"]: case for case in json.loads(found[1])["cases"]}
    rows = table(walk.run / "evaluate" / "per_image.csv")
    assert cases.keys() == {row["image_id"] for row in rows}
    for row in rows:
        shown = json.dumps(cases[row["image_id"]])
        assert row["patient_id"] in shown
    assert not re.search(r'(src|href)="https?:', page)


def test_the_report_is_written_again_as_it_was(walk: Walk) -> None:
    before = (walk.run / "evaluate" / "report.html").read_bytes()
    said = gazedx("report", walk.run)
    assert said.strip() == str(walk.run / "evaluate" / "report.html")
    assert (walk.run / "evaluate" / "report.html").read_bytes() == before


@pytest.fixture(scope="module")
def predicted(walk: Walk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("look") / "predictions"
    film = sorted((walk.folder / "mimic").rglob("*.dcm"))[0]
    gazedx("predict --attention --quiet --device cpu", walk.run, film, "--out", out)
    return out


def test_an_overlay_has_the_density_over_the_film_in_its_own_pixels(predicted: Path) -> None:
    (record,) = json.loads((predicted / "predictions.json").read_text())["films"]
    density = np.load(predicted / record["density"])
    assert density.shape == (HEIGHT, WIDTH)
    assert abs(density.sum() - 1) < 1e-5
    with Image.open(predicted / record["overlay"]) as picture:
        assert "research use only" in picture.text["Description"].lower()  # type: ignore[attr-defined]
        pixels = np.asarray(picture.convert("RGB"), float)[:HEIGHT, :WIDTH]
    share = np.round(density / density.max() * 255) / 255
    strength = 0.65 * np.sqrt(share)[..., None]
    colour = 255 * colormaps["inferno"](share)[..., :3]
    # With the colour taken off again, what is left is the film, in every channel.
    film = (pixels - strength * colour) / (1 - strength)
    expected = 255 * read_image(Path(record["file"]))
    np.testing.assert_allclose(film, np.repeat(expected[..., None], 3, 2), atol=2.5)


def test_attention_maps_know_where_they_lie(predicted: Path) -> None:
    (record,) = json.loads((predicted / "predictions.json").read_text())["films"]
    maps = np.load(predicted / record["attention"])
    # 64 by 48 pixels onto 32 by 32, padded by 4 columns at each side.
    np.testing.assert_allclose(maps["frame"], [[0.5, 0, 4], [0, 0.5, 0]], atol=1e-6)
    assert maps["image_size"].tolist() == [32, 32]
    assert maps["class_activation"].min() >= 0


def test_pictures_of_cases_are_drawn(walk: Walk, tmp_path: Path) -> None:
    image = table(walk.run / "evaluate" / "per_image.csv")[0]["image_id"]
    gazedx("report", walk.run, "--figure", tmp_path / "cases.png", "--case", image)
    gazedx("data show --count 4", walk.folder / "egd.yaml", "--out", tmp_path / "sheet.png")
    for name in ("cases", "sheet"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 10, name

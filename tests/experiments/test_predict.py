"""Files in, findings and densities out: names, units, order, what is left out, memory."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image, ImageDraw

from experiments.pictures import draw_overlay, framed, write_overlay, write_tiff
from experiments.predict import Writes, list_films, predict_files
from experiments.prediction_config import NOTICE
from experiments.predictor import Predictor, resample_density
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import read_json
from eye_gaze_data.geometry import fit_frame
from eye_gaze_data.images import read_image


@pytest.fixture(scope="module")
def predictor(evaluated_run: Path) -> Predictor:
    return Predictor.load(evaluated_run, device="cpu")


def make_films(folder: Path, count: int, size: tuple[int, int] = (40, 50)) -> list[Path]:
    """Films of noise, each of another size."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = []
    for i in range(count):
        shape = size[0] + i % 7, size[1] + i % 5
        paths.append(folder / f"{i:04d}.png")
        Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(paths[-1])
    return paths


def test_a_batch_of_any_sizes_is_what_each_film_gives_alone(
    predictor: Predictor, tmp_path: Path
) -> None:
    films = make_films(tmp_path / "films", 5)
    count, failures = predict_files(predictor, films, tmp_path / "out", batch=3)
    assert (count, failures) == (5, [])
    records = read_json(tmp_path / "out" / "predictions.json")["films"]
    assert [record["file"] for record in records] == [str(path) for path in films]
    for path, record in zip(films, records, strict=True):
        pixels = read_image(path)
        alone = predictor.predict(pixels)
        assert alone.probabilities is not None
        assert list(record["findings"]) == predictor.classes
        assert list(record["findings"].values()) == pytest.approx(alone.probabilities, abs=1e-6)
        size = pixels.shape[0], pixels.shape[1]
        expected = resample_density(alone, fit_frame(size, size, "stretch"), size)
        density = np.load(tmp_path / "out" / record["density"])
        assert density.dtype == np.float32
        np.testing.assert_allclose(density, expected, rtol=1e-4, atol=1e-9)
        assert density.sum() == pytest.approx(1, abs=1e-5)


def test_json_lines_and_csv_say_the_same(predictor: Predictor, tmp_path: Path) -> None:
    make_films(tmp_path / "films", 3)
    (tmp_path / "films" / "bad.png").write_bytes(b"")
    seen: list[int] = []
    _, failures = predict_files(
        predictor, [tmp_path / "films"], tmp_path / "out", step=lambda: seen.append(1)
    )
    assert len(seen) == 4
    whole = read_json(tmp_path / "out" / "predictions.json")
    assert whole["notice"] == NOTICE
    assert whole["calibrated"] is True
    assert whole["failures"] == failures
    assert "bad.png: the file is empty (0 bytes)" in failures[0]
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == whole["films"]
    assert all(record["notice"] == NOTICE for record in whole["films"])
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, record in zip(rows, whole["films"], strict=True):
        assert row["file"] == record["file"]
        assert row["density"] == record["density"]
        assert row["notice"] == NOTICE
        for name, value in record["findings"].items():
            assert float(row[name]) == pytest.approx(value, abs=1e-6)


def test_films_of_one_name_do_not_overwrite_each_other(
    predictor: Predictor, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    make_films(folder / "a", 1)
    make_films(folder / "b", 1)
    make_films(folder / "c", 1)[0].rename(folder / "c" / "0000-2.png")
    predict_files(predictor, [folder], tmp_path / "out")
    records = read_json(tmp_path / "out" / "predictions.json")["films"]
    assert [record["density"] for record in records] == [
        "0000.density.npy", "0000-2.density.npy", "0000-2-2.density.npy",
    ]  # fmt: skip


def test_a_folder_gives_films_by_ending_or_content_and_never_results(tmp_path: Path) -> None:
    films = make_films(tmp_path, 2)
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("no film")
    (tmp_path / "1.2.840.7").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0000.overlay.png").write_bytes(b"x")
    found = list(list_films([tmp_path], tmp_path / "out"))
    assert found == [*films, tmp_path / "1.2.840.7"]
    assert list(list_films([tmp_path / "notes.txt"])) == [tmp_path / "notes.txt"]


def test_nothing_to_predict_is_said(
    predictor: Predictor, evaluated_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no film among .* \(\.dcm, \.dicom, \.jpeg"):
        predict_files(predictor, [tmp_path], tmp_path / "out")
    film = make_films(tmp_path / "films", 1)
    contrast = Predictor.load(evaluated_run, "contrast", "cpu")
    with pytest.raises(ConfigError, match=r"task 'contrast' predicts neither.*--stage"):
        predict_files(contrast, film, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: expected a folder for the results"):
        predict_files(predictor, film, tmp_path / "file")


def test_what_is_written_is_what_was_asked_for(predictor: Predictor, tmp_path: Path) -> None:
    films = make_films(tmp_path / "films", 1)
    out = tmp_path / "out"
    predict_files(predictor, films, out, writes=Writes(False, True, False, True))
    names = {path.name for path in out.iterdir()}
    assert names == {
        "0000.density.tif", "0000.attention.npz", "predictions.json", "predictions.jsonl",
        "predictions.csv",
    }  # fmt: skip
    record = read_json(out / "predictions.json")["films"][0]
    with Image.open(out / "0000.density.tif") as image:
        levels = np.asarray(image)
        said = json.loads(image.tag_v2[270])  # type: ignore[attr-defined]
    assert levels.dtype == np.uint16
    assert levels.max() == 65535
    assert said == {"notice": NOTICE, "density_per_level": record["tiff_density_per_level"]}
    assert (levels * said["density_per_level"]).sum() == pytest.approx(1, abs=1e-3)
    stored = np.load(out / "0000.attention.npz")
    alone = predictor.predict(read_image(films[0]))
    assert alone.activation is not None
    assert stored["class_activation"] == pytest.approx(alone.activation.numpy(), abs=1e-6)
    assert stored["frame"] == pytest.approx(alone.frame)
    assert str(stored["notice"]) == NOTICE


def test_tiff_keeps_the_density_to_half_a_level(tmp_path: Path) -> None:
    density = np.random.default_rng(0).random((6, 9))
    density /= density.sum()
    factor = write_tiff(tmp_path / "map.tif", density)
    assert factor == pytest.approx(density.max() / 65535)
    with Image.open(tmp_path / "map.tif") as image:
        assert np.abs(np.asarray(image) * factor - density).max() <= factor / 2 * 1.001


def test_overlay_is_film_where_there_is_no_gaze_and_colour_at_its_maximum() -> None:
    film = np.full((4, 5), 100, np.uint8)
    density = np.zeros((4, 5))
    density[1, 2] = 1.0
    drawn = draw_overlay(film, density)
    assert (drawn[0] == 100).all()
    top = np.array(colormaps["inferno"](255)[:3]) * 255
    np.testing.assert_allclose(drawn[1, 2], 0.35 * 100 + 0.65 * top, atol=1)


def test_overlay_keeps_original_pixels_and_adds_bar_and_notice(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    film = rng.integers(0, 255, (300, 200), np.uint8)
    density = np.zeros((300, 200))
    density[100:150, 50:100] = 1 / 2500
    write_overlay(tmp_path / "map.png", film, density)
    with Image.open(tmp_path / "map.png") as image:
        assert image.text == {  # type: ignore[attr-defined]
            "Description": NOTICE,
            "Density maximum": repr(1 / 2500),
        }
        pixels = np.asarray(image)
    assert (pixels[:300, :200] == draw_overlay(film, density)).all()
    assert pixels.shape[0] > 300
    assert pixels.shape[1] > 200
    assert (pixels[300:] > 128).any(), "the notice below the film"
    # The bar runs from the brightest colour to the darkest.
    for row, place in ((41, 255), (289, 0)):
        expected = np.array(colormaps["inferno"](place, bytes=True)[:3], float)
        np.testing.assert_allclose(pixels[row, 215], expected, atol=4)


def test_the_bar_counts_in_multiples_of_the_uniform_map(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def note(_: object, __: object, text: str, *___: object, **____: object) -> None:
        said.append(text)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    density = np.zeros((20, 50))
    density[:, :10] = 1 / 200
    framed(np.zeros((20, 50, 3), np.uint8), density)
    assert [text for text in said if text[0].isdigit()] == ["5", "2.5", "0"]
    assert NOTICE in said


@pytest.mark.slow
def test_a_thousand_films_stream_at_bounded_memory(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts the full-size maps and films that live at once: no more with 1000 than with 50."""
    import gc
    import weakref

    from experiments import predict

    alive: weakref.WeakSet[predict.Film] = weakref.WeakSet()
    most: dict[int, int] = {}
    build = predict.Film

    def counted(*args: object) -> predict.Film:
        film = build(*args)  # type: ignore[arg-type]
        alive.add(film)
        most[0] = max(most.get(0, 0), len(alive))
        return film

    monkeypatch.setattr(predict, "Film", counted)
    found = []
    for count in (50, 1000):
        most.clear()
        films = make_films(tmp_path / f"films{count}", count, (20, 24))
        out = tmp_path / f"out{count}"
        assert predict_files(predictor, films, out) == (count, [])
        gc.collect()
        assert len(alive) == 0
        found.append(most[0])
        assert len(read_json(out / "predictions.json")["films"]) == count
    # A batch read ahead, one being predicted, one being written, and what the threads hold.
    assert max(found) <= 3 * predict.BATCH + 4


def test_class_names_and_probabilities_are_those_of_the_temperature(
    predictor: Predictor, tmp_path: Path
) -> None:
    film = read_image(make_films(tmp_path, 1)[0])
    said = predictor.predict(film)
    assert said.logits is not None
    temperatures = predictor.settings.temperatures
    assert temperatures is not None
    expected = torch.sigmoid(torch.from_numpy(said.logits) / torch.tensor(temperatures))
    assert said.probabilities == pytest.approx(expected.numpy(), abs=1e-6)

"""Somebody else's maps and fixations: what is read, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.map_files import read_map, read_map_folder
from eye_gaze_data.errors import DataError

LINES = "image,x,y,duration,subject\na.jpg,1.5,2.5,200,ann\na.jpg,3,1,100,bob\nb,0,0,50,ann\n"


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    folder = tmp_path / "maps"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.save(folder / "a.npy", rng.random((6, 8)))
    Image.fromarray(rng.integers(0, 255, (6, 8), dtype=np.uint8)).save(folder / "b.png")
    return folder


def table(tmp_path: Path, text: str = LINES) -> Path:
    path = tmp_path / "fixations.csv"
    path.write_text(text)
    return path


def test_maps_and_fixations_are_matched_by_name(maps: Path, tmp_path: Path) -> None:
    np.save(maps / "unused.npy", np.ones((6, 8)))
    found = read_map_folder(maps, table(tmp_path))
    assert [path.name for path in found.paths] == ["a.npy", "b.png"]
    assert found.n_unused == 1
    assert not found.has_films
    cohort = found.cohort
    assert list(cohort.table["image_id"]) == ["a.jpg", "b"]
    assert cohort.size_of(0) == (6, 8)
    assert cohort.gaze is not None
    gaze = cohort.gaze.of(0)
    assert gaze.readers == ["ann", "bob"]
    assert gaze.x.tolist() == [1.5, 3.0]
    assert gaze.duration.tolist() == [200.0, 100.0]
    assert cohort.images(1).shape == (6, 8)


def test_pixel_indices_are_moved_to_centres(maps: Path, tmp_path: Path) -> None:
    found = read_map_folder(maps, table(tmp_path), pixel_centres=True)
    assert found.cohort.gaze is not None
    assert found.cohort.gaze.of(1).x.tolist() == [0.5]


def test_sizes_come_from_images_then_columns_then_maps(maps: Path, tmp_path: Path) -> None:
    text = "image,x,y,width,height\na,1,1,80,60\nb,1,1,16,12\n"
    assert read_map_folder(maps, table(tmp_path, text)).cohort.size_of(0) == (60, 80)
    films = tmp_path / "films"
    films.mkdir()
    for name in "ab":
        Image.new("L", (40, 30), 51).save(films / f"{name}.png")
    found = read_map_folder(maps, table(tmp_path, text), films)
    assert found.cohort.size_of(1) == (30, 40)
    assert found.cohort.images(0)[0, 0] == pytest.approx(0.2)
    (films / "b.png").unlink()
    with pytest.raises(DataError, match=r"no image for b \(1 in all\); leave --images out"):
        read_map_folder(maps, table(tmp_path, text), films)


def test_patients_and_images_without_fixations(maps: Path, tmp_path: Path) -> None:
    found = read_map_folder(maps, table(tmp_path, "image,x,y,patient\na,1,1,p\nb,,,p\n"))
    assert list(found.cohort.table["patient_id"]) == ["p", "p"]
    assert found.cohort.has_gaze.tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x\na,1\n", "no column 'y'"),
        ("image,x,y\na,1,one\n", "line 2: column 'y' must be a finite number"),
        ("image,x,y\na,1,\n", "line 2: column 'y' must stand where x does"),
        ("image,x,y\n,1,1\n", "must not be empty"),
        (
            "image,x,y\na,1,1\nmissing,1,1\n",
            ", found none for missing",
        ),
        ("image,x,y,duration\na,1,1,-3\n", "must be at least 0"),
        (
            "image,x,y,width,height\na,1,1,8,6\na,1,1,9,6\n",
            "line 3: image 'a' has another width or height than before",
        ),
        ("image,x,y,width,height\na,1,1,8.5,6\n", "must be whole"),
        ("image,x,y,patient\na,1,1,p\na,1,1,q\n", "same for all rows"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(
    maps: Path, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_map_folder(maps, table(tmp_path, text))


def test_two_maps_of_one_image_are_refused(maps: Path, tmp_path: Path) -> None:
    np.save(maps / "b.npy", np.ones((6, 8)))
    with pytest.raises(DataError, match="maps: two files of 'b': b.npy and b.png; keep one"):
        read_map_folder(maps, table(tmp_path))
    with pytest.raises(DataError, match="nothing: expected a folder, found none"):
        read_map_folder(tmp_path / "nothing", table(tmp_path))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.uint8, np.int32, bool])
def test_arrays_of_any_real_type_keep_their_values(tmp_path: Path, dtype: type) -> None:
    values: np.ndarray = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
    np.save(tmp_path / "m.npy", values)
    assert read_map(tmp_path / "m.npy") == pytest.approx(values.astype(float))


def test_pictures_keep_their_depth(tmp_path: Path) -> None:
    deep = np.array([[0, 1000], [40_000, 65_535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_map(tmp_path / "deep.png").tolist() == deep.tolist()
    real = np.array([[-1.5, 0.25], [3e-9, 7.0]], np.float32)
    Image.fromarray(real).save(tmp_path / "real.tiff")
    assert read_map(tmp_path / "real.tiff") == pytest.approx(real.astype(float))
    grey = np.repeat(np.array([[1, 2], [3, 4]], np.uint8)[..., None], 3, 2)
    Image.fromarray(grey).save(tmp_path / "rgb.png")
    assert read_map(tmp_path / "rgb.png").tolist() == [[1, 2], [3, 4]]


def test_what_is_no_map_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.ones((2, 3, 4)))
    np.save(tmp_path / "complex.npy", np.ones((3, 4), complex))
    np.save(tmp_path / "empty.npy", np.ones((0, 4)))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 0, 0] = 9
    Image.fromarray(colours).save(tmp_path / "colour.png")
    for name, message in (
        ("volume.npy", "expected one plane"),
        ("complex.npy", "expected one plane"),
        ("empty.npy", "expected one plane"),
        ("broken.png", "broken.png: expected a saliency map, cannot read it"),
        ("colour.png", "colour.png: expected a grey map, found colours"),
    ):
        with pytest.raises(DataError, match=message):
            read_map(tmp_path / name)

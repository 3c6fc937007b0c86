from pathlib import Path

import numpy as np
import pytest

from eye_gaze_data.errors import DataError
from eye_gaze_data.layouts.films import write_dicom
from eye_gaze_data.readers.gaze_config import FilmFolder
from eye_gaze_data.readers.mimic_images import film_paths, film_reader, study_of

PUBLISHED = "physionet.org/files/mimic-cxr/2.0.0/files/p10/p10000032/s50414267/02aa.dcm"


def test_a_film_is_found_by_its_published_path(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    study = tmp_path / "files" / "p10" / "p10000032" / "s50414267"
    for layout, name in (("dicom", "02aa.dcm"), ("jpg", "02aa.jpg")):
        films = FilmFolder.model_validate({"root": tmp_path, "layout": layout})
        for published in (PUBLISHED, "files/p10/p10000032/s50414267/02aa.dcm"):
            assert film_paths(films, [published], ["02aa"]) == [str(study / name)]


def test_patient_and_study_are_in_the_path() -> None:
    assert study_of(PUBLISHED) == ("10000032", "50414267")


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".dcm", ".tiff"])
def test_a_film_is_found_by_its_id(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"02aa{suffix}").touch()
    (tmp_path / "02aa.txt").touch()
    films = FilmFolder(root=tmp_path, layout="by_id")
    found = film_paths(films, [PUBLISHED, PUBLISHED], ["02aa", "03bb"])
    assert found == [str(tmp_path / f"02aa{suffix}"), str(tmp_path / "03bb.png")]


def test_a_wrong_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        film_paths(FilmFolder(root=tmp_path / "none"), [], [])
    with pytest.raises(DataError, match=r"must be the folder that holds 'files'.*'by_id'"):
        film_paths(FilmFolder(root=tmp_path), [], [])
    (tmp_path / "a.png").touch()
    (tmp_path / "a.dcm").touch()
    with pytest.raises(DataError, match="'a' stands in 'a.dcm' too; keep the one of full size"):
        film_paths(FilmFolder(root=tmp_path, layout="by_id"), [], [])


def test_stored_pixels_are_over_the_film_s_maximum_and_not_inverted(tmp_path: Path) -> None:
    pixels = np.linspace(0, 0.5, 12, dtype=np.float32).reshape(3, 4)
    path = tmp_path / "02aa.dcm"
    write_dicom(path, pixels, photometric="MONOCHROME1")
    films = FilmFolder(root=tmp_path, layout="by_id")
    shown = film_reader(films, [str(path)])(0)
    np.testing.assert_allclose(shown, pixels, atol=1e-3)
    stored = film_reader(films.model_copy(update={"pixels": "stored"}), [str(path)])(0)
    # On file bone is dark: 1 - pixels, from 0.5 to 1.
    np.testing.assert_allclose(stored, 1 - pixels, atol=1e-3)

import json
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.config import DetectConfig, GazeConfig, Recipe
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.layouts.egd_cxr import screen_pads, write_egd_cxr
from eye_gaze_data.layouts.mimic_names import mimic_names
from eye_gaze_data.layouts.written import Fault, spoil_table
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort
from eye_gaze_data.readers.egd_cxr import egd_cxr_cohort
from eye_gaze_data.readers.egd_gaze import SEGMENTATION, egd_phrases, screen_to_film
from eye_gaze_data.readers.gaze_config import EgdCxrConfig, FilmFolder
from eye_gaze_data.splits import check_splits

# Asymmetric, and of odd height: the authors' rule pads such films to even first.
PHANTOM = PhantomConfig(
    n_patients=4, images_per_patient=2, height=97, width=64, labels="exclusive", readers=1,
    gaze="samples", seed=3,
)  # fmt: skip
ROWS = len(phantom_cohort(PHANTOM))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    write_egd_cxr(root / "egd", PHANTOM, films=root / "mimic")
    return root


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    """A copy whose files a test may spoil."""
    shutil.copytree(published, tmp_path / "copy")
    return tmp_path / "copy"


def _config(root: Path, layout: str = "dicom", **options: object) -> EgdCxrConfig:
    films = {"root": root / "mimic", "layout": layout}
    return EgdCxrConfig.model_validate({"root": root / "egd", "images": films, **options})


def _read(root: Path, layout: str = "dicom", **options: object) -> Cohort:
    return egd_cxr_cohort(_config(root, layout, **options), "egd")


def _gaze(cohort: Cohort) -> pd.DataFrame:
    assert cohort.gaze is not None
    return cohort.gaze.frame()


def _edit(path: Path, change: dict[int, dict[str, object]]) -> None:
    """Change cells of a CSV; rows are counted from 0."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for row, cells in change.items():
        for column, value in cells.items():
            table.loc[row, column] = str(value)
    table.to_csv(path, index=False)


def _first_row_of_a_film(path: Path) -> int:
    table = pd.read_csv(path, dtype=str)
    return int(np.flatnonzero(table["DICOM_ID"].str.len() == 44)[0])


def test_labels_names_and_sizes_are_those_of_the_phantom(published: Path) -> None:
    cohort, phantom = _read(published), phantom_cohort(PHANTOM)
    names = mimic_names(phantom)
    assert cohort.pathologies == ("Normal", "CHF", "pneumonia")
    assert cohort.exclusive
    assert cohort.patient_namespace == "mimic"
    np.testing.assert_array_equal(cohort.labels, phantom.labels)
    assert cohort.table["image_id"].tolist() == names["dicom_id"].tolist()
    assert cohort.table["patient_id"].tolist() == names["patient"].tolist()
    assert cohort.table["study_id"].tolist() == names["study"].tolist()
    assert set(zip(cohort.table["height"], cohort.table["width"], strict=True)) == {(97, 64)}
    assert {"gender", "anchor_age", "stay_id"} <= set(cohort.table)
    assert not cohort.problems
    check_splits(cohort)


def test_masks_and_boxes_are_those_of_the_phantom(published: Path) -> None:
    cohort, phantom = _read(published), phantom_cohort(PHANTOM)
    assert cohort.organs == ("left_lung", "right_lung", "mediastinum")
    assert cohort.masks is not None
    assert phantom.masks is not None
    for row in range(ROWS):
        masks = phantom.masks(row)
        np.testing.assert_array_equal(cohort.masks(row), masks)
        for name, mask in zip(
            ("left lung", "right lung", "cardiac silhouette"), masks, strict=True
        ):
            down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            # The published columns are ordered x1, x2, y1, y2: they are addressed by name.
            box = cohort.table.loc[row, [f"{name}_{corner}" for corner in ("x1", "y1", "x2", "y2")]]
            assert list(box) == [across[0], down[0], across[-1] + 1, down[-1] + 1]


@pytest.mark.parametrize("gaze", ["samples", "fixations"])
def test_points_are_those_of_the_phantom(published: Path, gaze: str) -> None:
    found = _gaze(_read(published, gaze=gaze))
    expected = _gaze(phantom_cohort(PHANTOM.model_copy(update={"gaze": gaze})))
    inside = (expected["x"] > 0) & (expected["x"] < 64) & (expected["y"] > 0) & (expected["y"] < 97)
    expected = expected[inside].reset_index(drop=True)
    assert len(found) == len(expected)
    assert found["row"].tolist() == expected["row"].tolist()
    # Whole pixels of a film padded to 98 rows, which the rule counts for its 97.
    np.testing.assert_allclose(found["x"], expected["x"], atol=0.6)
    np.testing.assert_allclose(found["y"], expected["y"], atol=0.6)
    np.testing.assert_allclose(found["start"], expected["start"], atol=1e-5)
    np.testing.assert_allclose(found["duration"], expected["duration"], atol=1e-5)


def test_a_published_position_is_the_middle_of_its_pixel(published: Path) -> None:
    whole, exact = _gaze(_read(published)), _gaze(_read(published, position="fixation"))
    assert len(whole) == len(exact)
    for axis in "xy":
        np.testing.assert_allclose(np.floor(exact[axis]) + 0.5, whole[axis])
    best = _gaze(_read(published, position="best"))
    np.testing.assert_array_equal(best["x"], exact["x"])


def test_the_screen_mapping_is_the_authors() -> None:
    """Their loop: scale by the even size, beside the film is marked, then whole pixels."""
    rng = np.random.default_rng(0)
    size = (3057, 2545)
    left, right, top, bottom = screen_pads(size)
    x, y = rng.uniform(0, 1, 500), rng.uniform(0, 1, 500)
    pads, sizes = np.tile([left, right, top, bottom], (500, 1)), np.tile(size, (500, 1))
    found_x, found_y = screen_to_film(x, y, pads.astype(float), sizes.astype(float))
    for i in range(500):
        eye_x, eye_y = x[i] * 1920, y[i] * 1080
        if left < eye_x < 1920 - right and top < eye_y < 1080 - bottom:
            assert int(found_x[i]) == int(2546 / (1920 - left - right) * (eye_x - left))
            assert int(found_y[i]) == int(3058 / (1080 - top - bottom) * (eye_y - top))
        else:
            assert math.isnan(found_x[i])
            assert math.isnan(found_y[i])
    assert 100 < np.isfinite(found_x).sum() < 400


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("layout", ["dicom", "jpg", "by_id"])
def test_image_and_gaze_stay_together_through_the_dataset(
    tmp_path: Path, fit: str, layout: str
) -> None:
    config = PHANTOM.model_copy(update={"n_patients": 2, "images_per_patient": 1})
    write_egd_cxr(tmp_path / "egd", config, films=tmp_path / "mimic", layout=layout)
    gaze = GazeConfig(recipe=Recipe(sigma=0.05))
    mine, theirs = (
        GazeDataset(cohort, (48, 56), fit=fit, gaze=gaze)  # type: ignore[arg-type]
        for cohort in (_read(tmp_path, layout), phantom_cohort(config))
    )
    for row in range(2):
        one, other = mine[0, row][0], theirs[0, row][0]
        assert one["valid"].equal(other["valid"])
        assert one["frame"].equal(other["frame"])
        assert float((one["image"] - other["image"]).abs().max()) < 0.03
        assert float((one["saliency"] - other["saliency"]).abs().sum()) < 0.05
        # Not so if left and right were swapped.
        assert float((one["saliency"].flip(-1) - other["saliency"]).abs().sum()) > 0.1
        assert float((one["image"].flip(-1) - other["image"]).abs().max()) > 0.2


def test_calibration_screens_are_counted_and_left_out(published: Path) -> None:
    """Their ids are cut short by five characters, and begin as a film's may."""
    raw = pd.read_csv(published / "egd" / "eye_gaze.csv")
    short = raw["DICOM_ID"].str.len() == 39
    assert short.any()
    cohort = _read(published)
    note = next(note for note in cohort.notes if "calibration" in note)
    assert f"eye_gaze.csv: {int(short.sum())} row(s) of 1 calibration screen(s)" in note
    assert "1 of them begin as a film's id does" in note
    beside = int(((raw["X_ORIGINAL"] < 0) & ~short).sum())
    assert beside
    assert any(f"{beside} of {int((~short).sum())} row(s) look beside" in n for n in cohort.notes)
    assert len(_gaze(cohort)) == len(raw) - short.sum() - beside


@pytest.mark.parametrize("column", ["TIME(in secs)", "Time (in secs)", "time (in secs)"])
def test_the_time_column_may_be_spelled_as_in_the_paper(copied: Path, column: str) -> None:
    expected = _gaze(_read(copied))
    path = copied / "egd" / "eye_gaze.csv"
    path.write_text(path.read_text().replace("Time (in secs)", column, 1))
    pd.testing.assert_frame_equal(_gaze(_read(copied)), expected)


def test_older_sheets_name_the_paddings_otherwise(copied: Path) -> None:
    expected = _gaze(_read(copied, position="fixation"))
    path = copied / "egd" / "master_sheet.csv"
    path.write_text(path.read_text().replace("_pad", ""))
    pd.testing.assert_frame_equal(_gaze(_read(copied, position="fixation")), expected)
    path.write_text(path.read_text().replace("image_left", "left"))
    with pytest.raises(DataError, match="no column 'image_left_pad', nor the older 'image_left'"):
        _read(copied)


@pytest.mark.parametrize(("validity", "column"), [("fixation", "FPOGV"), ("best", "BPOGV")])
def test_invalid_rows_are_dropped_where_asked(published: Path, validity: str, column: str) -> None:
    raw = pd.read_csv(published / "egd" / "eye_gaze.csv")
    films = raw[raw["DICOM_ID"].str.len() == 44]
    invalid = int((films[column] == 0).sum())
    assert 0 < invalid < len(films) / 2
    cohort = _read(published, validity=validity)
    assert len(_gaze(cohort)) == int(((films[column] == 1) & (films["X_ORIGINAL"] >= 0)).sum())
    assert any(f"{invalid} of {len(films)} row(s) invalid ({column})" in n for n in cohort.notes)


def test_a_look_beside_the_film_is_an_error_where_asked(published: Path) -> None:
    raw = pd.read_csv(published / "egd" / "eye_gaze.csv")
    line = int(np.flatnonzero((raw["X_ORIGINAL"] < 0).to_numpy())[0]) + 2
    with pytest.raises(
        DataError, match=rf"csv, line {line}: the look is beside the film, and outside is 'err"
    ):
        _read(published, outside="error")


def test_phases_are_told_by_the_first_word(published: Path) -> None:
    whole = _gaze(_read(published))
    image = str(mimic_names(phantom_cohort(PHANTOM))["dicom_id"].iat[1])
    first = egd_phrases(published / "egd", image)[0].start
    part = whole[whole["row"] == 1]
    assert set(part["phase"]) == {"search", "dictation"}
    assert part["phase"].eq("search").equals(part["start"] < first)
    for phase in ("search", "dictation"):
        cohort = _read(published, phase=phase)
        kept = whole[whole["phase"] == phase].reset_index(drop=True)
        pd.testing.assert_frame_equal(_gaze(cohort), kept)
        assert any(f"not in phase '{phase}'" in note for note in cohort.notes)
    with pytest.raises(ValidationError, match="set segmentation to true"):
        _config(published, phase="search", segmentation=False)


def test_samples_become_fixations_where_asked(published: Path) -> None:
    detect = DetectConfig(method="idt", dispersion=1.5)
    # On the screen a film pixel is 1080 / 98 pixels: so many make the phantom's own degree.
    per_degree = PHANTOM.degree * 1080 / 98
    cohort = _read(published, detect=detect, position="best", screen_pixels_per_degree=per_degree)
    assert cohort.gaze is not None
    assert not cohort.gaze.samples
    np.testing.assert_allclose(cohort.gaze.pixels_per_degree, PHANTOM.degree, rtol=0.01)
    found, planted = _gaze(cohort), _gaze(_read(published, gaze="fixations"))
    assert 0.5 < len(found) / len(planted) < 1.5
    assert found["duration"].min() >= 0.1 - 1e-9
    assert set(found["phase"]) == {"search", "dictation"}
    assert set(found["reader"]) == {"radiologist"}
    with pytest.raises(ConfigError, match="pixels per degree"):
        _read(published, detect=detect)
    with pytest.raises(ValidationError, match="set gaze to 'samples'"):
        _config(published, detect=detect, gaze="fixations")


def test_without_the_segmentation_folder_there_are_no_masks_and_no_phases(copied: Path) -> None:
    shutil.rmtree(copied / "egd" / SEGMENTATION)
    cohort = _read(copied, segmentation=False)
    assert cohort.organs == ()
    assert cohort.masks is None
    assert "phase" not in _gaze(cohort)
    with pytest.raises(DataError, match="the folder is missing: masks and transcript"):
        _read(copied)


def test_half_copied_folders_are_reported(copied: Path) -> None:
    names = mimic_names(phantom_cohort(PHANTOM))["dicom_id"]
    folder = copied / "egd" / SEGMENTATION
    shutil.rmtree(folder / names[0])
    (folder / names[1] / "mediastinum.png").unlink()
    (folder / names[2] / "transcript.json").unlink()
    (folder / names[3] / "transcript.json").write_text('{"time_stamped_text": [{"phrase": "a"}]}')
    with pytest.raises(DataError, match=r"half copied.*on_error: skip"):
        _read(copied)
    cohort = _read(copied, on_error="skip")
    reports = [str(problem) for problem in cohort.problems]
    assert len(reports) == 4
    for name, words in zip(
        names[:4], ("folder is missing", "mediastinum.png: the mask is missing", "does not exist",
                    "expected time_stamped_text"), strict=True,
    ):  # fmt: skip
        assert any(name in report and words in report for report in reports)
    assert cohort.masks is not None
    masks = cohort.masks(1)
    assert np.isnan(masks[2]).all()
    assert not np.isnan(masks[:2]).any()
    assert np.isnan(cohort.masks(0)).all()
    gaze = _gaze(cohort)
    assert [set(gaze["phase"][gaze["row"] == row]) for row in (0, 2)] == [{""}, {""}]
    assert len(cohort) == ROWS


def test_a_missing_film_is_reported_with_the_line_that_names_it(copied: Path) -> None:
    path = Path(str(_read(copied).table["path"].iat[1]))
    path.unlink()
    with pytest.raises(DataError, match=r"master_sheet.csv, line 3: .*does not exist"):
        _read(copied)
    cohort = _read(copied, on_error="skip")
    assert len(cohort) == ROWS - 1
    assert [problem.line for problem in cohort.problems] == [3]
    assert any("row(s) of 1 film(s) not in the cohort" in note for note in cohort.notes)
    assert any("bounding_boxes.csv: 3 box(es) of films outside" in note for note in cohort.notes)


def test_the_folder_of_films_must_be_of_its_layout(copied: Path) -> None:
    with pytest.raises(DataError, match=r"holds 'files'.*layout 'by_id'"):
        egd_cxr_cohort(
            EgdCxrConfig(root=copied / "egd", images=FilmFolder(root=copied / "mimic" / "files")),
            "egd",
        )
    with pytest.raises(DataError, match=r"images.root\) does not exist"):
        egd_cxr_cohort(
            EgdCxrConfig(root=copied / "egd", images=FilmFolder(root=copied / "nowhere")), "egd"
        )


def test_two_files_of_one_film_are_refused(tmp_path: Path) -> None:
    config = PHANTOM.model_copy(update={"n_patients": 1, "images_per_patient": 1})
    write_egd_cxr(tmp_path / "egd", config, films=tmp_path / "mimic", layout="by_id")
    film = next((tmp_path / "mimic").iterdir())
    shutil.copy(film, film.with_suffix(".jpg"))
    with pytest.raises(DataError, match="stands in .* too"):
        _read(tmp_path, "by_id")


def test_resized_films_are_refused_as_gaze_would_be_misplaced(tmp_path: Path) -> None:
    write_egd_cxr(tmp_path / "egd", PHANTOM, films=tmp_path / "mimic", layout="by_id")
    for path in (tmp_path / "mimic").iterdir():
        Image.open(path).resize((256, 388)).save(path)
    with pytest.raises(
        DataError,
        match=r"eye_gaze.csv: .* Y_ORIGINAL do not follow .*films of full size",
    ):
        _read(tmp_path, "by_id")


def test_fractions_are_not_pixels(copied: Path) -> None:
    path = copied / "egd" / "fixations.csv"
    table = pd.read_csv(path)
    table["X_ORIGINAL"], table["Y_ORIGINAL"] = table["FPOGX"], table["FPOGY"]
    table.loc[:, ["FPOGX", "FPOGY"]] = -1.0  # as if the screen positions were not there to compare
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"fixations.csv: .*they seem to be fractions"):
        _read(copied, gaze="fixations")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"FPOGD": -0.2}, "the duration is negative"),
        ({"FPOGD": ""}, "the time or the duration is empty"),
        ({"FPOGS": "soon"}, "column 'FPOGS' must be a finite number"),
        ({"FPOGS": -5}, "the time is not after those of the rows above"),
    ],
)
def test_a_slip_in_the_gaze_is_reported_with_its_line(
    copied: Path, cells: dict[str, object], words: str
) -> None:
    path = copied / "egd" / "fixations.csv"
    row = _first_row_of_a_film(path) + 3
    total = len(_gaze(_read(copied, gaze="fixations", outside="keep")))
    _edit(path, {row: cells})
    with pytest.raises(DataError, match=rf"fixations.csv, line {row + 2}: .*{words}"):
        _read(copied, gaze="fixations")
    cohort = _read(copied, gaze="fixations", outside="keep", on_error="skip")
    assert len(_gaze(cohort)) == total - 1
    assert [(problem.line, words in problem.what) for problem in cohort.problems] == [
        (row + 2, True)
    ]


def test_repeated_and_unsorted_rows_are_reported(copied: Path) -> None:
    path = copied / "egd" / "eye_gaze.csv"
    clean = _gaze(_read(copied))
    lines = path.read_text().splitlines()
    row = _first_row_of_a_film(path) + 41
    twice = [*lines[: row + 12], *lines[row : row + 12], *lines[row + 12 :]]
    path.write_text("\n".join(twice) + "\n")
    with pytest.raises(DataError, match=rf"line {row + 13}: the row is a repeat"):
        _read(copied)
    cohort = _read(copied, on_error="skip")
    assert len(cohort.problems) == 11  # ten by one, and one for the rest
    assert "2 more row(s)" in cohort.problems[-1].what
    pd.testing.assert_frame_equal(_gaze(cohort), clean)


@pytest.mark.parametrize("fault", ["bom", "semicolons", "tabs", "blank_lines", "renamed_column"])
@pytest.mark.parametrize("file", ["fixations.csv", "bounding_boxes.csv"])
def test_spoiled_tables_are_read_or_refused_by_name(copied: Path, fault: Fault, file: str) -> None:
    expected = _read(copied, gaze="fixations")
    path = copied / "egd" / file
    if fault == "renamed_column":
        text = path.read_text()
        path.write_text(re.sub("(?i)dicom_id", "image", text, count=1))
    else:
        spoil_table(path, fault)
    if fault in ("bom", "blank_lines"):
        cohort = _read(copied, gaze="fixations")
        pd.testing.assert_frame_equal(_gaze(cohort), _gaze(expected))
        pd.testing.assert_frame_equal(cohort.table, expected.table)
        return
    words = {
        "semicolons": "semicolons",
        "tabs": "tabs",
        "renamed_column": "no column '(dicom_id|DICOM_ID)",
    }
    with pytest.raises(DataError, match=rf"{file}.*{words[fault]}"):
        _read(copied, gaze="fixations")


def test_a_file_cut_short_is_reported(copied: Path) -> None:
    path = copied / "egd" / "eye_gaze.csv"
    text = path.read_text()
    path.write_text(text[: len(text) - 60])
    with pytest.raises(DataError, match=r"eye_gaze.csv, line \d+: "):
        _read(copied, outside="error", validity="all")
    path.unlink()
    with pytest.raises(DataError, match=r"eye_gaze.csv: the file does not exist"):
        _read(copied)


def test_gaze_of_other_films_alone_is_refused(copied: Path) -> None:
    path = copied / "egd" / "fixations.csv"
    table = pd.read_csv(path)
    table["DICOM_ID"] = "a" * 44
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match="no row names a film of the cohort, e.g. 'aaa"):
        _read(copied, gaze="fixations")


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"Normal": 1, "CHF": 1, "pneumonia": 0}, "exactly one of Normal, CHF, pneumonia"),
        ({"Normal": 0, "CHF": 0, "pneumonia": 0}, "exactly one"),
        ({"CHF": "yes"}, "column 'CHF' must be a finite number"),
        ({"image_left_pad": ""}, "must be a finite number"),
        ({"dicom_id": "short"}, "must have 44 characters"),
    ],
)
def test_a_slip_in_the_sheet_is_reported_with_its_line(
    copied: Path, cells: dict[str, object], words: str
) -> None:
    _edit(copied / "egd" / "master_sheet.csv", {2: cells})
    with pytest.raises(DataError, match=rf"master_sheet.csv, line 4: .*{words}"):
        _read(copied)
    cohort = _read(copied, on_error="skip")
    assert len(cohort) == ROWS - 1
    assert [problem.line for problem in cohort.problems] == [4]


def test_a_film_named_twice_is_reported(copied: Path) -> None:
    path = copied / "egd" / "master_sheet.csv"
    spoil_table_lines = path.read_text().splitlines()
    path.write_text("\n".join([*spoil_table_lines, spoil_table_lines[-1]]) + "\n")
    with pytest.raises(DataError, match="repeats line"):
        _read(copied)
    assert len(_read(copied, on_error="skip")) == ROWS


def test_upside_down_boxes_are_reported(copied: Path) -> None:
    _edit(copied / "egd" / "bounding_boxes.csv", {1: {"x2": 0.0}})
    with pytest.raises(DataError, match=r"bounding_boxes.csv, line 3: .*x1 < x2"):
        _read(copied)
    table = _read(copied, on_error="skip").table
    assert table.filter(like="_x1").iloc[0].isna().sum() == 1


def test_transcripts_are_read_as_sentences(published: Path) -> None:
    image = str(mimic_names(phantom_cohort(PHANTOM))["dicom_id"].iat[0])
    phrases = egd_phrases(published / "egd", image)
    raw = json.loads((published / "egd" / SEGMENTATION / image / "transcript.json").read_text())
    assert [phrase.text for phrase in phrases] == [
        part["phrase"] for part in raw["time_stamped_text"]
    ]
    assert phrases[0].start == raw["time_stamped_text"][0]["begin_time"]
    assert phrases[-1].end == raw["time_stamped_text"][-1]["end_time"]


def test_the_layout_is_the_same_every_time(published: Path, tmp_path: Path) -> None:
    write_egd_cxr(tmp_path / "egd", PHANTOM, films=tmp_path / "mimic")
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 4 + ROWS * 5
    for file in files:
        assert (tmp_path / file).read_bytes() == (published / file).read_bytes()

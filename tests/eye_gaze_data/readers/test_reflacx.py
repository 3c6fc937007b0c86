import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import ValidationError

from eye_gaze_data.cohort import Cohort, merge
from eye_gaze_data.config import DetectConfig, GazeConfig, Recipe
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.gaze import WINDOW_COLUMNS
from eye_gaze_data.layouts.egd_cxr import write_egd_cxr
from eye_gaze_data.layouts.mimic_names import mimic_names
from eye_gaze_data.layouts.reflacx import LABELS, READERS, readings_of, write_reflacx
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort
from eye_gaze_data.readers.egd_cxr import egd_cxr_cohort
from eye_gaze_data.readers.gaze_config import EgdCxrConfig, FilmFolder, ReflacxConfig
from eye_gaze_data.readers.reflacx import reflacx_cohort
from eye_gaze_data.readers.reflacx_reading import read_words
from eye_gaze_data.splits import check_splits

PHANTOM = PhantomConfig(n_patients=6, height=97, width=64, seed=5, readers=READERS, prevalence=0.5)
COHORT = phantom_cohort(PHANTOM)
NAMES = mimic_names(COHORT)
READINGS = readings_of(COHORT, 2, 2)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    write_reflacx(root / "reflacx", PHANTOM, films=root / "mimic", samples=True)
    return root


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    """A copy whose files a test may spoil."""
    shutil.copytree(published, tmp_path / "copy")
    return tmp_path / "copy"


def _config(root: Path, layout: str = "dicom", **options: object) -> ReflacxConfig:
    films = {"root": root / "mimic", "layout": layout}
    return ReflacxConfig.model_validate({"root": root / "reflacx", "images": films, **options})


def _read(root: Path, layout: str = "dicom", **options: object) -> Cohort:
    return reflacx_cohort(_config(root, layout, **options), "reflacx")


def _gaze(cohort: Cohort) -> pd.DataFrame:
    assert cohort.gaze is not None
    return cohort.gaze.frame()


def _sheet(root: Path, phase: int) -> pd.DataFrame:
    return pd.read_csv(root / "reflacx" / "main_data" / f"metadata_phase_{phase}.csv")


def _folder(root: Path, place: int) -> Path:
    return root / "reflacx" / "main_data" / READINGS[place][3]


def _edit(path: Path, row: int, **cells: object) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column, value in cells.items():
        table.loc[row, column] = str(value)
    table.to_csv(path, index=False)


def test_films_names_and_splits_are_those_of_the_phantom(published: Path) -> None:
    cohort = _read(published)
    table = cohort.table
    assert table["image_id"].tolist() == NAMES["dicom_id"].tolist()
    assert table["patient_id"].tolist() == NAMES["patient"].tolist()
    assert table["study_id"].tolist() == NAMES["study"].tolist()
    assert table["phase"].tolist() == [1, 1, 2, 2, 3, 3]
    assert table["readings"].tolist() == [5, 5, 5, 5, 1, 1]
    assert table["split"].tolist() == COHORT.table["split"].tolist()
    assert set(zip(table["height"], table["width"], strict=True)) == {(97, 64)}
    assert cohort.patient_namespace == "mimic"
    assert not cohort.exclusive
    assert not cohort.problems
    check_splits(cohort)
    by_patient = _read(published, split="patient", fractions={"test": 1.0}).table["split"]
    assert set(by_patient) == {"test"}


def test_labels_differ_by_phase_and_other_is_none(published: Path) -> None:
    cohort = _read(published)
    assert set(cohort.pathologies) == {*LABELS[1], *LABELS[2]}
    assert "Other" not in cohort.table
    early, later = cohort.table.iloc[:2], cohort.table.iloc[2:]
    only_early = sorted(set(LABELS[1]) - set(LABELS[2]))
    only_later = sorted(set(LABELS[2]) - set(LABELS[1]))
    assert early[only_later].isna().all().all()
    assert later[only_early].isna().all().all()
    assert later[only_later].notna().all().all()
    assert _read(published, phases=[2, 3]).pathologies == LABELS[2]
    with pytest.raises(ValidationError, match="phases"):
        _config(published, phases=[])


@pytest.mark.parametrize("agreement", ["any", "majority", "all"])
@pytest.mark.parametrize("threshold", [3, 4, 5])
def test_certainties_of_all_readers_are_resolved(
    published: Path, agreement: str, threshold: int
) -> None:
    cohort = _read(published, agreement=agreement, threshold=threshold)
    seen = set()
    for phase in (1, 2, 3):
        for name, readings in _sheet(published, phase).groupby("dicom_id"):
            row = cohort.table.set_index("image_id").loc[name]
            for label in LABELS[phase]:
                raw = readings[label].astype(float)
                yes = raw.gt(0.5) if raw.max() <= 1 else raw.ge(threshold)
                share = yes.mean()
                expected = {"any": share > 0, "all": share == 1, "majority": share > 0.5}[agreement]
                assert row[label] == float(expected)
                assert row[f"raw_{label}"] == pytest.approx(raw.mean())
                seen.add((label == "Support devices", share))
    assert len(seen) > 3


def test_a_tie_of_readers_is_not_stated(copied: Path) -> None:
    path = copied / "reflacx" / "main_data" / "metadata_phase_1.csv"
    sheet = pd.read_csv(path, dtype=str, keep_default_na=False)
    sheet.loc[:3, "Atelectasis"] = ["5", "5", "0", "2"]
    sheet.loc[4, "Atelectasis"] = ""  # a reader who states nothing has no vote
    sheet.to_csv(path, index=False)
    for agreement, value in (("majority", np.nan), ("any", 1.0), ("all", 0.0)):
        table = _read(copied, agreement=agreement).table
        np.testing.assert_equal(table["Atelectasis"].iat[0], value)
        assert table["raw_Atelectasis"].iat[0] == 3


def test_booleans_have_no_threshold(published: Path) -> None:
    for threshold in (0, 5):
        table = _read(published, threshold=threshold).table
        assert table["Support devices"].tolist() == [1, 0, 1, 0, 1, 0]
        assert table["Quality issue"].tolist()[:2] == [1, 0]
        assert table["raw_Support devices"].tolist() == [1, 0, 1, 0, 1, 0]


def test_fixations_are_those_of_the_phantom(published: Path) -> None:
    found = _gaze(_read(published, outside="keep"))
    assert COHORT.gaze is not None
    discarded = {READINGS[0][3], READINGS[10][3]}
    assert {reading for *_, reading in READINGS} - set(found["reader"]) == discarded
    for row, _, reader, reading in READINGS:
        if reading in discarded:
            continue
        whole = COHORT.gaze.of(row)
        expected = whole.of_reader(whole.readers[reader])
        part = found[found["reader"] == reading]
        assert set(part["row"]) == {row}
        np.testing.assert_allclose(part["x"], np.floor(expected.x) + 0.5)
        np.testing.assert_allclose(part["y"], np.floor(expected.y) + 0.5)
        np.testing.assert_allclose(part["start"], expected.start, atol=5e-4)
        np.testing.assert_allclose(part["duration"], expected.duration, atol=1e-3)


def test_degrees_and_windows_of_points_are_read(published: Path) -> None:
    cohort = _read(published)
    gaze = _gaze(cohort)
    degree = round(PHANTOM.degree)
    zoomed = gaze["window_x2"] - gaze["window_x1"] < 64
    assert 0.1 < zoomed.mean() < 0.3
    assert set(gaze["ppd_x"][~zoomed]) == {degree}
    assert set(gaze["ppd_y"][~zoomed]) == {degree + 1}
    assert set(gaze["ppd_x"][zoomed]) == {round(PHANTOM.degree / 2)}
    inside = (gaze["x"] >= gaze["window_x1"]) & (gaze["x"] < gaze["window_x2"])
    inside &= (gaze["y"] >= gaze["window_y1"]) & (gaze["y"] < gaze["window_y2"])
    assert inside.all()
    assert cohort.gaze is not None
    np.testing.assert_allclose(cohort.gaze.pixels_per_degree, degree + 0.5)


def test_the_reflacx_recipe_clips_to_what_was_shown(published: Path) -> None:
    cohort = _read(published)
    dataset = GazeDataset(cohort, (97, 64), gaze=GazeConfig(preset="reflacx"))
    row = 4
    assert cohort.gaze is not None
    gaze = cohort.gaze.of(row).within((97, 64))
    expected = np.zeros((97, 64))
    x1, y1, x2, y2 = (gaze.optional[name].astype(int) for name in WINDOW_COLUMNS)
    rows, columns = np.mgrid[:97, :64]
    for i in range(len(gaze)):
        sx, sy = gaze.optional["ppd_x"][i], gaze.optional["ppd_y"][i]
        # The authors count in pixel indices: the published position, and not its middle.
        across, down = (columns - np.floor(gaze.x[i])) / sx, (rows - np.floor(gaze.y[i])) / sy
        pdf = np.exp(-(across**2 + down**2) / 2) / (sx * sy)
        shown = (columns >= x1[i]) & (columns < x2[i]) & (rows >= y1[i]) & (rows < y2[i])
        expected += gaze.duration[i] * pdf * shown
    density = dataset[0, row][0]["saliency"][0].numpy()
    np.testing.assert_allclose(density, expected / expected.sum(), atol=1e-7)


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("layout", ["dicom", "jpg", "by_id"])
def test_image_and_gaze_stay_together_through_the_dataset(
    tmp_path: Path, fit: str, layout: str
) -> None:
    config = PHANTOM.model_copy(update={"n_patients": 2})
    write_reflacx(
        tmp_path / "reflacx", config, films=tmp_path / "mimic", layout=layout, first=0, second=1
    )
    gaze = GazeConfig(recipe=Recipe(sigma=0.05))
    cohort = _read(tmp_path, layout, phases=[2, 3])
    mine = GazeDataset(cohort, (48, 56), fit=fit, gaze=gaze)  # type: ignore[arg-type]
    theirs = GazeDataset(phantom_cohort(config), (48, 56), fit=fit, gaze=gaze)  # type: ignore[arg-type]
    one, other = mine[0, 0][0], theirs[0, 0][0]
    assert one["valid"].equal(other["valid"])
    assert float((one["image"] - other["image"]).abs().max()) < 0.03
    assert float((one["image"].flip(-1) - other["image"]).abs().max()) > 0.2
    # Four of the five readings: the first was discarded.
    assert float((one["saliency"] - other["saliency"]).abs().sum()) < 0.25
    shifted = float((one["saliency"].flip(-1) - other["saliency"]).abs().sum())
    assert shifted > float((one["saliency"] - other["saliency"]).abs().sum())


def test_discarded_readings_are_counted_and_keep_their_labels(published: Path) -> None:
    cohort = _read(published)
    assert "metadata: the eye tracking of 2 reading(s) was discarded" in cohort.notes
    assert cohort.gaze is not None
    assert [len(cohort.gaze.of(row).readers) for row in range(6)] == [4, 5, 4, 5, 1, 1]
    assert cohort.table["readings"].tolist()[0] == 5
    assert cohort.boxes is not None
    assert cohort.boxes.known.all()


def test_a_reader_is_the_id_of_the_reading(published: Path) -> None:
    """Who read what is not published."""
    gaze = _gaze(_read(published))
    assert set(gaze["reader"]) <= {reading for *_, reading in READINGS}


def test_ellipses_are_boxes_with_labels(published: Path) -> None:
    cohort = _read(published)
    assert cohort.boxes is not None
    assert COHORT.boxes is not None
    names = {
        "Cardiomegaly": "Enlarged cardiac silhouette", "Effusion": "Pleural abnormality",
        "Consolidation": "Consolidation", "Nodule": "Lung nodule or mass",
        "Pneumothorax": "Pneumothorax", "Edema": "Pulmonary edema",
    }  # fmt: skip
    for row in (4, 5):
        boxes, labels = cohort.boxes.of(row)
        planted, kinds = COHORT.boxes.of(row)
        found = sorted(
            (cohort.pathologies[label], *box)
            for label, box in zip(labels, boxes.tolist(), strict=True)
        )
        reader = row % READERS
        severity = COHORT.table.loc[row, [f"severity_{name}" for name in COHORT.pathologies]]
        sure = [float(severity.iloc[kind]) > 1 / 3 or reader % 2 == 0 for kind in kinds]
        expected = sorted(
            (names[COHORT.pathologies[kind]], *np.round(box).tolist())
            for kind, box, certain in zip(kinds, planted, sure, strict=True)
            if certain
        )
        assert found == expected
    certain = _read(published, threshold=5.0)
    assert certain.boxes is not None
    assert len(certain.boxes.frame()) < len(cohort.boxes.frame())


def test_the_chest_box_is_clipped_by_width_and_height_each(published: Path) -> None:
    """A published loader clips x by the height; the films here are higher than wide."""
    table = _read(published).table
    assert COHORT.masks is not None
    for row in range(6):
        mask = COHORT.masks(row).max(0) > 0
        down, across = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        readers = range(READERS) if row < 4 else [row % READERS]
        left = np.mean([max(across[0] - reader, 0) for reader in readers])
        right = np.mean([min(across[-1] + 1 + reader, 64) for reader in readers])
        found = table.loc[row, [f"chest_{corner}" for corner in ("x1", "y1", "x2", "y2")]]
        np.testing.assert_allclose(found.astype(float), [left, down[0], right, down[-1] + 1])


def test_phases_are_told_by_the_first_word_of_each_reading(published: Path) -> None:
    whole = _gaze(_read(published))
    for place in (1, 2, 20):
        words = read_words(_folder(published, place) / "timestamps_transcription.csv")
        part = whole[whole["reader"] == READINGS[place][3]]
        assert set(part["phase"]) == {"search", "dictation"}
        assert part["phase"].eq("search").equals(part["start"] < words[0].start)
    cohort = _read(published, phase="search")
    pd.testing.assert_frame_equal(
        _gaze(cohort), whole[whole["phase"] == "search"].reset_index(drop=True)
    )
    assert any("not in phase 'search', left out" in note for note in cohort.notes)


def test_raw_samples_have_blinks_which_are_counted(published: Path) -> None:
    cohort = _read(published, gaze="samples")
    assert cohort.gaze is not None
    assert cohort.gaze.samples
    gaze = _gaze(cohort)
    assert gaze[["x", "y"]].notna().all().all()
    assert gaze["duration"].median() == pytest.approx(1 / 60, abs=1e-3)
    lost = 6 * (len(READINGS) - 2)
    assert any(f": {lost} of" in note and "without a position" in note for note in cohort.notes)


def test_samples_become_fixations_by_their_own_degrees(published: Path) -> None:
    detect = DetectConfig(method="idt", dispersion=1.5)
    cohort = _read(published, gaze="samples", detect=detect)
    assert cohort.gaze is not None
    assert not cohort.gaze.samples
    found, planted = _gaze(cohort), _gaze(_read(published))
    assert 0.4 < len(found) / len(planted) < 1.5
    assert set(found["reader"]) == set(planted["reader"])
    assert found["duration"].min() >= 0.1 - 1e-9
    assert {"ppd_x", "window_x1", "phase"} <= set(found)


def test_a_missing_reading_folder_is_reported(copied: Path) -> None:
    shutil.rmtree(_folder(copied, 20))
    with pytest.raises(
        DataError,
        match=rf"{READINGS[20][3]}.*: the file does not exist; the folder seems to be half copied",
    ):
        _read(copied)
    cohort = _read(copied, on_error="skip")
    assert len(cohort) == 6
    assert cohort.gaze is not None
    assert len(cohort.gaze.of(4)) == 0
    assert cohort.boxes is not None
    assert cohort.boxes.known.tolist() == [True] * 4 + [False, True]
    assert cohort.table["chest_x1"].isna().tolist() == [False] * 4 + [True, False]
    reports = [str(problem) for problem in cohort.problems]
    assert len(reports) == 2
    assert any("folder of the reading is missing" in report for report in reports)


def test_half_copied_reading_folders_are_reported(copied: Path) -> None:
    (_folder(copied, 1) / "fixations.csv").unlink()
    (_folder(copied, 2) / "timestamps_transcription.csv").unlink()
    (_folder(copied, 3) / "anomaly_location_ellipses.csv").unlink()
    cohort = _read(copied, on_error="skip")
    reports = [str(problem) for problem in cohort.problems]
    assert len(reports) == 3
    for place, words in ((1, "no gaze of this reading"), (2, "phases of this reading left unknown"),
                         (3, "boxes of this reading left unknown")):  # fmt: skip
        assert any(READINGS[place][3] in report and words in report for report in reports)
    gaze = _gaze(cohort)
    assert READINGS[1][3] not in set(gaze["reader"])
    assert set(gaze["phase"][gaze["reader"] == READINGS[2][3]]) == {""}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"timestamp_end_fixation": 0.0}, "the duration is negative"),
        ({"timestamp_start_fixation": -9.0}, "the time is not after those of the rows above"),
        ({"x_position": ""}, "the position is empty"),
    ],
)
def test_a_slip_in_the_fixations_is_reported_with_its_line(
    copied: Path, cells: dict[str, object], words: str
) -> None:
    total = len(_gaze(_read(copied, outside="keep")))
    _edit(_folder(copied, 4) / "fixations.csv", 5, **cells)
    with pytest.raises(DataError, match=rf"{READINGS[4][3]}/fixations.csv, line 7: {words}"):
        _read(copied)
    cohort = _read(copied, outside="keep", on_error="skip")
    assert len(_gaze(cohort)) == total - 1
    assert [problem.line for problem in cohort.problems] == [7]


def test_a_fixations_file_that_is_no_table_is_reported(copied: Path) -> None:
    path = _folder(copied, 4) / "fixations.csv"
    text = path.read_bytes()
    for spoiled, words in (
        (text.replace(b",", b";"), "no column .*expected commas"),
        (text[:-40], r"line \d+: expected 17 columns, found \d+; the file seems to be cut short"),
        (text.replace(b"window_width", b"window_width,odd", 1), "expected 18 columns"),
        (text.replace(b"\r\n0.0", b"\r\nsoon", 1), "must be a finite number, found 'soon"),
        (b"\xff\xfe" + text, "cannot read it"),
    ):
        path.write_bytes(spoiled)
        with pytest.raises(DataError, match=words):
            _read(copied)
    path.write_bytes(b"\xef\xbb\xbf" + text)
    assert len(_gaze(_read(copied))) > 0


def test_an_ellipse_with_a_wrong_flag_or_upside_down_is_reported(copied: Path) -> None:
    place = next(
        i for i in range(len(READINGS))
        if len(pd.read_csv(_folder(copied, i) / "anomaly_location_ellipses.csv"))
    )  # fmt: skip
    path = _folder(copied, place) / "anomaly_location_ellipses.csv"
    text = path.read_bytes()
    _edit(path, 0, Pneumothorax="perhaps")
    with pytest.raises(DataError, match=r"line 2: column 'Pneumothorax' must be True or False"):
        _read(copied)
    path.write_bytes(text)
    _edit(path, 0, xmax=-4)
    with pytest.raises(DataError, match=r"line 2: expected xmin < xmax"):
        _read(copied)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"eye_tracking_data_discarded": "maybe"}, "must be True or False"),
        ({"split": "training"}, "must be one of train, validate, test"),
        ({"Pneumothorax": 6}, "must be a certainty from 0 to 5"),
        ({"Pneumothorax": "likely"}, "must be a finite number or empty"),
        ({"image_size_x": ""}, "must be a finite number"),
        ({"id": READINGS[-2][3]}, "(repeats|contradicts) line"),
    ],
)
def test_a_slip_in_the_metadata_is_reported_with_its_line(
    copied: Path, cells: dict[str, object], words: str
) -> None:
    row = 1 if "id" in cells else 0
    _edit(copied / "reflacx" / "main_data" / "metadata_phase_3.csv", row, **cells)
    with pytest.raises(DataError, match=rf"metadata_phase_3.csv, line {row + 2}: .*{words}"):
        _read(copied)


def test_a_missing_film_is_reported_with_the_line_that_names_it(copied: Path) -> None:
    path = Path(str(_read(copied).table["path"].iat[5]))
    path.unlink()
    with pytest.raises(DataError, match=r"metadata_phase_3.csv, line 3: .*does not exist"):
        _read(copied)
    cohort = _read(copied, on_error="skip")
    assert len(cohort) == 5
    assert "metadata: 1 reading(s) of films not in the cohort" in cohort.notes


def test_resized_films_are_refused_by_their_published_size(tmp_path: Path) -> None:
    config = PHANTOM.model_copy(update={"n_patients": 1})
    write_reflacx(tmp_path / "reflacx", config, films=tmp_path / "mimic", layout="by_id", first=0)
    film = next((tmp_path / "mimic").iterdir())
    Image.open(film).resize((32, 48)).save(film)
    with pytest.raises(DataError, match=r"line 2: .*of 32x48 pixels, published are 64x97"):
        _read(tmp_path, "by_id", phases=[2])


def test_gaze_in_screen_pixels_is_refused(copied: Path) -> None:
    for path in (copied / "reflacx" / "main_data").glob("*/fixations.csv"):
        table = pd.read_csv(path)
        table["x_position"] = table["x_position"].abs() * 60
        table.to_csv(path, index=False)
    with pytest.raises(DataError, match="expected gaze in pixels of the original films"):
        _read(copied)


def test_the_layout_is_the_same_every_time(published: Path, tmp_path: Path) -> None:
    write_reflacx(tmp_path / "reflacx", PHANTOM, films=tmp_path / "mimic", samples=True)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == 6 + 3 + len(READINGS) * 6 - 2 * 4
    for file in files:
        assert (tmp_path / file).read_bytes() == (published / file).read_bytes()
    with pytest.raises(ConfigError, match="REFLACX needs a phantom with multilabel findings"):
        write_reflacx(
            tmp_path, PHANTOM.model_copy(update={"labels": "exclusive"}), films=tmp_path / "mimic"
        )


def test_patients_shared_with_egd_cxr_are_seen(published: Path, tmp_path: Path) -> None:
    """Both name patients of MIMIC-CXR: one in two splits is an error across cohorts."""
    config = PHANTOM.model_copy(update={"labels": "exclusive", "readers": 1})
    write_egd_cxr(tmp_path / "egd", config, films=tmp_path / "mimic")
    films = FilmFolder(root=tmp_path / "mimic")
    egd = EgdCxrConfig(root=tmp_path / "egd", images=films, fractions={"test": 1.0})
    together = merge([_read(published), egd_cxr_cohort(egd, "egd")])
    assert set(together.table["patient_id"]) == {f"mimic/{name}" for name in NAMES["patient"]}
    with pytest.raises(DataError, match="stand in two splits"):
        check_splits(together)
    together = merge([_read(published, split="patient"), egd_cxr_cohort(
        egd.model_copy(update={"fractions": {"train": 0.7, "valid": 0.1, "test": 0.2}}), "egd"
    )])  # fmt: skip
    check_splits(together)
    assert together.gaze is not None
    assert "ppd_x" in together.gaze.of(0).optional

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import DataError
from eye_gaze_data.geometry import Fit
from eye_gaze_data.layouts.nih_chestxray14 import write_nih_chestxray14
from eye_gaze_data.layouts.written import spoil_table
from eye_gaze_data.phantom import FINDINGS
from eye_gaze_data.readers.label_config import NihConfig
from eye_gaze_data.readers.nih_chestxray14 import nih_chestxray14_cohort
from eye_gaze_data.readers.vocabulary import NIH_LABELS
from eye_gaze_data.splits import check_splits
from tests.eye_gaze_data.readers.written import (
    PHANTOM,
    boxes_of,
    check_every_finding_is_drawn,
    check_geometry,
    drawn,
)

ENTRIES = "Data_Entry_2017_v2020.csv"
NAMES = {"Infiltration": "Consolidation"}
Edit = Callable[[str], str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nih")
    write_nih_chestxray14(root, PHANTOM)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(written, tmp_path / "nih"))


def _read(root: Path, **options: object) -> Cohort:
    return nih_chestxray14_cohort(NihConfig.model_validate({"root": root, **options}), "nih")


def _edit(path: Path, change: Edit) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def test_the_layout_comes_back_as_drawn(written: Path) -> None:
    check_every_finding_is_drawn()
    cohort, phantom = _read(written), drawn()
    table = cohort.table
    assert len(cohort) == len(phantom)
    assert cohort.pathologies == NIH_LABELS
    for finding in FINDINGS:
        name = "Infiltration" if finding == "Consolidation" else finding
        np.testing.assert_array_equal(table[name], phantom.table[finding])
    never = [name for name in NIH_LABELS if name not in FINDINGS and name != "Infiltration"]
    assert (table[[*never, "Consolidation"]] == 0).all(axis=None)
    assert table["view"].tolist() == phantom.table["view"].tolist()
    assert table["age"].tolist() == phantom.table["age"].tolist()
    assert set(table["sex"]) == {"M", "F"}
    assert set(table["source"]) == {"nih_chestxray14"}
    assert table["image_id"].iat[1] == "00000001_001.png"
    patients = table["patient_id"].astype(int) - 1
    assert patients.tolist() == [int(name[1:]) for name in phantom.table["patient_id"]]
    for row in range(len(cohort)):
        assert boxes_of(cohort, row, NAMES) == boxes_of(phantom, row)
    assert not cohort.problems


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("row", [0, 4])
def test_an_asymmetric_film_stays_upright(written: Path, fit: Fit, row: int) -> None:
    check_geometry(_read(written), row, row, tolerance=0.51 / 255, fit=fit)


def test_trap_header_names_with_commas_are_eleven_columns(written: Path) -> None:
    header = (written / ENTRIES).read_text(encoding="utf-8").splitlines()[0]
    assert header.endswith("OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]")
    assert len(header.split(",")) == 11
    # The published size is of the original, not of the film in the folder.
    cohort = _read(written)
    assert cohort.size_of(0) == (PHANTOM.height, PHANTOM.width)


def test_trap_2017_edition_has_a_twelfth_column_and_impossible_ages(tmp_path: Path) -> None:
    write_nih_chestxray14(tmp_path, PHANTOM, edition="2017", archives=False)
    first = (tmp_path / "Data_Entry_2017.csv").read_text(encoding="utf-8").splitlines()
    assert first[0].endswith("y],")
    assert len(first[0].split(",")) == len(first[1].split(",")) == 12
    cohort, phantom = _read(tmp_path), drawn()
    assert cohort.notes[0] == "Data_Entry_2017.csv: 1 impossible age(s) are unknown (NaN)"
    assert np.isnan(cohort.table["age"].to_numpy()[0])
    assert cohort.table["age"].tolist()[1:] == phantom.table["age"].tolist()[1:]
    assert cohort.table["sex"].iat[0] == "M"


def test_ages_in_months_and_days_are_years(root: Path) -> None:
    entries = root / ENTRIES
    lines = entries.read_text(encoding="utf-8").splitlines()
    for line, age in ((1, "018M"), (2, "073D"), (3, "none"), (4, " 44 ")):
        cells = lines[line].split(",")
        lines[line] = ",".join([*cells[:4], age, *cells[5:]])
    entries.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ages = _read(root).table["age"].to_numpy()
    np.testing.assert_allclose(ages[:4], [1.5, 73 / 365.25, np.nan, 44])


def test_trap_labels_are_whole_tokens_not_substrings(root: Path) -> None:
    _edit(root / ENTRIES, lambda text: text.replace("No Finding", "Pleural_Thickening|Mass", 1))
    cohort = _read(root)
    row = int(np.flatnonzero(cohort.table["Pleural_Thickening"] == 1)[0])
    assert cohort.labels[row].sum() == 2
    _edit(root / ENTRIES, lambda text: text.replace("Pleural_Thickening|Mass", "Massive", 1))
    with pytest.raises(DataError, match=rf"{ENTRIES}, line {row + 2}: .*'Massive'"):
        _read(root)


def test_trap_the_box_table_is_read_by_position(written: Path) -> None:
    lines = (written / "BBox_List_2017.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    assert len(lines[0].split(",")) == 9
    assert {len(line.split(",")) for line in lines[1:]} == {6}


def test_trap_boxes_say_infiltrate_where_labels_say_infiltration(written: Path) -> None:
    boxes = (written / "BBox_List_2017.csv").read_text(encoding="utf-8")
    assert ",Infiltrate," in boxes
    assert "Infiltration" not in boxes
    frame = _read(written).boxes
    assert frame is not None
    assert (frame.frame()["label"] == NIH_LABELS.index("Infiltration")).any()


def test_trap_boxes_are_in_a_frame_of_1024_whatever_the_copy(written: Path) -> None:
    first = (written / "BBox_List_2017.csv").read_text(encoding="utf-8").splitlines()[1].split(",")
    cohort = _read(written)
    row = cohort.table["image_id"].tolist().index(first[0])
    x, y, width, height = (float(cell) for cell in first[2:])
    assert cohort.boxes is not None
    scale = np.array([PHANTOM.width, PHANTOM.height] * 2) / 1024
    expected = np.array([x, y, x + width, y + height]) * scale
    assert any(np.allclose(box, expected) for box in cohort.boxes.of(row)[0])


def test_trap_rgba_films_are_one_channel(written: Path) -> None:
    cohort = _read(written)
    with Image.open(str(cohort.table["path"].iat[4])) as image:
        assert image.mode == "RGBA"
    assert cohort.images(4).shape == (PHANTOM.height, PHANTOM.width)


def test_trap_films_stand_in_twelve_folders(written: Path) -> None:
    folders = {Path(path).parts[-3] for path in _read(written).table["path"]}
    assert folders == {f"images_{number:03d}" for number in range(1, 13)}


def test_trap_the_official_split_is_by_patient_and_valid_is_carved_from_training(
    written: Path,
) -> None:
    cohort = _read(written, valid_share=0.3)
    check_splits(cohort)
    table = cohort.table
    tested = table["patient_id"].astype(int) % 5 == 0
    assert set(table["split"][tested]) == {"test"}
    assert set(table["split"][~tested]) == {"train", "valid"}
    assert set(_read(written, valid_share=0).table["split"]) == {"train", "test"}
    assert _read(written, valid_share=0.3).table["split"].tolist() == table["split"].tolist()


def test_trap_box_films_of_the_test_part_are_counted_in_a_note(written: Path) -> None:
    cohort = _read(written)
    assert cohort.boxes is not None
    boxed = cohort.table["split"].iloc[sorted(set(cohort.boxes.frame()["row"]))]
    note = next(note for note in cohort.notes if note.startswith("BBox"))
    for part, count in boxed.value_counts().items():
        assert f"{count} in {part}" in note
    assert "must not be tested there" in note


def test_split_by_patient_needs_no_lists(root: Path) -> None:
    (root / "test_list.txt").unlink()
    with pytest.raises(DataError, match=r"test_list\.txt: the official split is missing"):
        _read(root)
    cohort = _read(root, split="patient", fractions={"train": 0.5, "test": 0.5})
    assert set(cohort.table["split"]) == {"train", "test"}
    check_splits(cohort)


def test_no_finding_is_a_derived_absence(written: Path) -> None:
    cohort = _read(written, no_finding=True, vocabulary="common")
    assert cohort.pathologies[-1] == "No Finding"
    assert "Pleural Effusion" in cohort.pathologies
    assert "Pleural Thickening" in cohort.pathologies
    absent = drawn().table[list(FINDINGS)].sum(axis=1) == 0
    assert (cohort.table["No Finding"] == 1).tolist() == absent.tolist()


def test_views_are_kept_and_counted(written: Path) -> None:
    cohort = _read(written, views=["PA"])
    pa = (drawn().table["view"] == "PA").to_numpy()
    assert len(cohort) == pa.sum()
    assert cohort.notes[0] == f"{ENTRIES}: {(~pa).sum()} film(s) of other views than ['PA']: 'AP'"
    assert cohort.boxes is not None
    kept = [row for row in range(len(pa)) if pa[row]]
    for row, film in enumerate(kept):
        assert boxes_of(cohort, row, NAMES) == boxes_of(drawn(), film)
    assert any("on films outside the cohort" in note for note in cohort.notes)
    with pytest.raises(DataError, match=r"films can be used .*than \['LL'\]: 'AP', 'PA'"):
        _read(written, views=["LL"])


def test_boxes_are_complete_where_each_finding_has_one(root: Path) -> None:
    lines = (root / "BBox_List_2017.csv").read_text(encoding="utf-8").splitlines()
    cohort = _read(root)
    assert cohort.boxes is not None
    boxed = cohort.labels.sum(1) > 0
    np.testing.assert_array_equal(cohort.boxes.known, boxed)
    negatives = _read(root, box_negatives=True).boxes
    assert negatives is not None
    assert negatives.known.all()
    (root / "BBox_List_2017.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    image, finding = lines[-1].split(",")[:2]
    fewer = _read(root).boxes
    assert fewer is not None
    row = cohort.table["image_id"].tolist().index(image)
    others = [line for line in lines[1:-1] if line.startswith(f"{image},{finding},")]
    assert fewer.known[row] == bool(others)


def test_without_the_box_table_there_are_no_boxes(root: Path) -> None:
    (root / "BBox_List_2017.csv").unlink()
    cohort = _read(root)
    assert cohort.boxes is None
    assert cohort.notes == ["BBox_List_2017.csv: not there, so there are no boxes"]


def _gone(root: Path) -> str:
    (root / "images_003/images/00000002_000.png").unlink()
    return rf"{ENTRIES}, line 4: .*00000002_000\.png: the file does not exist"


def _empty(root: Path) -> str:
    (root / "images_003/images/00000002_000.png").write_bytes(b"")
    return rf"{ENTRIES}, line 4: .*00000002_000\.png: the file is empty"


def _header_cut(root: Path) -> str:
    path = root / "images_003/images/00000002_000.png"
    path.write_bytes(path.read_bytes()[:20])
    return rf"{ENTRIES}, line 4: .*00000002_000\.png: expected an image"


def _other_format(root: Path) -> str:
    path = root / "images_003/images/00000002_000.png"
    path.rename(path.with_suffix(".jpeg"))
    return rf"{ENTRIES}, line 4: .*'00000002_000\.jpeg' does: another format"


def _id_cut_short(root: Path) -> str:
    path = root / "images_003/images/00000002_000.png"
    path.rename(path.with_name("00000002_0001.png"))
    return rf"{ENTRIES}, line 4: .*'00000002_0001\.png' does: is the id cut short"


def _repeated(root: Path) -> str:
    spoil_table(root / ENTRIES, "repeated_row")
    return rf"{ENTRIES}, line \d+: Image Index '.*' repeats line \d+"


def _contradicted(root: Path) -> str:
    _edit(root / ENTRIES, lambda text: text + text.splitlines()[1].replace("|", "|Mass|") + "9\n")
    return rf"{ENTRIES}, line \d+: Image Index '00000001_000.png' contradicts line 2"


def _unknown_finding(root: Path) -> str:
    _edit(root / ENTRIES, lambda text: text.replace(",No Finding,", ",Nothing,", 1))
    return rf"{ENTRIES}, line \d+: .*'Finding Labels' must be findings joined by '\|', found 'Noth"


def _no_patient(root: Path) -> str:
    _edit(root / ENTRIES, lambda text: text.replace(",1,2,", ",1,,", 1))
    return rf"{ENTRIES}, line \d+: column 'Patient ID' must be stated, found ''"


def _on_both_lists(root: Path) -> str:
    _edit(root / "test_list.txt", lambda text: text + "00000001_000.png\n")
    return r"test_list\.txt, line \d+: '00000001_000\.png' is on the list of the training films too"


def _on_neither_list(root: Path) -> str:
    _edit(root / "train_val_list.txt", lambda text: text.replace("00000001_000.png\n", ""))
    return rf"{ENTRIES}, line 2: '00000001_000\.png' is on neither list"


def _box_label(root: Path) -> str:
    _edit(root / "BBox_List_2017.csv", lambda text: text.replace("Infiltrate", "Dust", 1))
    return r"BBox_List_2017\.csv, line \d+: column 'label' must be one of the 14, found 'Dust'"


def _box_no_number(root: Path) -> str:
    _edit(root / "BBox_List_2017.csv", lambda text: text + "00000001_000.png,Mass,1,x,3,4\n")
    return r"BBox_List_2017\.csv, line \d+: column 'y' must be a finite number, found 'x'"


def _box_outside(root: Path) -> str:
    _edit(root / "BBox_List_2017.csv", lambda text: text + "00000001_000.png,Mass,900,1,200,4\n")
    return r"BBox_List_2017\.csv, line \d+: column 'x' must give a box within 0 and 1024"


def _box_flat(root: Path) -> str:
    _edit(root / "BBox_List_2017.csv", lambda text: text + "00000001_000.png,Mass,9,1,2,0\n")
    return r"BBox_List_2017\.csv, line \d+: column 'y' must give a box"


FAULTS = (
    _gone, _empty, _header_cut, _other_format, _id_cut_short, _repeated, _contradicted, _no_patient,
    _unknown_finding, _on_both_lists, _on_neither_list, _box_label, _box_no_number, _box_outside,
    _box_flat,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_named_by_line_or_skipped_and_listed(
    root: Path, fault: Callable[[Path], str]
) -> None:
    whole = _read(root)
    pattern = fault(root)
    with pytest.raises(DataError, match=pattern):
        _read(root)
    cohort = _read(root, on_error="skip")
    assert len(cohort.problems) == 1
    assert len(whole) - 1 <= len(cohort) <= len(whole)
    check_splits(cohort)


@pytest.mark.parametrize("fault", ["bom", "blank_lines"])
def test_a_spreadsheets_marks_do_no_harm(root: Path, fault: str) -> None:
    whole = _read(root).table
    spoil_table(root / ENTRIES, fault)  # type: ignore[arg-type]
    assert _read(root).table.equals(whole)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("semicolons", "separated by semicolons, expected commas"),
        ("tabs", "separated by tabs, expected commas"),
        ("renamed_column", "no column 'Image Index'; did you mean 'xImage Index'"),
    ],
)
def test_a_spoilt_table_is_refused_even_when_skipping(root: Path, fault: str, message: str) -> None:
    spoil_table(root / ENTRIES, fault)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        _read(root, on_error="skip")


def test_a_half_copied_folder_is_listed_film_by_film(root: Path) -> None:
    shutil.rmtree(root / "images_001")
    shutil.rmtree(root / "images_002")
    cohort = _read(root, on_error="skip")
    gone = [row for row in range(len(drawn())) if row % 12 < 2]
    assert [problem.line for problem in cohort.problems] == [row + 2 for row in gone]
    assert len(cohort) == len(drawn()) - len(gone)
    for number in range(3, 13):
        shutil.rmtree(root / f"images_{number:03d}")
    with pytest.raises(DataError, match=r"none of its films can be used \(\d+ problem"):
        _read(root, on_error="skip")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    with pytest.raises(DataError, match=r"expected Data_Entry.* or Data_Entry.*; found films"):
        _read(tmp_path)


def test_the_folder_above_will_do(root: Path) -> None:
    assert len(_read(root.parent)) == len(drawn())
    shutil.copytree(root, root.parent / "again")
    with pytest.raises(DataError, match="in one folder below; found .*again, .*nih"):
        _read(root.parent)

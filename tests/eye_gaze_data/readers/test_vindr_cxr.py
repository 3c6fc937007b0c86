import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import DataError
from eye_gaze_data.geometry import Fit
from eye_gaze_data.layouts.vindr_cxr import NAMES, drawn_boxes, image_id, moved_box, write_vindr_cxr
from eye_gaze_data.layouts.written import spoil_table
from eye_gaze_data.phantom import FINDINGS
from eye_gaze_data.readers.label_config import VindrConfig
from eye_gaze_data.readers.vindr_cxr import vindr_cxr_cohort
from eye_gaze_data.readers.vocabulary import (
    VINDR_GLOBAL_LABELS,
    VINDR_KAGGLE_LABELS,
    VINDR_LOCAL_LABELS,
)
from eye_gaze_data.splits import check_splits
from tests.eye_gaze_data.readers.written import PHANTOM, boxes_of, check_geometry, drawn, severity

pytest.importorskip("pydicom")
ANNOTATIONS = "annotations/annotations_train.csv"
LABELS = "annotations/image_labels_train.csv"


@pytest.fixture(scope="module")
def physionet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vindr")
    write_vindr_cxr(root, PHANTOM)
    return root


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vinbigdata")
    write_vindr_cxr(root, PHANTOM, layout="kaggle")
    return root


@pytest.fixture
def root(physionet: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(physionet, tmp_path / "vindr"))


@pytest.fixture
def kaggle_root(kaggle: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(kaggle, tmp_path / "kaggle"))


def _read(root: Path, layout: str = "physionet", **options: object) -> Cohort:
    config = VindrConfig.model_validate({"root": root, "layout": layout, **options})
    return vindr_cxr_cohort(config, "vindr")


def _films(cohort: Cohort) -> list[int]:
    names = [image_id(image) for image in drawn().table["image_id"]]
    return [names.index(image) for image in cohort.table["image_id"]]


def _edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def _votes(finding: str) -> np.ndarray:
    """The share of three readers who state a finding: all what is severe, one what is faint."""
    grade = severity(finding)
    return np.where(grade >= 0.45, 1.0, np.where(grade > 0, 1 / 3, 0.0))


@pytest.mark.parametrize(("agreement", "least"), [("any", 0.01), ("majority", 0.5), ("all", 0.99)])
@pytest.mark.parametrize("layout", ["physionet", "kaggle"])
def test_labels_are_what_the_readers_agree_on(
    physionet: Path, kaggle: Path, layout: str, agreement: str, least: float
) -> None:
    cohort = _read({"physionet": physionet, "kaggle": kaggle}[layout], layout, agreement=agreement)
    films = np.array(_films(cohort))
    assert sorted(films) == list(range(len(drawn())))
    tested = (films % 5 == 4) & (layout == "physionet")
    for finding, label in NAMES.items():
        share = np.where(tested, severity(finding)[films] > 0, _votes(finding)[films])
        np.testing.assert_allclose(cohort.table[f"raw_{label}"], share)
        np.testing.assert_array_equal(cohort.table[label], (share > least).astype(float))
    assert not cohort.problems


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("row", [0, 1, 5])
def test_trap_monochrome1_and_12_14_16_bits_are_read_alike(
    physionet: Path, row: int, fit: Fit
) -> None:
    cohort = _read(physionet)
    check_geometry(cohort, row, _films(cohort)[row], tolerance=0.51 / 4095, fit=fit)


def test_boxes_as_drawn_are_every_readers(kaggle: Path) -> None:
    cohort, phantom = _read(kaggle, "kaggle", fusion="none"), drawn()
    assert phantom.boxes is not None
    assert cohort.boxes is not None
    expected = drawn_boxes(phantom, phantom.boxes).dropna(subset="x_min")
    frame = cohort.boxes.frame()
    assert len(frame) == len(expected)
    assert cohort.boxes.known.all()
    for row, film in enumerate(_films(cohort)):
        mine = expected[expected["row"] == film]
        corners = np.round(mine[["x_min", "y_min", "x_max", "y_max"]].to_numpy(), 6).tolist()
        names = [NAMES[finding] for finding in mine["finding"]]
        assert boxes_of(cohort, row) == sorted(
            [name, *box] for name, box in zip(names, corners, strict=True)
        )


@pytest.mark.parametrize("layout", ["physionet", "kaggle"])
def test_trap_boxes_of_three_readers_are_fused(physionet: Path, kaggle: Path, layout: str) -> None:
    # The three readers' boxes lie about the true one, so their mean is it; a faint finding has
    # the first reader's box alone.
    root = {"physionet": physionet, "kaggle": kaggle}[layout]
    cohort, phantom = _read(root, layout, fusion_iou=0.2), drawn()
    assert phantom.boxes is not None
    checked = 0
    for row, film in enumerate(_films(cohort)):
        corners, labels = phantom.boxes.of(film)
        names = [FINDINGS[label] for label in labels]
        if len(set(names)) < len(names):
            continue  # two consolidations may overlap
        faint = np.array([severity(name)[film] < 0.45 for name in names], bool)
        consensus = film % 5 == 4 and layout == "physionet"
        expected = [
            moved_box(box, 0, phantom.size_of(film)) if alone else box
            for box, alone in zip(corners, faint | consensus, strict=True)
        ]
        assert boxes_of(cohort, row) == sorted(
            [NAMES[name], *np.round(box, 6).tolist()]
            for name, box in zip(names, expected, strict=True)
        )
        checked += 1
    assert checked > len(cohort) // 2
    assert "by weighted box fusion (iou 0.2, at least 1 reader(s))" in cohort.notes[-1]


def test_boxes_of_too_few_readers_are_left_out(kaggle: Path) -> None:
    two, three = (_read(kaggle, "kaggle", fusion_iou=0.2, min_readers=n) for n in (2, 3))
    for cohort in (two, three):
        assert cohort.boxes is not None
        for row, film in enumerate(_films(cohort)):
            faint = {NAMES[name] for name in FINDINGS if 0 < severity(name)[film] < 0.45}
            severe = {NAMES[name] for name in FINDINGS if severity(name)[film] >= 0.45}
            found = {str(box[0]) for box in boxes_of(cohort, row)}
            assert severe <= found
            assert not found & (faint - severe)


def test_a_consensus_stands_for_all_its_readers(physionet: Path) -> None:
    cohort = _read(physionet, min_readers=3)
    tested = cohort.rows_of("test").tolist()
    counts = [len(boxes_of(cohort, row)) for row in tested]
    phantom = drawn()
    films = _films(cohort)
    assert counts == [len(boxes_of(phantom, films[row])) for row in tested]


def test_trap_other_disease_and_other_diseases_are_one_label(root: Path) -> None:
    header = (
        (root / "annotations/image_labels_test.csv").read_text(encoding="utf-8").splitlines()[0]
    )
    assert "Other disease," in header
    assert "rad_id" not in header
    path = root / "annotations/image_labels_test.csv"
    table = pd.read_csv(path)
    table["Other disease"] = 1
    table.to_csv(path, index=False)
    cohort = _read(root)
    assert cohort.pathologies == (*VINDR_LOCAL_LABELS, *VINDR_GLOBAL_LABELS)
    tested = cohort.table["split"] == "test"
    assert (cohort.table["Other diseases"][tested] == 1).all()
    assert (cohort.table["Other diseases"][~tested] == 0).all()


def test_trap_training_has_one_row_an_image_and_reader(physionet: Path) -> None:
    table = pd.read_csv(physionet / LABELS)
    assert (table.groupby("image_id")["rad_id"].nunique() == 3).all()
    cohort = _read(physionet)
    assert cohort.table["image_id"].is_unique


def test_trap_kaggle_orders_columns_otherwise_and_14_is_no_finding(kaggle: Path) -> None:
    table = pd.read_csv(kaggle / "train.csv")
    assert list(table) == [
        "image_id", "class_name", "class_id", "rad_id", "x_min", "y_min", "x_max", "y_max",
    ]  # fmt: skip
    assert set(table[table["class_id"] == 14]["class_name"]) == {"No finding"}
    assert table[table["class_id"] == 14]["x_min"].isna().all()
    cohort = _read(kaggle, "kaggle")
    assert cohort.pathologies == (*VINDR_KAGGLE_LABELS, "No finding")
    assert cohort.boxes is not None
    assert (cohort.boxes.frame()["label"] != 14).all()
    films = _films(cohort)
    healthy = np.all([severity(name)[films] < 0.45 for name in FINDINGS], axis=0)
    np.testing.assert_array_equal(cohort.table["No finding"] == 1, healthy)


def test_every_image_is_a_patient_and_the_test_part_is_official(physionet: Path) -> None:
    cohort = _read(physionet, valid_share=0.3)
    check_splits(cohort)
    films = np.array(_films(cohort))
    tested = films % 5 == 4
    assert set(cohort.table["split"][tested]) == {"test"}
    assert set(cohort.table["split"][~tested]) == {"train", "valid"}
    assert cohort.table["patient_id"].tolist() == cohort.table["image_id"].tolist()


def test_kaggle_has_no_labelled_test_part(kaggle: Path) -> None:
    assert set(_read(kaggle, "kaggle", valid_share=0.3).table["split"]) == {"train", "valid"}
    own = _read(kaggle, "kaggle", split="patient", fractions={"train": 0.5, "test": 0.5})
    assert set(own.table["split"]) == {"train", "test"}


def test_common_names(kaggle: Path) -> None:
    cohort = _read(kaggle, "kaggle", vocabulary="common")
    assert {"Pleural Effusion", "Fibrosis", "No Finding", "Nodule/Mass"} <= set(cohort.pathologies)
    assert "raw_Pleural Effusion" in cohort.table


def test_the_other_layout_is_recognised(physionet: Path, kaggle: Path) -> None:
    with pytest.raises(DataError, match=r"'train\.csv' is there: layout: kaggle\?"):
        _read(kaggle)
    with pytest.raises(DataError, match="'annotations' does: layout: physionet"):
        _read(physionet, "kaggle")
    with pytest.raises(DataError, match=r"annotations: the folder does not exist$"):
        _read(physionet / "train")


def _first_box(root: Path, cells: str) -> None:
    path = root / ANNOTATIONS
    lines = path.read_text(encoding="utf-8").splitlines()
    row = next(i for i, line in enumerate(lines) if i and not line.endswith(",,,,"))
    lines[row] = ",".join([*lines[row].split(",")[:3], cells])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _gone(root: Path) -> str:
    next((root / "train").iterdir()).unlink()
    return r"image_labels_train\.csv, line \d+: .*\.dicom: the file does not exist"


def _png_instead(root: Path) -> str:
    path = next((root / "train").iterdir())
    path.rename(path.with_suffix(".png"))
    return r"image_labels_train\.csv, line \d+: .*\.png' does: another format"


def _upside_down(root: Path) -> str:
    _first_box(root, "10,20,30,5")
    return r"annotations_train\.csv, line \d+: column 'y_max' must be above 'y_min'"


def _of_another_size(root: Path) -> str:
    _first_box(root, "10,20,2000,30")
    return r"annotations_train\.csv, line \d+: column 'x_max' .*in its original pixels, found '2000"


def _negative(root: Path) -> str:
    _first_box(root, "-3,20,20,30")
    return r"annotations_train\.csv, line \d+: column 'x_max' must be above"


def _no_number(root: Path) -> str:
    _first_box(root, "a,20,20,30")
    return r"annotations_train\.csv, line \d+: column 'x_min' must be a finite number, found 'a'"


def _box_of_nothing(root: Path) -> str:
    _edit(root / ANNOTATIONS, lambda text: text.replace("No finding,,,,", "No finding,1,2,3,4", 1))
    return r"annotations_train\.csv, line \d+: column 'x_min' must be empty for 'No finding'"


def _unknown_class(root: Path) -> str:
    _edit(root / ANNOTATIONS, lambda text: text.replace(",Nodule/Mass,", ",Nodul,", 1))
    return r"column 'class_name' must be a label of the data set, found 'Nodul'"


def _repeated(root: Path) -> str:
    spoil_table(root / LABELS, "repeated_row")
    return r"image_labels_train\.csv, line \d+: image_id '\w+', rad_id 'R\d' repeats line \d+"


def _wrong_vote(root: Path) -> str:
    _edit(root / LABELS, lambda text: text.replace(",1,", ",2,", 1))
    return r"image_labels_train\.csv, line \d+: column '.*' must be 1, 0 or empty, found '2"


FAULTS = (
    _gone, _png_instead, _upside_down, _of_another_size, _negative, _no_number, _box_of_nothing,
    _unknown_class, _repeated, _wrong_vote,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_named_by_line_or_skipped_and_listed(
    root: Path, fault: Callable[[Path], str]
) -> None:
    whole = len(_read(root))
    pattern = fault(root)
    with pytest.raises(DataError, match=pattern):
        _read(root)
    cohort = _read(root, on_error="skip")
    assert len(cohort.problems) == 1
    assert whole - 1 <= len(cohort) <= whole


def test_kaggles_classes_are_checked(kaggle_root: Path) -> None:
    _edit(kaggle_root / "train.csv", lambda text: text.replace(",Nodule/Mass,", ",Nodule,", 1))
    with pytest.raises(DataError, match=r"train\.csv, line \d+: .*one of the 15, found 'Nodule'"):
        _read(kaggle_root, "kaggle")
    assert len(_read(kaggle_root, "kaggle", on_error="skip").problems) == 1


def test_columns_of_labels_and_readers_are_needed(root: Path) -> None:
    _edit(root / LABELS, lambda text: text.replace("Rib fracture", "Rib", 1))
    with pytest.raises(DataError, match=r"csv: no column\(s\) \['Rib fracture'\]"):
        _read(root)
    _edit(root / LABELS, lambda text: text.replace("Rib,", "Rib fracture,", 1))
    _edit(root / LABELS, lambda text: text.replace("rad_id", "reader", 1))
    with pytest.raises(DataError, match="no column 'rad_id': who read the image"):
        _read(root)

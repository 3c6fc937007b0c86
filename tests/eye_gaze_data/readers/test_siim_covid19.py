import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import DataError
from eye_gaze_data.geometry import Fit
from eye_gaze_data.layouts.films import write_dicom
from eye_gaze_data.layouts.siim_covid19 import opacities, short_id, write_siim_covid19
from eye_gaze_data.layouts.written import spoil_table
from eye_gaze_data.readers.label_config import SiimConfig
from eye_gaze_data.readers.siim_covid19 import siim_covid19_cohort
from eye_gaze_data.readers.vocabulary import SIIM_LABELS
from eye_gaze_data.splits import check_splits
from tests.eye_gaze_data.readers.written import PHANTOM, check_geometry, drawn

pytest.importorskip("pydicom")
IMAGES, STUDIES = "train_image_level.csv", "train_study_level.csv"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("siim")
    write_siim_covid19(root, PHANTOM)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(written, tmp_path / "siim"))


def _read(root: Path, **options: object) -> Cohort:
    return siim_covid19_cohort(SiimConfig.model_validate({"root": root, **options}), "siim")


def _films(cohort: Cohort) -> list[tuple[int, int]]:
    """The phantom's row and the number of the film in the study, of each row."""
    phantom = drawn()
    places = {
        short_id(f"image{film}", phantom, row): (row, film)
        for row in range(len(phantom))
        for film in range(2)
    }
    return [places[image] for image in cohort.table["image_id"]]


def _edit(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


def _classes(film: int) -> list[float]:
    row = drawn().table.iloc[film]
    order = ("Consolidation", "Edema", "Nodule")
    index = next((i for i, name in enumerate(order, 1) if row[name] == 1), 0)
    return [float(i == index) for i in range(4)]


def test_studies_are_four_exclusive_classes(written: Path) -> None:
    cohort = _read(written)
    assert cohort.exclusive
    assert cohort.pathologies == SIIM_LABELS
    assert not cohort.problems
    films = _films(cohort)
    assert sorted({row for row, _ in films}) == list(range(len(drawn())))
    assert cohort.labels.tolist() == [_classes(row) for row, _ in films]
    assert cohort.boxes is not None
    assert cohort.boxes.known.all()
    phantom = drawn()
    assert phantom.boxes is not None
    for row, (film, number) in enumerate(films):
        expected = opacities(phantom.boxes, film) if number == 0 else []
        boxes, labels = cohort.boxes.of(row)
        corners = [(x, y, x + width, y + height) for x, y, width, height in expected]
        np.testing.assert_allclose(boxes, np.array(corners).reshape(-1, 4))
        assert set(labels) <= {int(np.argmax(_classes(film)))}


def test_opacity_is_whether_there_are_boxes(written: Path) -> None:
    cohort = _read(written, labels="opacity")
    assert not cohort.exclusive
    assert cohort.pathologies == ("Lung Opacity",)
    assert cohort.boxes is not None
    boxed = [float(len(cohort.boxes.of(row)[0]) > 0) for row in range(len(cohort))]
    assert cohort.labels[:, 0].tolist() == boxed
    assert 0 < sum(boxed) < len(boxed)
    assert set(cohort.boxes.frame()["label"]) == {0}


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize("row", [1, 2])
def test_an_asymmetric_film_stays_upright(written: Path, row: int, fit: Fit) -> None:
    cohort = _read(written)
    check_geometry(cohort, row, _films(cohort)[row][0], tolerance=0.51 / 4095, fit=fit)


def test_trap_ids_end_in_study_and_image(written: Path) -> None:
    for name, end in ((IMAGES, "_image"), (STUDIES, "_study")):
        lines = (written / name).read_text(encoding="utf-8").splitlines()[1:]
        assert all(line.split(",")[0].endswith(end) for line in lines)
    cohort = _read(written)
    assert not cohort.table["image_id"].str.contains("_").any()
    assert all(Path(p).parts[-3] == s for p, s in cohort.table[["path", "study_id"]].to_numpy())


def test_trap_boxes_are_the_text_of_a_list(written: Path) -> None:
    text = (written / IMAGES).read_text(encoding="utf-8")
    assert text.splitlines()[0] == "id,boxes,label,StudyInstanceUID"
    assert "\"[{'x': " in text
    assert ",none 1 0 0 1 1," in text
    assert ",opacity 1 " in text


def test_trap_a_study_may_have_several_films(written: Path) -> None:
    cohort = _read(written)
    twins = cohort.table[cohort.table["study_id"].duplicated(keep=False)]
    assert len(twins) == 2 * (len(drawn()) // 4)
    assert f"{IMAGES}: {len(twins)} film(s) share a study: its class, but not its boxes" in (
        cohort.notes
    )


def test_trap_patients_with_several_studies_stay_in_one_split(written: Path) -> None:
    cohort = _read(written)
    assert cohort.table["patient_id"].nunique() == PHANTOM.n_patients
    assert cohort.table["study_id"].nunique() > PHANTOM.n_patients
    check_splits(cohort)
    official = _read(written, split="official", valid_share=0.3)
    check_splits(official)
    assert set(official.table["split"]) == {"train", "valid"}


def test_without_a_patient_id_the_study_stands_for_it(root: Path) -> None:
    path = Path(str(_read(root).table["path"].iat[0]))
    write_dicom(path, drawn().images(0), ids={"PatientID": ""})
    cohort = _read(root)
    assert str(cohort.table["patient_id"].iat[0]) == str(cohort.table["study_id"].iat[0])
    assert "1 film(s) have no PatientID: their study stands for the patient" in cohort.notes


def _boxed(root: Path) -> tuple[Path, list[str], int]:
    path = root / IMAGES
    lines = path.read_text(encoding="utf-8").splitlines()
    return path, lines, next(i for i, line in enumerate(lines) if "'x'" in line)


def _with_boxes(root: Path, text: str) -> str:
    path, lines, row = _boxed(root)
    start, end = lines[row].index('"'), lines[row].rindex('"')
    lines[row] = f'{lines[row][:start]}"{text}"{lines[row][end + 1 :]}'
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rf"{IMAGES}, line {row + 1}: column 'boxes' must be a list of boxes"


def _no_list(root: Path) -> str:
    return _with_boxes(root, "[{'x': 1, 'y': ")


def _code(root: Path) -> str:
    return _with_boxes(root, f"__import__('pathlib').Path('{root / 'ran'}').touch()")


def _no_width(root: Path) -> str:
    return _with_boxes(root, "[{'x': 1, 'y': 2, 'height': 3}]")


def _flat(root: Path) -> str:
    return _with_boxes(root, "[{'x': 1, 'y': 2, 'height': 3, 'width': 0}]")


def _not_as_labelled(root: Path) -> str:
    return _with_boxes(root, "[]")


def _no_ending(root: Path) -> str:
    _edit(root / IMAGES, lambda text: text.replace("_image", "", 1))
    return rf"{IMAGES}, line 2: column 'id' must end in _image"


def _repeated(root: Path) -> str:
    spoil_table(root / IMAGES, "repeated_row")
    return rf"{IMAGES}, line \d+: id '\w+_image' repeats line \d+"


def _gone(root: Path) -> str:
    next((root / "train").rglob("*.dcm")).unlink()
    return rf"{IMAGES}, line \d+: .*\.dcm: the file does not exist"


def _no_study(root: Path) -> str:
    _edit(
        root / STUDIES,
        lambda text: "".join([*text.splitlines(True)[:1], *text.splitlines(True)[2:]]),
    )
    return rf"{IMAGES}, line 2: column 'study_id' must have a row in {STUDIES}"


FAULTS = (
    _no_list, _code, _no_width, _flat, _not_as_labelled, _no_ending, _repeated, _gone, _no_study,
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
    assert not (root / "ran").exists()


def test_a_study_of_two_classes_is_named(root: Path) -> None:
    lines = (root / STUDIES).read_text(encoding="utf-8").splitlines()
    lines[1] = f"{lines[1].split(',')[0]},1,1,0,0"
    (root / STUDIES).write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"{STUDIES}, line 2: column 'id' must be of exactly one"):
        _read(root)
    cohort = _read(root, on_error="skip")
    assert [problem.file.rsplit("/", 1)[-1] for problem in cohort.problems][:2] == [STUDIES, IMAGES]


def test_a_header_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pydicom = pytest.importorskip("pydicom")
    read = pydicom.dcmread

    def broken(*path: object, **options: object) -> object:
        if options.get("specific_tags") == ["PatientID"]:
            raise ValueError("odd characters")
        return read(*path, **options)

    monkeypatch.setattr(pydicom, "dcmread", broken)
    message = r"\.dcm: cannot read the PatientID of its header \(odd characters\)"
    with pytest.raises(DataError, match=message):
        _read(root)

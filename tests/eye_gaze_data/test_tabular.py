import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.csv_config import BoxesCsv, CsvConfig, GazeCsv, ImagesCsv, MasksCsv
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.splits import check_splits
from eye_gaze_data.tabular import csv_cohort

SHARED = Path(__file__).parents[3] / "shared" / "data"
SIZES = {"a.png": (8, 6), "b.png": (10, 20), "sub/c.png": (5, 5)}  # (height, width)


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("no shared data beside the repository")
    return SHARED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _films(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scratch")
    _films(folder)
    return folder


def _films(folder: Path) -> None:
    for level, (name, size) in enumerate(SIZES.items(), 1):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full(size, 50 * level, np.uint8)).save(path)


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _images(folder: Path, *lines: str, **options: object) -> ImagesCsv:
    lines = lines or ("image,patient,Mass", "a.png,p1,1", "b.png,p1,0", "sub/c.png,p2,")
    path = _write(folder / "images.csv", *lines)
    return ImagesCsv.model_validate(
        {"csv": path, "patient": "patient", "labels": ["Mass"], **options}
    )


def _load(folder: Path, **options: object) -> Cohort:
    if "images" not in options:
        options["images"] = _images(folder)
    return csv_cohort(CsvConfig.model_validate(options), "mine")


def _gaze(folder: Path, *lines: str, **options: object) -> Cohort:
    path = _write(folder / "gaze.csv", *lines)
    return _load(folder, gaze=GazeCsv.model_validate({"csv": path, **options}))


def _boxes(folder: Path, *lines: str, **options: object) -> Cohort:
    path = _write(folder / "boxes.csv", *lines)
    return _load(folder, boxes=BoxesCsv.model_validate({"csv": path, **options}))


def test_a_table_of_images_becomes_a_cohort(folder: Path) -> None:
    cohort = _load(folder)
    table = cohort.table
    assert len(cohort) == 3
    assert cohort.name == cohort.patient_namespace == "mine"
    assert table["image_id"].tolist() == list(SIZES)
    assert table["patient_id"].tolist() == ["p1", "p1", "p2"]
    assert table["study_id"].tolist() == list(SIZES)
    assert table["source"].tolist() == ["", "", ""]
    assert [cohort.size_of(row) for row in range(3)] == list(SIZES.values())
    assert table["path"].tolist() == [str(folder / name) for name in SIZES]
    split = table["split"].tolist()
    assert split[0] == split[1]
    assert set(split) <= {"train", "valid", "test"}
    np.testing.assert_array_equal(cohort.labels, np.array([[1], [0], [np.nan]], np.float32))
    for row, size in enumerate(SIZES.values()):
        np.testing.assert_allclose(cohort.images(row), np.full(size, 50 * (row + 1) / 255))
    assert (cohort.gaze, cohort.masks, cohort.boxes) == (None, None, None)
    check_splits(cohort)


def test_every_optional_column_is_used(folder: Path) -> None:
    moved = folder / "tables"
    moved.mkdir()
    images = _images(
        moved,
        "file,who,when,part,from,Mass",
        "a.png,p1,s1,test,here,1.0",
        "b.png,p1,s2,test,there,0",
        "sub/c.png,p2,s3,,here,",
        image="file", patient="who", study="when", split="part", source="from", root=folder,
    )  # fmt: skip
    cohort = _load(moved, images=images, exclusive=True, patient_namespace="MIMIC")
    assert cohort.table["study_id"].tolist() == ["s1", "s2", "s3"]
    assert cohort.table["split"].tolist() == ["test", "test", ""]
    assert cohort.table["source"].tolist() == ["here", "there", "here"]
    assert cohort.exclusive
    assert cohort.patient_namespace == "MIMIC"
    assert cohort.rows_of("test").tolist() == [0, 1]


def test_without_a_patient_column_every_image_is_a_patient(folder: Path) -> None:
    images = _images(folder, "image,Mass", "a.png,1", "b.png,0", patient=None)
    assert _load(folder, images=images).table["patient_id"].tolist() == ["a.png", "b.png"]


def test_fractions_and_seed_split_the_patients(folder: Path) -> None:
    cohort = _load(folder, fractions={"test": 1.0})
    assert set(cohort.table["split"]) == {"test"}
    with pytest.raises(ConfigError, match="sum to at most 1"):
        _load(folder, fractions={"train": 0.9, "test": 0.2})


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_of_a_spreadsheet_are_read(folder: Path, ending: str, mark: bytes) -> None:
    lines = ["image,patient,Mass", 'a.png,"p,1",1', "b.png,p2,0", "", ",,", ""]
    path = folder / "images.csv"
    path.write_bytes(mark + ending.join(lines).encode())
    images = ImagesCsv(csv=path, patient="patient", labels=("Mass",))
    cohort = _load(folder, images=images)
    assert cohort.table["image_id"].tolist() == ["a.png", "b.png"]
    assert cohort.table["patient_id"].tolist() == ["p,1", "p2"]
    assert cohort.labels[:, 0].tolist() == [1, 0]


def test_where_keeps_rows_and_lines_are_still_those_of_the_file(folder: Path) -> None:
    lines = ["image,patient,Mass,view", "gone.png,p0,1,AP", "a.png,p1,1,PA", "b.png,p2,0,LL"]
    lines.append("sub/c.png,p3,x,PA")
    images = _images(folder, *lines, where={"view": ["PA", "LL"]}, labels=[])
    cohort = _load(folder, images=images)
    assert cohort.table["image_id"].tolist() == list(SIZES)
    assert cohort.table.index.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"images.csv, line 5: column 'Mass' .*found 'x'"):
        _load(folder, images=_images(folder, *lines, where={"view": ["PA"]}))
    with pytest.raises(DataError, match=r": no row has 'view' in \['XX'\]"):
        _load(folder, images=_images(folder, *lines, where={"view": ["XX"]}))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,patient,Mas", "a.png,p1,1"], "no column 'Mass'; did you mean 'Mas'?"),
        (["a.png,p1,1"], "no column 'image'; known: 1, a.png, p1"),
        (["image,patient,Mass"], "the table has a header but no rows"),
        (
            ["image,patient,Mass", "a.png,p1,2"],
            "line 2: column 'Mass' must be 1, 0 or empty, found '2'",
        ),
        (
            ["image,patient,Mass", "a.png,p1,1", "b.png,p1,yes"],
            "line 3: column 'Mass' must be a finite number or empty, found 'yes'",
        ),
        (
            ["image,patient,Mass", "a.png,p1,1", "", "b.png,p1,-1", "sub/c.png,p2,7"],
            "line 4: column 'Mass' must be 1, 0 or empty, found '-1'",
        ),
        (
            ["image,patient,Mass", "a.png,p1,1", "b.png,p1,0", "a.png,p2,1"],
            "line 4: image 'a.png' contradicts line 2",
        ),
        (
            ["image,patient,Mass", "a.png,p1,1", "gone.png,p1,0"],
            "line 3: {folder}/gone.png: the file does not exist",
        ),
        (["image,patient,Mass", "a.png, ,1"], "line 2: column 'patient' must not be empty"),
        (["image,patient,Mass", "a.png"], "line 2: column 'patient' must not be empty"),
        (["image,patient,Mass", ",p1,1"], "line 2: column 'image' must not be empty"),
        (["image,patient,Mass", "a.png,p1,1,9"], "expected a CSV table, cannot read it"),
        (["image,patient,Mass", "a.png,p1,1", "b.png,p1,1,9"], "expected a CSV table"),
        (["image,patient,Mass", 'a.png,"p1,1'], "expected a CSV table"),
    ],
)  # fmt: skip
def test_a_broken_table_of_images_is_named_by_line(
    folder: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        _load(folder, images=_images(folder, *lines))
    assert str(caught.value).startswith(str(folder / "images.csv"))
    assert message.format(folder=folder) in str(caught.value)


def test_a_file_that_is_no_table_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"gone.csv: the file does not exist"):
        _load(folder, images=ImagesCsv(csv=folder / "gone.csv"))
    (folder / "empty.csv").touch()
    with pytest.raises(DataError, match=r"empty.csv: expected a CSV table"):
        _load(folder, images=ImagesCsv(csv=folder / "empty.csv"))
    with pytest.raises(DataError, match=r"a.png: expected a CSV table"):
        _load(folder, images=ImagesCsv(csv=folder / "a.png"))


def test_an_image_that_is_no_image_is_named_by_line(folder: Path) -> None:
    (folder / "b.png").write_bytes((folder / "b.png").read_bytes()[:20])
    with pytest.raises(DataError, match=r"images.csv, line 3: .*b.png: expected an image"):
        _load(folder)


def test_a_label_may_not_take_a_name_of_ours(folder: Path) -> None:
    images = _images(folder, "image,patient,height", "a.png,p1,1", labels=["height"])
    with pytest.raises(DataError, match=r"label column\(s\) \['height'\] have a name that gazedx"):
        _load(folder, images=images)


def test_an_unknown_split_is_named_by_line(folder: Path) -> None:
    lines = ["image,patient,Mass,split", "a.png,p1,1,train", "b.png,p1,0,training"]
    with pytest.raises(DataError, match=r"line 3: column 'split' must be train, valid, test or"):
        _load(folder, images=_images(folder, *lines, split="split"))


def test_a_patient_in_two_splits_is_refused_with_images(folder: Path) -> None:
    lines = [
        "image,patient,Mass,split",
        "a.png,p1,1,train",
        "b.png,p1,0,test",
        "sub/c.png,p2,,train",
    ]
    cohort = _load(folder, images=_images(folder, *lines, split="split"))
    with pytest.raises(DataError) as caught:
        check_splits(cohort)
    for word in ("'mine'", "1 patient(s)", "'p1'", "'a.png' in train", "'b.png' in test"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("options", "x", "y"),
    [
        ({}, [1, 5.5, 19], [2, 7.25, 9]),
        ({"pixel_origin": "centre"}, [1.5, 6, 19.5], [2.5, 7.75, 9.5]),
    ],
)
def test_pixels_count_from_the_corner_or_the_first_centre(
    folder: Path, options: Mapping[str, object], x: list[float], y: list[float]
) -> None:
    cohort = _gaze(folder, "image,x,y", "a.png,1,2", "b.png,5.5,7.25", "b.png,19,9", **options)
    assert cohort.gaze is not None
    assert [*cohort.gaze.of(0).x, *cohort.gaze.of(1).x] == x
    assert [*cohort.gaze.of(0).y, *cohort.gaze.of(1).y] == y
    assert cohort.gaze.counts().tolist() == [1, 2, 0]
    assert cohort.has_gaze.tolist() == [True, True, False]
    assert np.isnan(cohort.gaze.of(1).duration).all()
    assert np.isnan(cohort.gaze.of(1).start).all()
    assert cohort.gaze.of(1).readers == ["reader"]


def test_fractions_are_of_width_and_height(folder: Path) -> None:
    cohort = _gaze(folder, "image,x,y", "a.png,0.5,0.25", "b.png,0.1,0.9", units="fraction")
    assert cohort.gaze is not None
    assert (cohort.gaze.of(0).x[0], cohort.gaze.of(0).y[0]) == (3, 2)  # a.png is 6 wide, 8 high
    assert (cohort.gaze.of(1).x[0], cohort.gaze.of(1).y[0]) == pytest.approx((2, 9))


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e-3)])
def test_times_become_seconds(folder: Path, unit: str, factor: float) -> None:
    lines = ["image,x,y,t,d,who", "a.png,1,1,900,250,z", "a.png,2,2,100,500,z", "a.png,3,3,5,1,y"]
    cohort = _gaze(
        folder, *lines, duration="d", duration_unit=unit, start="t", start_unit=unit, reader="who"
    )
    assert cohort.gaze is not None
    gaze = cohort.gaze.of(0)
    assert gaze.x.tolist() == [3, 2, 1]
    assert gaze.reader.tolist() == ["y", "z", "z"]
    np.testing.assert_allclose(gaze.duration, np.array([1, 500, 250]) * factor)
    np.testing.assert_allclose(gaze.start, np.array([5, 100, 900]) * factor)


def test_times_without_a_unit_are_refused(folder: Path) -> None:
    lines = ["image,x,y,t,d", "a.png,1,1,900,250"]
    with pytest.raises(DataError, match="state the unit of column 'd': s or ms"):
        _gaze(folder, *lines, duration="d")
    with pytest.raises(DataError, match="state the unit of column 't': s or ms"):
        _gaze(folder, *lines, start="t", duration="d", duration_unit="s")
    with pytest.raises(DataError, match="line 2: column 'd' must be positive, found '0'"):
        _gaze(folder, lines[0], "a.png,1,1,900,0", duration="d", duration_unit="s")


def test_an_order_column_orders_without_a_start(folder: Path) -> None:
    lines = ["image,x,y,n,who"]
    lines += [
        f"{image},{n % 5},1,{n},{n % 3}" for n in range(19, -1, -1) for image in ("a.png", "b.png")
    ]
    cohort = _gaze(folder, *lines, order="n", reader="who")
    assert cohort.gaze is not None
    gaze = cohort.gaze.of(1)
    ordered = [n for reader in range(3) for n in range(20) if n % 3 == reader]
    assert gaze.reader.tolist() == [str(n % 3) for n in ordered]
    assert gaze.x.tolist() == [n % 5 for n in ordered]


def test_without_an_order_the_file_orders(folder: Path) -> None:
    cohort = _gaze(folder, "image,x,y", *(f"a.png,{x},1" for x in (5, 1, 3, 0, 2)))
    assert cohort.gaze is not None
    assert cohort.gaze.of(0).x.tolist() == [5, 1, 3, 0, 2]


def test_samples_and_pixels_per_degree_are_declared(folder: Path) -> None:
    cohort = _gaze(folder, "image,x,y", "a.png,1,1", samples=True, pixels_per_degree=31.5)
    assert cohort.gaze is not None
    assert cohort.gaze.samples
    assert cohort.gaze.pixels_per_degree.tolist() == [31.5, 31.5, 31.5]


@pytest.mark.parametrize("cell", ["nan", "abc", "inf", "-inf", "", "1,5", "1e400", "1e300", "0x1"])
@pytest.mark.parametrize("column", ["x", "y"])
def test_a_coordinate_that_is_no_number_is_named_by_line(
    folder: Path, cell: str, column: str
) -> None:
    bad = f'"{cell}",1' if column == "x" else f'1,"{cell}"'
    with pytest.raises(DataError) as caught:
        _gaze(folder, "image,x,y", "a.png,1,1", "other.png,abc,0", f"b.png,{bad}")
    wanted = f"gaze.csv, line 4: column '{column}' must be a finite number, found '{cell}'"
    assert wanted in str(caught.value)


def test_points_off_the_image_are_noted_or_refused(folder: Path) -> None:
    lines = ["image,x,y", "a.png,1,1", "a.png,6,1", "a.png,1,-0.01", "a.png,5.99,7.99", "a.png,0,0"]
    cohort = _gaze(folder, *lines)
    assert cohort.notes == ["gaze.csv: 2 of 5 point(s) off the image"]
    with pytest.raises(DataError, match=r"gaze.csv, line 3: column 'x' must lie on the image"):
        _gaze(folder, *lines, outside="error")


def test_gaze_on_other_images_is_noted_and_on_none_refused(folder: Path) -> None:
    cohort = _gaze(folder, "image,x,y", "a.png,1,1", "other.png,1,1", "third.png,1,1")
    assert cohort.notes == ["gaze.csv: 2 row(s) name images outside the cohort"]
    with pytest.raises(DataError, match=r"no row names an image.*'a' against 'a.png'"):
        _gaze(folder, "image,x,y", "a,1,1")


def test_boxes_have_corners_or_sizes(folder: Path) -> None:
    corners = _boxes(folder, "image,label,x1,y1,x2,y2", "b.png,Mass,1,2,5,9", "b.png,Mass,0,0,1,1")
    sized = _boxes(
        folder, "image,label,x,y,w,h", "b.png,Mass,1,2,4,7", "b.png,Mass,0,0,1,1",
        corners=["x", "y", "w", "h"], sized=True, complete=True,
    )  # fmt: skip
    for cohort, known in ((corners, False), (sized, True)):
        assert cohort.boxes is not None
        boxes, labels = cohort.boxes.of(1)
        assert boxes.tolist() == [[1, 2, 5, 9], [0, 0, 1, 1]]
        assert labels.tolist() == [0, 0]
        assert cohort.boxes.of(0)[0].shape == (0, 4)
        assert cohort.boxes.known.tolist() == [False, known, False]


def test_box_labels_are_renamed_dropped_or_refused(folder: Path) -> None:
    lines = ["image,label,x1,y1,x2,y2", "a.png,tumour,1,2,5,7", "b.png,dust,1,2,5,9"]
    cohort = _boxes(folder, *lines, rename={"tumour": "Mass", "dust": ""}, complete=True)
    assert cohort.boxes is not None
    assert cohort.boxes.of(0)[1].tolist() == [0]
    assert len(cohort.boxes.of(1)[1]) == 0
    with pytest.raises(DataError, match=r"boxes.csv, line 3: column 'label' .*Mass.*found 'dust'"):
        _boxes(folder, *lines, rename={"tumour": "Mass"})
    for corners in ("5,2,5,9", "1,9,5,2"):
        with pytest.raises(DataError, match="line 2: .*x1 < x2 and y1 < y2"):
            _boxes(folder, "image,label,x1,y1,x2,y2", f"b.png,Mass,{corners}")


def _masks(folder: Path, *lines: str) -> Cohort:
    path = _write(folder / "masks.csv", "image,mask,structure", *lines)
    return _load(folder, masks=MasksCsv(csv=path))


def test_masks_are_read_by_organ_and_unknown_ones_are_nan(folder: Path) -> None:
    mask = np.zeros((8, 6), np.uint8)
    mask[2:5, 1:3] = 255
    Image.fromarray(mask).save(folder / "m.png")
    Image.fromarray(255 - mask).save(folder / "n.png")
    cohort = _masks(folder, "a.png,m.png,lungs", "a.png,n.png,heart")
    assert cohort.organs == ("lungs", "heart")
    assert cohort.masks is not None
    np.testing.assert_array_equal(cohort.masks(0), np.stack([mask, 255 - mask]) / 255)
    unknown = cohort.masks(1)
    assert unknown.shape == (2, 10, 20)
    assert np.isnan(unknown).all()


def test_broken_masks_are_named(folder: Path) -> None:
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(folder / "m.png")
    cohort = _masks(folder, "a.png,m.png,lungs")
    assert cohort.masks is not None
    with pytest.raises(DataError, match="m.png: expected a mask of the film's size 6x8"):
        cohort.masks(0)
    with pytest.raises(DataError, match=r"masks.csv, line 3: the mask .*gone.png does not exist"):
        _masks(folder, "a.png,m.png,lungs", "b.png,gone.png,lungs")
    with pytest.raises(
        DataError, match=r"masks.csv, line 3: image 'a.png', structure 'lungs' repeats line 2"
    ):
        _masks(folder, "a.png,m.png,lungs", "a.png,m.png,lungs")


GARBAGE = st.one_of(
    st.text(max_size=6),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(
        ["", " ", '"', '""', "'", ",", "\n", "\r", "\0", "1e308", "-1e308", "nan", "inf", "-0"]
    ),
    st.sampled_from(["../a.png", ".", "/", "x" * 300, "a.png\0", "sub", "train", "Mass", "\uff11"]),
)  # fmt: skip


def _cell(valid: str) -> st.SearchStrategy[str]:
    return st.integers(0, 19).flatmap(lambda n: GARBAGE if n == 0 else st.just(valid))


def _lines(header: str, rows: list[list[str]]) -> st.SearchStrategy[list[str]]:
    line = [st.tuples(*(_cell(valid) for valid in row)).map(",".join) for row in rows]
    return st.tuples(*line).map(lambda drawn: [header, *drawn])


@settings(max_examples=150, deadline=None)
@given(
    _lines("image,patient,split,Mass", [["a.png", "p1", "train", "1"], ["b.png", "p2", "", ""]]),
    _lines("image,x,y,d,t,who", [["a.png", "1", "2", "0.3", "0", "r"]] * 2),
    _lines("image,label,x1,y1,x2,y2", [["b.png", "Mass", "1", "2", "5", "6"]]),
    st.sampled_from(["pixel", "fraction"]),
    st.booleans(),
)
def test_garbage_in_cells_loads_or_is_a_data_error(
    scratch: Path, images: list[str], gaze: list[str], boxes: list[str], units: str, sized: bool
) -> None:
    options = {
        "images": {"patient": "patient", "split": "split", "labels": ["Mass"]},
        "gaze": {"units": units, "duration": "d", "duration_unit": "ms", "start": "t"}
        | {"start_unit": "s", "reader": "who"},
        "boxes": {"sized": sized},
    }
    for (name, part), lines in zip(options.items(), (images, gaze, boxes), strict=True):
        path = scratch / f"{name}.csv"
        path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        part["csv"] = path  # type: ignore[index]
    try:
        cohort = csv_cohort(CsvConfig.model_validate(options), "mine")
    except DataError:
        return
    assert set(np.unique(cohort.labels[~np.isnan(cohort.labels)])) <= {0, 1}
    assert cohort.gaze is not None
    assert cohort.boxes is not None
    assert np.isfinite(cohort.gaze.frame()[["x", "y", "duration", "start"]]).all(axis=None)
    assert (cohort.gaze.frame()["duration"] > 0).all()
    boxed = cohort.boxes.frame()
    assert (boxed["x1"] < boxed["x2"]).all()
    assert (cohort.table["patient_id"].str.strip() != "").all()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60))
def test_garbage_bytes_load_or_are_a_data_error(scratch: Path, content: bytes) -> None:
    path = scratch / "bytes.csv"
    for prefix in (b"", b"image,patient,Mass\n"):
        path.write_bytes(prefix + content)
        try:
            cohort = csv_cohort(CsvConfig(images=ImagesCsv(csv=path, labels=("Mass",))), "mine")
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017 - loading is as good
        else:
            assert set(cohort.table["image_id"]) <= set(SIZES)


def test_real_gaze_is_loaded_whole(shared: Path) -> None:
    folder = shared / "real-gaze"
    config = CsvConfig.model_validate(
        {
            "images": {"csv": folder / "images.csv", "root": folder / "images"},
            "gaze": {"csv": folder / "fixations.csv", "duration": "duration"}
            | {"duration_unit": "ms", "order": "index", "reader": "subject", "outside": "error"},
        }
    )
    cohort = csv_cohort(config, "osie")
    assert len(cohort) == 240
    assert cohort.labels.shape == (240, 0)
    assert set(zip(cohort.table["height"], cohort.table["width"], strict=True)) == {(240, 320)}
    assert cohort.gaze is not None
    assert cohort.gaze.n_points == 33_626
    assert cohort.has_gaze.all()
    raw = pd.read_csv(folder / "fixations.csv", dtype={"subject": str})
    for row in (0, 17, 239):
        name = cohort.table["image_id"].iat[row]
        mine = raw[raw["image"] == name].sort_values(["subject", "index"])
        gaze = cohort.gaze.of(row)
        assert gaze.reader.tolist() == mine["subject"].tolist()
        np.testing.assert_array_equal(gaze.x, mine["x"])
        np.testing.assert_array_equal(gaze.y, mine["y"])
        np.testing.assert_allclose(gaze.duration, mine["duration"] / 1000)
    total = cohort.gaze.frame()["duration"].sum()
    assert total == pytest.approx(raw["duration"].sum() / 1000)
    assert 0.02 <= cohort.gaze.frame()["duration"].min() < 0.3


def test_real_radiographs_are_loaded_with_labels_boxes_and_masks(shared: Path) -> None:
    folder = shared / "real-cxr"
    labels = ("Cardiomegaly", "Effusion", "Pneumonia", "COVID-19")
    drop = {"Lung Opacity": "", "Atelectasis": "", "Nodule": "", "Mass": ""}
    config = CsvConfig.model_validate(
        {
            "images": {"csv": folder / "labels.csv", "patient": "patient_id", "source": "source"}
            | {"labels": labels},
            "boxes": {"csv": folder / "boxes.csv", "corners": ["x", "y", "w", "h"], "sized": True}
            | {"rename": drop},
            "masks": {"csv": folder / "masks.csv"},
        }
    )
    cohort = csv_cohort(config, "real")
    check_splits(cohort)
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(cohort) == len(rows) == 904
    assert cohort.table["patient_id"].nunique() == 757
    expected = [[float(row[name] or "nan") for name in labels] for row in rows]
    np.testing.assert_array_equal(cohort.labels, np.array(expected, np.float32))
    assert cohort.table["height"].tolist() == [int(row["height"]) for row in rows]
    assert cohort.table["width"].tolist() == [int(row["width"]) for row in rows]
    assert cohort.boxes is not None
    assert len(cohort.boxes.frame()) == 5
    row = cohort.table["image_id"].tolist().index("nih/00001369_000.jpg")
    np.testing.assert_allclose(cohort.boxes.of(row)[0][0], [168.5, 138.2, 445.4, 331.6])
    assert cohort.organs == ("lungs",)
    assert cohort.masks is not None
    masked = cohort.table["image_id"].tolist().index("covid_nc/16654_1_1.jpg")
    lungs = cohort.masks(masked)
    assert lungs.shape == (1, *cohort.size_of(masked))
    assert 0.1 < lungs.mean() < 0.6
    film = cohort.images(masked)
    assert film[lungs[0] == 1].mean() < film[lungs[0] == 0].mean() + 0.2
    assert np.isnan(cohort.masks(row)).all()


def test_skip_leaves_out_images_and_lists_each_with_its_line(folder: Path) -> None:
    # Its header is whole: that its pixels are not is seen when they are read.
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-20])
    lines = [
        "image,patient,Mass", "a.png,p1,1", "a.png,p1,0", "gone.png,p1,0", "b.png,,1",
        "sub/c.png,p2,maybe", "b.png,p3,-1", "cut.png,p4,0",
    ]  # fmt: skip
    cohort = _load(folder, images=_images(folder, *lines), on_error="skip")
    assert cohort.table["image_id"].tolist() == ["a.png", "cut.png"]
    found = {problem.line: problem.what for problem in cohort.problems}
    assert found.keys() == {3, 4, 5, 6, 7}
    assert "image 'a.png' contradicts line 2" in found[3]
    assert "gone.png: the file does not exist" in found[4]
    assert "column 'patient' must not be empty" in found[5]
    assert "column 'Mass' must be a finite number or empty, found 'maybe'" in found[6]
    assert "column 'Mass' must be 1, 0 or empty, found '-1'" in found[7]
    assert all(problem.file == str(folder / "images.csv") for problem in cohort.problems)


def test_nothing_left_is_refused_even_with_skip(folder: Path) -> None:
    images = _images(folder, "image,patient,Mass", "gone.png,p1,1")
    with pytest.raises(
        DataError, match=r": no row is left; .*line 2: .*gone.png: the file does not"
    ):
        _load(folder, images=images, on_error="skip")


def test_skip_leaves_out_points_and_keeps_the_others_in_place(folder: Path) -> None:
    lines = [
        "image,x,y,d,t", "a.png,1,1,0.2,3", "a.png,x,1,0.2,1", "a.png,2,1,-0.2,2",
        "b.png,3,1,0.2,5", "b.png,3,1,0.2,5", "b.png,99,1,0.2,4", "a.png,4,1,0.5,0",
    ]  # fmt: skip
    path = _write(folder / "gaze.csv", *lines)
    units = {"duration": "d", "duration_unit": "s", "start": "t", "start_unit": "s"}
    spec = GazeCsv.model_validate({"csv": path, "outside": "error", **units})
    cohort = _load(folder, gaze=spec, on_error="skip")
    found = {problem.line: problem.what for problem in cohort.problems}
    assert found.keys() == {3, 4, 6, 7}
    assert "column 'x' must be a finite number, found 'x'" in found[3]
    assert "column 'd' must be positive, found '-0.2'" in found[4]
    assert "repeats line 5" in found[6]
    assert "column 'x' must lie on the image, found '99'" in found[7]
    assert cohort.gaze is not None
    # Sorted by time, whatever the order of the file.
    assert cohort.gaze.of(0).x.tolist() == [4, 1]
    assert cohort.gaze.of(0).duration.tolist() == [0.5, 0.2]
    assert cohort.gaze.of(1).x.tolist() == [3]


def test_skip_leaves_out_boxes_and_masks(folder: Path) -> None:
    _write(folder / "boxes.csv", "image,label,x1,y1,x2,y2", "a.png,Mass,1,2,5,7",
           "a.png,dust,1,2,5,7", "b.png,Mass,5,2,5,9", "b.png,Mass,q,2,5,9")  # fmt: skip
    _write(folder / "masks.csv", "image,mask,structure", "a.png,m.png,lungs", "b.png,n.png,lungs",
           "a.png,m.png,lungs")  # fmt: skip
    Image.fromarray(np.zeros((8, 6), np.uint8)).save(folder / "m.png")
    parts = {
        "boxes": BoxesCsv(csv=folder / "boxes.csv"),
        "masks": MasksCsv(csv=folder / "masks.csv"),
    }
    cohort = _load(folder, **parts, on_error="skip")
    assert cohort.boxes is not None
    assert len(cohort.boxes.frame()) == 1
    names = [(Path(problem.file).name, problem.line) for problem in cohort.problems]
    assert sorted(names) == [
        ("boxes.csv", 3), ("boxes.csv", 4), ("boxes.csv", 5), ("masks.csv", 3), ("masks.csv", 4)
    ]  # fmt: skip
    assert cohort.masks is not None
    assert np.isnan(cohort.masks(1)).all()


def test_boxes_that_are_renamed_away_are_counted(folder: Path) -> None:
    lines = ["image,label,x1,y1,x2,y2", "a.png,dust,1,2,5,7", "b.png,dust,1,2,5,9"]
    cohort = _boxes(folder, *lines, rename={"dust": ""})
    assert cohort.notes == ["boxes.csv: 2 box(es) without a label left out"]


def test_raw_samples_of_a_table_become_fixations_where_asked(folder: Path) -> None:
    rows = [f"a.png,{1 + 3 * (i >= 30)},2,{i / 60:.5f}" for i in range(60)]
    path = folder / "gaze.csv"
    path.write_text("\n".join(["image,x,y,time", *rows]) + "\n")
    spec = {"csv": path, "start": "time", "start_unit": "s", "samples": True,
            "pixels_per_degree": 1.0, "detect": {"method": "idt"}}  # fmt: skip
    gaze = _load(folder, gaze=GazeCsv.model_validate(spec)).gaze
    assert gaze is not None
    assert not gaze.samples
    found = gaze.of(0)
    assert found.x.tolist() == [1, 4]
    np.testing.assert_allclose(found.start, [0, 0.5], atol=1e-5)
    np.testing.assert_allclose(found.duration, [0.5, 0.5], atol=1e-4)
    with pytest.raises(ValidationError, match="samples: true, a start column"):
        GazeCsv.model_validate({**spec, "samples": False})

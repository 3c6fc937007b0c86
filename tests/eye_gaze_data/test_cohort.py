import pickle
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eye_gaze_data.cohort import BoxTable, Cohort, Pixels, merge, with_splits
from eye_gaze_data.errors import DataError
from eye_gaze_data.gaze import GAZE_COLUMNS, GazeTable
from eye_gaze_data.splits import check_splits, split_table

NAN = float("nan")


class _Films:
    """Row r of a cohort with base b is a film of height 4 + r and level b + r / 100."""

    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, row: int) -> Pixels:
        return np.full((4 + row, 6), self.base + row / 100, np.float32)


class _Organs:
    def __init__(self, n_organs: int, base: float) -> None:
        self.n_organs, self.base = n_organs, base

    def __call__(self, row: int) -> Pixels:
        planes = self.base + np.arange(self.n_organs, dtype=np.float32) / 10
        whole = np.broadcast_to(planes[:, None, None], (self.n_organs, 4 + row, 6))
        return whole.astype(np.float32)


def _cohort(
    name: str,
    labels: dict[str, list[float]],
    patients: Sequence[str],
    *,
    split: Sequence[str] | str = "train",
    base: float = 0.1,
) -> Cohort:
    n = len(patients)
    table = pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(n)],
            "patient_id": list(patients),
            "study_id": [f"s{row}" for row in range(n)],
            "split": split,
            "path": "",
            "height": [4 + row for row in range(n)],
            "width": 6,
            "source": name,
            **labels,
        }
    )
    return Cohort(name, table, tuple(labels), _Films(base))


def _gaze(n_rows: int, rows: Sequence[int], *, samples: bool = False) -> GazeTable:
    points = [(row, float(i), 2.0, 0.1, float(i), "r") for i, row in enumerate(rows)]
    degrees = np.arange(30, 30 + n_rows, dtype=np.float64)
    table = pd.DataFrame(points, columns=list(GAZE_COLUMNS))
    return GazeTable(table, n_rows, degrees, samples=samples)


def _boxes(n_rows: int, rows: Sequence[tuple[int, int, float]]) -> BoxTable:
    table = pd.DataFrame(
        [(row, label, x, 1.0, x + 2, 3.0) for row, label, x in rows],
        columns=["row", "label", "x1", "y1", "x2", "y2"],
    )
    return BoxTable(table, np.arange(n_rows) % 2 == 0)


@pytest.fixture
def first() -> Cohort:
    cohort = _cohort("one", {"Mass": [1, 0, NAN], "Edema": [0, 1, 1]}, ["p", "p", "q"])
    return replace(
        cohort,
        gaze=_gaze(3, [2, 0, 2]),
        organs=("lungs", "heart"),
        masks=_Organs(2, 0.5),
        boxes=_boxes(3, [(2, 1, 7.0), (0, 0, 5.0), (2, 0, 6.0)]),
        notes=["left out 3"],
    )


@pytest.fixture
def second() -> Cohort:
    cohort = _cohort("two", {"Edema": [1, NAN], "Nodule": [0, 1]}, ["p", "r"], base=0.6)
    return replace(
        cohort,
        gaze=_gaze(2, [1], samples=True),
        organs=("heart", "spine"),
        masks=_Organs(2, 0.2),
        boxes=_boxes(2, [(1, 1, 9.0), (0, 0, 8.0)]),
        patient_namespace="shared",
    )


def test_a_cohort_knows_its_labels_sizes_and_rows(first: Cohort) -> None:
    assert len(first) == 3
    assert first.labels.dtype == np.float32
    np.testing.assert_array_equal(first.labels, np.array([[1, 0], [0, 1], [NAN, 1]], np.float32))
    assert first.has_gaze.tolist() == [True, False, True]
    assert first.size_of(2) == (6, 6)
    assert first.patient_namespace == "one"
    assert replace(first, gaze=None).has_gaze.tolist() == [False] * 3


def test_labels_are_a_copy_that_torch_may_wrap(first: Cohort) -> None:
    table = first.table.astype({"Mass": np.float32, "Edema": np.float32})
    labels = replace(first, table=table).labels
    assert labels.flags.writeable
    labels[:] = 7
    assert table["Mass"].tolist()[:2] == [1, 0]


def test_a_table_must_be_whole_and_its_ids_unique(first: Cohort) -> None:
    with pytest.raises(
        DataError, match=r"'one': its table lacks the column\(s\) \['split', 'Mass'"
    ):
        replace(first, table=first.table.drop(columns=["split", "Mass"]))
    with pytest.raises(DataError, match=r"unique, found 1 again: 'i0' \(row 2\)"):
        replace(first, table=first.table.assign(image_id=["i0", "i1", "i0"]))


def test_boxes_are_found_by_row(first: Cohort) -> None:
    assert first.boxes is not None
    boxes, labels = first.boxes.of(2)
    assert boxes.tolist() == [[7, 1, 9, 3], [6, 1, 8, 3]]
    assert labels.tolist() == [1, 0]
    assert first.boxes.of(1)[0].shape == (0, 4)
    again = BoxTable(first.boxes.frame(), first.boxes.known)
    pd.testing.assert_frame_equal(again.frame(), first.boxes.frame())


def test_one_cohort_keeps_its_ids(first: Cohort) -> None:
    alone = merge([first])
    assert alone.table["image_id"].tolist() == ["i0", "i1", "i2"]
    assert alone.table["patient_id"].tolist() == ["p", "p", "q"]
    assert alone.table["cohort"].tolist() == ["one"] * 3
    np.testing.assert_array_equal(alone.labels, first.labels)


def test_merged_ids_are_prefixed_and_labels_unite(first: Cohort, second: Cohort) -> None:
    both = merge([first, second])
    assert both.name == "one+two"
    assert both.table.index.tolist() == [0, 1, 2, 3, 4]
    assert both.table["image_id"].tolist() == ["one/i0", "one/i1", "one/i2", "two/i0", "two/i1"]
    assert both.table["patient_id"].tolist() == ["one/p", "one/p", "one/q", "shared/p", "shared/r"]
    assert both.table["study_id"].tolist()[2:4] == ["one/s2", "shared/s0"]
    assert both.table["cohort"].tolist() == ["one"] * 3 + ["two"] * 2
    assert both.pathologies == ("Mass", "Edema", "Nodule")
    expected = [[1, 0, NAN], [0, 1, NAN], [NAN, 1, NAN], [NAN, 1, 0], [NAN, NAN, 1]]
    np.testing.assert_array_equal(both.labels, np.array(expected, np.float32))
    assert list(both.notes) == ["one: left out 3"]
    assert first.table.columns.tolist().count("cohort") == 0  # the parts are as they were


def test_merged_readers_read_their_own_rows(first: Cohort, second: Cohort) -> None:
    both = merge([first, second])
    levels = [float(both.images(row)[0, 0]) for row in range(5)]
    np.testing.assert_allclose(levels, [0.1, 0.11, 0.12, 0.6, 0.61], rtol=1e-6)
    assert [both.images(row).shape for row in range(5)] == [both.size_of(row) for row in range(5)]
    assert both.organs == ("lungs", "heart", "spine")
    assert both.masks is not None
    planes = [both.masks(row)[:, 0, 0].tolist() for row in (1, 4)]
    np.testing.assert_allclose(planes[0], [0.5, 0.6, NAN], rtol=1e-6)
    np.testing.assert_allclose(planes[1], [NAN, 0.2, 0.3], rtol=1e-6)
    assert both.masks(4).shape == (3, 5, 6)
    without = merge([replace(first, organs=(), masks=None), second])
    assert without.masks is not None
    assert np.isnan(without.masks(0)).all()
    bare = merge([replace(first, organs=(), masks=None), replace(second, organs=(), masks=None)])
    assert bare.masks is None


def test_merged_gaze_is_shifted(first: Cohort, second: Cohort) -> None:
    gaze = merge([first, second]).gaze
    assert gaze is not None
    assert gaze.counts().tolist() == [1, 0, 2, 0, 1]
    assert gaze.of(2).x.tolist() == [0, 2]
    assert gaze.of(4).x.tolist() == [0]
    assert gaze.pixels_per_degree.tolist() == [30, 31, 32, 30, 31]
    assert gaze.samples is False
    assert second.gaze is not None
    assert second.gaze.samples is True
    late = merge([replace(first, gaze=None), second]).gaze
    assert late is not None
    assert late.counts().tolist() == [0, 0, 0, 0, 1]
    assert np.isnan(late.pixels_per_degree[:3]).all()
    assert late.samples is True
    assert merge([replace(first, gaze=None), replace(second, gaze=None)]).gaze is None


def test_merged_boxes_are_shifted_and_renumbered(first: Cohort, second: Cohort) -> None:
    boxes = merge([first, second]).boxes
    assert boxes is not None
    assert boxes.known.tolist() == [True, False, True, True, False]
    frame = boxes.frame()
    assert frame["row"].tolist() == [0, 2, 2, 3, 4]
    assert frame["label"].tolist() == [0, 1, 0, 1, 2]
    assert frame["x1"].tolist() == [5, 7, 6, 8, 9]
    late = merge([replace(first, boxes=None), second]).boxes
    assert late is not None
    assert late.known.tolist() == [False, False, False, True, False]
    assert late.frame()["row"].tolist() == [3, 4]
    assert merge([replace(first, boxes=None), replace(second, boxes=None)]).boxes is None


def test_chosen_classes_drop_labels_and_boxes(first: Cohort, second: Cohort) -> None:
    both = merge([first, second], ["Nodule", "Mass"])
    expected = [[NAN, 1], [NAN, 0], [NAN, NAN], [0, NAN], [1, NAN]]
    np.testing.assert_array_equal(both.labels, np.array(expected, np.float32))
    assert both.boxes is not None
    assert both.boxes.frame()["label"].tolist() == [1, 1, 0]
    assert both.boxes.frame()["row"].tolist() == [0, 2, 4]
    with pytest.raises(DataError, match=r"\['Fibrosis'\] are in no cohort; known: Mass, Edema"):
        merge([first, second], ["Mass", "Fibrosis"])


def test_a_column_that_is_no_label_of_a_cohort_is_unknown_there(
    first: Cohort, second: Cohort
) -> None:
    spiked = replace(second, table=second.table.assign(Mass=[1.0, 1.0]))
    assert np.isnan(merge([first, spiked]).labels[3:, 0]).all()


def test_a_merged_cohort_is_exclusive_if_all_labelled_ones_are(
    first: Cohort, second: Cohort
) -> None:
    single = replace(second, exclusive=True)
    mixed = merge([first, single])
    assert not mixed.exclusive
    assert mixed.table["exclusive"].tolist() == [False] * 3 + [True] * 2
    assert merge([replace(first, exclusive=True), single]).exclusive
    # A cohort without labels, of gaze alone, has no say.
    silent = replace(_cohort("gaze", {}, ["z"]), gaze=_gaze(1, [0]))
    assert merge([single, silent]).exclusive
    assert not merge([first, silent]).exclusive
    assert not merge([silent]).exclusive
    assert merge([silent]).labels.shape == (1, 0)


def test_two_cohorts_of_one_name_are_refused(first: Cohort) -> None:
    with pytest.raises(DataError, match="image ids must be unique, found 3 again: 'one/i0'"):
        merge([first, first])


def test_rows_of_a_split_and_of_named_cohorts(first: Cohort, second: Cohort) -> None:
    first = with_splits(first, ["train", "train", "test"])
    second = with_splits(second, ["test", ""])
    both = merge([first, second])
    assert both.rows_of("train").tolist() == [0, 1]
    assert both.rows_of("test").tolist() == [2, 3]
    assert both.rows_of("test", ["two"]).tolist() == [3]
    assert both.rows_of("test", ["one", "two"]).tolist() == [2, 3]
    assert both.rows_of("valid").tolist() == []
    assert both.rows_of("test").dtype == np.int64


def test_a_shared_namespace_lets_a_torn_patient_be_caught(first: Cohort, second: Cohort) -> None:
    first = with_splits(first, ["train", "train", "test"])
    second = with_splits(second, ["test", "test"])
    check_splits(first)
    check_splits(second)
    check_splits(merge([first, second]))  # another namespace: 'p' is somebody else
    with pytest.raises(DataError) as caught:
        check_splits(merge([replace(first, patient_namespace="shared"), second]))
    for word in ("1 patient(s)", "'shared/p'", "'one/i0' in train", "'two/i0' in test"):
        assert word in str(caught.value)


def test_split_table_lists_every_row(first: Cohort, second: Cohort) -> None:
    listed = split_table(merge([first, second]))
    assert listed.columns.tolist() == ["cohort", "image_id", "patient_id", "split"]
    assert listed.iloc[3].tolist() == ["two", "two/i0", "shared/p", "train"]
    assert split_table(first)["cohort"].tolist() == ["one"] * 3


def test_a_merged_cohort_survives_a_pickle(first: Cohort, second: Cohort) -> None:
    both = merge([first, second])
    copy: Cohort = pickle.loads(pickle.dumps(both))  # noqa: S301 - our own bytes
    pd.testing.assert_frame_equal(copy.table, both.table)
    assert copy.masks is not None
    assert both.masks is not None
    for row in range(5):
        np.testing.assert_array_equal(copy.images(row), both.images(row))
        np.testing.assert_array_equal(copy.masks(row), both.masks(row))
    assert copy.gaze is not None
    assert copy.gaze.of(2).x.tolist() == [0, 2]
    assert copy.boxes is not None
    assert copy.boxes.of(4)[0].tolist() == [[9, 1, 11, 3]]


def test_optional_columns_of_gaze_survive_a_merge(first: Cohort, second: Cohort) -> None:
    points = _gaze(2, [1, 1]).frame().assign(ppd_x=[40.0, 50.0], phase=["search", "dictation"])
    merged = merge([first, replace(second, gaze=GazeTable(points, 2))]).gaze
    assert merged is not None
    assert merged.of(4).optional["ppd_x"].tolist() == [40, 50]
    assert merged.of(4).optional["phase"].tolist() == ["search", "dictation"]
    assert np.isnan(merged.of(2).optional["ppd_x"]).all()
    assert merged.of(2).optional["phase"].tolist() == ["", ""]


@pytest.mark.parametrize(
    ("corners", "told"),
    [
        ((9.0, 1.0, 5.0, 3.0), "x1 9, y1 1, x2 5, y2 3"),
        ((1.0, 4.0, 5.0, 3.0), "x1 1, y1 4, x2 5, y2 3"),
        ((1.0, 1.0, NAN, 3.0), "x1 1, y1 1, x2 nan, y2 3"),
    ],
)
def test_a_box_turned_over_or_without_a_corner_is_refused_by_name(
    first: Cohort, corners: tuple[float, ...], told: str
) -> None:
    columns = ["row", "label", "x1", "y1", "x2", "y2"]
    rows = [(0, 0, 1.0, 1.0, 1.0, 2.0), (2, 1, *corners)]
    table = BoxTable(pd.DataFrame(rows, columns=columns), np.ones(3, bool))
    name = first.table["image_id"].iat[2]
    message = f"found 1 other(s); the first, of image '{name}', Edema, has {told}"
    with pytest.raises(DataError, match=re.escape(message)):
        replace(first, boxes=table)

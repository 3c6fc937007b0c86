import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from eye_gaze_data.cohort import BoxTable, Cohort
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.readers.torchxrayvision import as_torchxrayvision, from_torchxrayvision
from eye_gaze_data.splits import check_splits
from tests.eye_gaze_data.readers.written import drawn

NAN = float("nan")
FILMS = [np.arange(12, dtype=np.float32).reshape(3, 4) * (row + 1) / 60 for row in range(5)]


class StandIn:
    """What torchxrayvision 1.5 promises of a data set, and no more."""

    def __init__(self, films: list[np.ndarray] | None = None) -> None:
        self.films = FILMS if films is None else films
        self.pathologies = ["Effusion", "Pleural_Thickening", "Mass"]
        self.labels = np.array(
            [[1, 0, NAN], [0, 0, 1], [NAN, NAN, NAN], [1, 1, 1], [0, 1, 0]], np.float32
        )
        self.csv = pd.DataFrame(
            {
                "patientid": ["7", "7", "9", "p12", "13"],
                "view": ["PA", "AP", None, "L", "PA"],
                "age_years": [60, 61, None, 12.5, 3],
                "sex_male": [True, True, False, False, None],
                "sex_female": [False, False, True, False, None],
                "Image Index": [f"{row}.png" for row in range(5)],
            },
            index=[4, 8, 15, 16, 23],
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, idx: int) -> dict[str, Any]:
        film = (2 * self.films[idx] - 1) * 1024
        return {"idx": idx, "lab": self.labels[idx], "img": film[None].astype(np.float32)}


def test_its_films_labels_and_patients_become_a_cohort() -> None:
    cohort = from_torchxrayvision(StandIn(), "xrv", image_id="Image Index")
    assert cohort.pathologies == ("Effusion", "Pleural_Thickening", "Mass")
    np.testing.assert_array_equal(cohort.labels, StandIn().labels)
    assert cohort.table["image_id"].tolist() == [f"{row}.png" for row in range(5)]
    assert cohort.table["patient_id"].tolist() == ["7", "7", "9", "12", "13"]
    assert cohort.table["view"].tolist() == ["PA", "AP", "", "L", "PA"]
    assert cohort.table["sex"].tolist() == ["M", "M", "F", "", ""]
    np.testing.assert_array_equal(cohort.table["age"], [60, 61, NAN, 12.5, 3])
    assert cohort.table["Image Index"].tolist() == cohort.table["image_id"].tolist()
    assert [cohort.size_of(row) for row in range(5)] == [(3, 4)] * 5
    for row, film in enumerate(FILMS):
        read = cohort.images(row)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, film, atol=1e-6)
    check_splits(cohort)
    assert not cohort.notes


def test_names_may_be_the_common_ones() -> None:
    cohort = from_torchxrayvision(StandIn(), "xrv", vocabulary="common")
    assert cohort.pathologies == ("Pleural Effusion", "Pleural Thickening", "Mass")
    assert cohort.table["image_id"].tolist() == list("01234")
    odd = StandIn()
    odd.pathologies = ["Effusion", "", "Mass"]
    with pytest.raises(ConfigError, match="no finding is called ''"):
        from_torchxrayvision(odd, "xrv", vocabulary="common")


def test_without_patients_each_film_is_one_and_a_note_says_so() -> None:
    dataset = StandIn()
    dataset.csv = dataset.csv.drop(columns=["patientid", "view", "age_years", "sex_male"])
    cohort = from_torchxrayvision(dataset, "xrv")
    assert cohort.table["patient_id"].nunique() == 5
    assert "every film is a patient of its own" in cohort.notes[0]
    assert not {"view", "age", "sex"} & set(cohort.table)


def test_a_known_size_spares_reading_every_film() -> None:
    dataset = StandIn(films=[])
    cohort = from_torchxrayvision(dataset, "xrv", size=(3, 4), fractions={"test": 1.0})
    assert cohort.size_of(4) == (3, 4)
    assert set(cohort.table["split"]) == {"test"}


@pytest.mark.parametrize("spoil", ["labels", "csv", "films"])
def test_what_is_not_aligned_is_refused(spoil: str) -> None:
    dataset = StandIn()
    if spoil == "labels":
        dataset.labels = dataset.labels[:, :2]
    elif spoil == "csv":
        dataset.csv = dataset.csv.iloc[:4]
    else:
        dataset.labels = dataset.labels[:4]
    with pytest.raises(DataError, match=r"expected \d rows \(csv\) of 3 labels, found labels \("):
        from_torchxrayvision(dataset, "xrv")


@pytest.mark.parametrize(
    ("film", "message"),
    [
        (np.full((3, 4), 1.2, np.float32), r"grey levels in \[-1024, 1024\], found \[1433.6"),
        (np.full((3, 4), NAN, np.float32), r"grey levels in \[-1024, 1024\], found \[nan"),
        (np.zeros((0, 4), np.float32), r"expected an image \(1, H, W\), found \(1, 0, 4\)"),
    ],
)
def test_films_of_another_range_or_shape_are_refused(film: np.ndarray, message: str) -> None:
    cohort = from_torchxrayvision(StandIn([film] * 5), "xrv", size=(3, 4))
    with pytest.raises(DataError, match=rf"cohort 'xrv', row 2: .*{message}"):
        cohort.images(2)


def _cohort() -> Cohort:
    cohort = drawn()
    table = cohort.table.assign(sex=["M", "F", ""] * (len(cohort) // 3))
    return replace(cohort, table=table)


def test_a_cohort_has_the_face_of_its_data_sets() -> None:
    cohort = _cohort()
    view = as_torchxrayvision(cohort)
    assert len(view) == len(cohort)
    assert view.pathologies == list(cohort.pathologies)
    assert view.labels.dtype == np.float32
    np.testing.assert_array_equal(view.labels, cohort.labels)
    assert view.csv["patientid"].tolist() == cohort.table["patient_id"].tolist()
    assert view.csv["age_years"].tolist() == cohort.table["age"].tolist()
    assert view.csv["sex_male"].tolist() == (cohort.table["sex"] == "M").tolist()
    assert view.csv["sex_female"].tolist() == (cohort.table["sex"] == "F").tolist()
    assert view.csv["has_masks"].tolist() == (cohort.labels.sum(1) > 0).tolist()
    sample = view[3]
    assert sorted(sample) == ["idx", "img", "lab"]
    assert sample["idx"] == 3
    assert sample["img"].shape == (1, 40, 56)
    assert sample["img"].dtype == np.float32
    np.testing.assert_allclose(sample["img"][0], (2 * cohort.images(3) - 1) * 1024, atol=1e-3)
    np.testing.assert_array_equal(sample["lab"], cohort.labels[3])
    assert view.string() == repr(view) == f"phantom num_samples={len(view)} data_aug=None"


def test_its_names_are_torchxrayvisions() -> None:
    cohort = drawn()
    table = cohort.table.rename(columns={"Effusion": "Pleural effusion", "Mass": "Own"})
    names = tuple("Pleural effusion" if n == "Effusion" else n for n in cohort.pathologies)
    view = as_torchxrayvision(replace(cohort, table=table, pathologies=names))
    assert view.pathologies == list(cohort.pathologies)


def test_a_split_is_a_data_set_of_its_own() -> None:
    cohort = drawn()
    view = as_torchxrayvision(cohort, "train")
    rows = cohort.rows_of("train")
    assert 0 < len(view) == len(rows) < len(cohort)
    np.testing.assert_array_equal(view.labels, cohort.labels[rows])
    assert view.csv["image_id"].tolist() == cohort.table["image_id"].iloc[rows].tolist()
    assert view.csv.index.tolist() == list(range(len(rows)))
    np.testing.assert_allclose(view[1]["img"][0] / 2048 + 0.5, cohort.images(rows[1]), atol=1e-6)


def test_there_and_back_again() -> None:
    cohort = drawn()
    back = from_torchxrayvision(as_torchxrayvision(cohort), "back", image_id="image_id")
    np.testing.assert_array_equal(back.labels, cohort.labels)
    assert back.table["image_id"].tolist() == cohort.table["image_id"].tolist()
    patients = cohort.table["patient_id"].str.removeprefix("p").tolist()
    assert back.table["patient_id"].tolist() == patients
    np.testing.assert_allclose(back.images(2), cohort.images(2), atol=1e-6)


def test_masks_are_by_column_and_by_organ() -> None:
    cohort = drawn()
    boxes = pd.DataFrame(
        {"row": [1, 1, 1], "label": [3, 3, 0], "x1": [2.0, 30, -4], "y1": [4.0, 1, 30]}
        | {"x2": [5.0, 31, 6], "y2": [9.0, 3, 60]}
    )
    cohort = replace(cohort, boxes=BoxTable(boxes, np.ones(len(cohort), bool)))
    view = as_torchxrayvision(cohort, pathology_masks=True, semantic_masks=True)
    masks = view[1]["pathology_masks"]
    assert sorted(masks) == [0, 3]
    expected = np.zeros((1, 40, 56))
    expected[0, 4:9, 2:5] = expected[0, 1:3, 30:31] = 1
    np.testing.assert_array_equal(masks[3], expected)
    assert masks[0].sum() == 6 * 10
    assert view[0]["pathology_masks"] == {}
    organs = view[1]["semantic_masks"]
    assert list(organs) == list(cohort.organs)
    assert cohort.masks is not None
    np.testing.assert_array_equal(organs["heart"][0], cohort.masks(1)[2])
    view.pathologies = ["Nodule", "Mass"]  # as relabel_dataset does
    assert sorted(view[1]["pathology_masks"]) == [0]


def test_transforms_see_image_and_masks_alike() -> None:
    def by(draw: Callable[[], float]) -> Callable[[np.ndarray], np.ndarray]:
        return lambda pixels: np.roll(pixels, int(draw() * 40), -1)

    cohort = drawn()
    boxes = pd.DataFrame({"row": [0], "label": [2], "x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 40.0})
    cohort = replace(cohort, boxes=BoxTable(boxes, np.ones(len(cohort), bool)))
    for draw in (random.random, lambda: float(torch.rand(()))):
        view = as_torchxrayvision(cohort, transform=by(draw), data_aug=by(draw))
        masked = as_torchxrayvision(
            cohort, transform=by(draw), data_aug=by(draw), pathology_masks=True
        )
        plain = (2 * cohort.images(0) - 1) * 1024
        shifts = set()
        for _ in range(8):
            sample = masked[0]
            shift = int(sample["pathology_masks"][2][0, 0].argmax())
            np.testing.assert_allclose(sample["img"][0], np.roll(plain, shift, 1), atol=1e-3)
            shifts.add(shift)
        assert len(shifts) > 2
        assert view[0]["img"].shape == (1, 40, 56)

import hashlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from eye_gaze_data.cohort import Cohort, Pixels
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.splits import check_splits, split_by_patient

FRACTIONS = {"train": 0.7, "valid": 0.1, "test": 0.2}
PATIENTS = [f"p{i}" for i in range(5000)]
GOLDEN = ["train"] * 3 + ["valid"] + ["train"] * 2 + ["test"] + ["train"] * 2 + ["valid"]
GOLDEN_HASH = "cf85f2f083c783d1"


class _Black:
    def __call__(self, row: int) -> Pixels:
        del row
        return np.zeros((2, 2), np.float32)


def _cohort(patients: list[str], split: list[str]) -> Cohort:
    table = pd.DataFrame(
        {
            "image_id": [f"i{row}" for row in range(len(patients))],
            "patient_id": patients,
            "study_id": "",
            "split": split,
            "path": "",
            "height": 2,
            "width": 2,
            "source": "",
        }
    )
    return Cohort("films", table, (), _Black())


def test_splits_stay_what_they_were() -> None:
    """Golden: a change here would move patients of old runs between training and test."""
    drawn = split_by_patient(PATIENTS, FRACTIONS)
    assert drawn[:10] == GOLDEN
    assert hashlib.sha256(",".join(drawn).encode()).hexdigest()[:16] == GOLDEN_HASH


def test_a_place_is_a_hash_of_seed_and_patient() -> None:
    for seed in (0, 7):
        drawn = split_by_patient(PATIENTS[:200], FRACTIONS, seed)
        for patient, split in zip(PATIENTS[:200], drawn, strict=True):
            digest = hashlib.sha256(f"{seed}|{patient}".encode()).hexdigest()
            place = int(digest[:16], 16) / 16**16
            assert split == ("train" if place < 0.7 else "valid" if place < 0.8 else "test")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_are_met(seed: int) -> None:
    counts = Counter(split_by_patient(PATIENTS, FRACTIONS, seed))
    assert set(counts) == set(FRACTIONS)
    for name, share in FRACTIONS.items():
        deviation = (share * (1 - share) / 5000) ** 0.5
        assert counts[name] / 5000 == pytest.approx(share, abs=4 * deviation)


def test_adding_patients_moves_nobody_and_order_is_irrelevant() -> None:
    whole = dict(zip(PATIENTS, split_by_patient(PATIENTS, FRACTIONS), strict=True))
    part = PATIENTS[1000:1100][::-1] * 2
    assert split_by_patient(part, FRACTIONS) == [whole[patient] for patient in part]


def test_a_seed_draws_another_split() -> None:
    one, other = (split_by_patient(PATIENTS, FRACTIONS, seed) for seed in (0, 1))
    agree = np.mean([a == b for a, b in zip(one, other, strict=True)])
    assert agree == pytest.approx(0.7**2 + 0.1**2 + 0.2**2, abs=0.03)


def test_what_is_left_is_unused_and_a_whole_is_whole() -> None:
    counts = Counter(split_by_patient(PATIENTS, {"train": 0.5, "test": 0.25}))
    assert counts[""] / 5000 == pytest.approx(0.25, abs=0.03)
    assert set(split_by_patient(PATIENTS, {"train": 0, "valid": 1, "test": 0})) == {"valid"}
    thirds = {"train": 1 / 3, "valid": 1 / 3, "test": 1 / 3}
    assert "" not in split_by_patient(PATIENTS, thirds)
    tenths = {f"s{i}": 0.1 for i in range(10)}  # sums to 0.9999999999999999
    assert "" not in split_by_patient(PATIENTS, tenths)


@pytest.mark.parametrize(
    "fractions",
    [{}, {"train": 0.9, "test": 0.2}, {"train": -0.1, "test": 0.5}, {"train": float("nan")}],
)
def test_fractions_must_be_shares(fractions: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="shares that sum to at most 1"):
        split_by_patient(PATIENTS[:3], fractions)


def test_sound_splits_pass() -> None:
    check_splits(_cohort(["p", "p", "q", "r", "r"], ["train", "train", "test", "", "valid"]))
    check_splits(_cohort(["p"], [""]))


def test_a_torn_patient_is_named_with_images() -> None:
    cohort = _cohort(["p", "q", "q", "p", "p"], ["train", "test", "test", "valid", "train"])
    with pytest.raises(DataError) as caught:
        check_splits(cohort)
    message = str(caught.value)
    assert "cohort 'films': 1 patient(s) stand in two splits, e.g. 'p'" in message
    assert "'i0' in train, 'i3' in valid" in message
    assert "leave the split column out" in message


def test_an_unknown_split_is_named_with_an_image() -> None:
    with pytest.raises(
        DataError, match=r"split must be one of .*, found \['training'\] \(image 'i1'\)"
    ):
        check_splits(_cohort(["p", "q"], ["train", "training"]))

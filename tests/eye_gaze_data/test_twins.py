import csv
import io
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from eye_gaze_data.images import read_image
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort
from eye_gaze_data.twins import (
    NEAR,
    candidates,
    content_hash,
    look_hash,
    near_twins,
    twins,
)

Pixels = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def films() -> list[Pixels]:
    cohort = phantom_cohort(PhantomConfig(n_patients=12, height=160, width=128))
    return [cohort.images(row) for row in range(len(cohort))]


def distance(one: str, two: str) -> int:
    return (int(one, 16) ^ int(two, 16)).bit_count()


def recoded(film: Pixels, quality: int, factor: float) -> Pixels:
    image = Image.fromarray(np.round(film * 255).astype(np.uint8))
    image = image.resize((round(image.width * factor), round(image.height * factor)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.float32) / np.float32(255)


def test_content_tells_values_shapes_and_kinds_apart() -> None:
    levels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert content_hash(levels) == content_hash(levels.copy(order="F"))
    others: list[npt.NDArray[np.generic]] = [
        levels.reshape(4, 3),
        levels.astype(np.uint16),
        levels.T.copy(),
        levels + 1,
    ]
    assert len({content_hash(array) for array in (levels, *others)}) == 5
    assert len(content_hash(levels)) == 32


def test_a_look_survives_recoding_rescaling_and_a_change_of_contrast(films: list[Pixels]) -> None:
    for film in films:
        look = look_hash(film)
        assert len(look) == 128
        for quality, factor in ((60, 1), (90, 0.5), (95, 1.5)):
            assert distance(look, look_hash(recoded(film, quality, factor))) <= NEAR
        assert distance(look, look_hash(film * np.float32(0.9) + np.float32(0.05))) <= NEAR


def test_a_look_tells_turned_and_mirrored_films_apart(films: list[Pixels]) -> None:
    look = look_hash(films[0])
    for other in (films[0][:, ::-1], films[0][::-1], films[0].T):
        assert distance(look, look_hash(np.ascontiguousarray(other))) > 2 * NEAR


def test_a_look_is_zero_on_flat_ground() -> None:
    noise = np.random.default_rng(0).normal(0, 1e-4, (64, 64)).astype(np.float32)
    assert int(look_hash(np.full((64, 64), 0.5, np.float32) + noise), 16) == 0


def test_twins_are_told_against_the_first() -> None:
    assert twins(["a", "b", "a", "c", "b", "a"]) == [(0, 2), (1, 4), (0, 5)]
    assert twins([]) == []


def test_near_twins_are_all_pairs_within_reach() -> None:
    """Against all pairs, for hashes at every distance."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2, (6, 512)).astype(bool)
    rows = []
    for bits in base:
        for flips in (0, 1, NEAR // 2, NEAR, NEAR + 1, 40):
            other = bits.copy()
            other[rng.choice(512, flips, replace=False)] ^= True
            rows.append(other)
    looks = [np.packbits(bits).tobytes().hex() for bits in rows]
    expected = [
        (i, j)
        for i, j in combinations(range(len(looks)), 2)
        if distance(looks[i], looks[j]) <= NEAR
    ]
    assert near_twins(looks) == expected
    assert len(expected) == 25


def test_wherever_the_bits_differ_a_near_twin_is_found() -> None:
    """Flips spread over as many bands as can be, in many ways, and films all alike."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        bits = rng.integers(0, 2, 512).astype(bool)
        other = bits.copy()
        # Bit i belongs to band i % 16: at most one flip a band.
        bands = rng.choice(16, NEAR, replace=False)
        other[bands + 16 * rng.integers(0, 32, NEAR)] ^= True
        looks = [np.packbits(one).tobytes().hex() for one in (bits, other)]
        assert distance(*looks) == NEAR
        assert near_twins(looks) == [(0, 1)]
    assert near_twins([looks[0]] * 5) == list(combinations(range(5), 2))


def test_near_twins_of_none_and_one() -> None:
    assert near_twins([]) == []
    assert near_twins(["00" * 64]) == []


@pytest.mark.slow
def test_the_threshold_stands_between_real_films_and_their_copies(shared_data: Path) -> None:
    """The numbers that ``NEAR`` and the docs rest on; ``full`` repeats six of the films."""
    folder = shared_data / "real-cxr"
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    films = [read_image(folder / row["image"]) for row in rows]
    looks = [look_hash(film) for film in films]
    bits = np.unpackbits(np.frombuffer(bytes.fromhex("".join(looks)), np.uint8).reshape(904, -1), 1)
    plain = bits.astype(np.float32)
    apart = plain @ (1 - plain).T + (1 - plain) @ plain.T
    patients = np.array([row["patient_id"] for row in rows])
    assert apart[patients[:, None] != patients].min() == 52
    for quality, factor in ((50, 1), (90, 0.5)):
        copies = [look_hash(recoded(film, quality, factor)) for film in films[::6]]
        assert max(map(distance, looks[::6], copies)) <= 7 < NEAR
    nih = np.array([row["source"] == "NIH ChestX-ray14" for row in rows])
    packed = np.packbits(bits[nih], axis=1)
    assert sum(block.shape[1] for block in candidates(packed)) == 9  # of 110,215 pairs
    full = sorted((folder / "full").iterdir())
    found = near_twins([*looks, *(look_hash(read_image(path)) for path in full)])
    assert len(found) == len(full) == 6
    for one, two in found:
        assert full[two - 904].stem.removeprefix("mhh-") == Path(rows[one]["image"]).stem

import pickle

import pytest
import torch

from eye_gaze_data.fitted import FittedFilms

ONE = 4 * 6


def film(value: int) -> torch.Tensor:
    return torch.full((1, 2, 3), float(value))


@pytest.mark.parametrize(
    ("films", "memory", "kept"),
    [(3, 3 * ONE, 3), (3, 2 * ONE + 1, 2), (3, ONE - 1, 0), (20, 2 * ONE, 2), (21, 2 * ONE, 0)],
)
def test_films_are_kept_while_there_is_room_for_a_tenth(films: int, memory: int, kept: int) -> None:
    store = FittedFilms(films, memory)
    for row in range(films):
        store.keep("grid", row, film(row))
    found = [store.get("grid", row) for row in range(films)]
    assert [one.mean().item() for one in found if one is not None] == list(range(kept))


def test_one_grid_is_kept_at_a_time() -> None:
    store = FittedFilms(2)
    store.keep("one", 0, film(0))
    assert store.get("other", 0) is None
    store.keep("other", 1, film(1))
    assert store.get("one", 0) is None
    assert store.get("other", 0) is None
    found = store.get("other", 1)
    assert found is not None
    assert torch.equal(found, film(1))


def test_what_a_stage_does_not_read_makes_room() -> None:
    store = FittedFilms(3, 2 * ONE)
    for row in range(3):
        store.keep("grid", row, film(row))
    assert store.get("grid", 2) is None
    store.forget_all_but([1, 2])
    store.keep("grid", 2, film(2))
    kept = [store.get("grid", row) is not None for row in range(3)]
    assert kept == [False, True, True]


def test_films_do_not_travel_to_other_processes() -> None:
    store = FittedFilms(3)
    store.keep("grid", 0, film(0))
    other = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes
    assert other.get("grid", 0) is None
    assert store.get("grid", 0) is not None
    other.keep("grid", 1, film(1))
    assert other.get("grid", 1) is not None

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eye_gaze_data.errors import ConfigError
from eye_gaze_data.sampler import EpochSampler

Rows = npt.NDArray[np.int64]


def _rows(**parts: int) -> dict[str, Rows]:
    """Consecutive rows: ``_rows(a=2, b=3)`` is {a: [0, 1], b: [2, 3, 4]}."""
    starts = np.cumsum([0, *parts.values()])
    return {
        name: np.arange(start, start + count)
        for start, (name, count) in zip(starts, parts.items(), strict=False)
    }


def test_an_epoch_is_a_permutation_of_all_rows() -> None:
    sampler = EpochSampler(_rows(a=20, b=30), seed=1, epoch=lambda: 4)
    keys = list(sampler)
    assert len(keys) == len(sampler) == 50
    assert {key[0] for key in keys} == {4}
    assert sorted(key[1] for key in keys) == list(range(50))
    assert {key[2] for key in keys} == {0}
    order = [key[1] for key in keys]
    assert order != sorted(order)
    # The parts are mixed, not one after the other.
    assert 5 < sum(row < 20 for row in order[:25]) < 15


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    current = [0]
    sampler = EpochSampler(_rows(a=40), seed=7, epoch=lambda: current[0])
    orders = []
    for epoch in (0, 1, 2, 1, 0):
        current[0] = epoch
        orders.append([key[1] for key in sampler])
        np.random.default_rng().random()  # what else is drawn has no say
    assert orders[0] == orders[4] != orders[1]
    assert orders[1] == orders[3] != orders[2]
    fresh = EpochSampler(_rows(a=40), seed=7, epoch=lambda: 2)
    assert [key[1] for key in fresh] == orders[2]
    other = EpochSampler(_rows(a=40), seed=8, epoch=lambda: 2)
    assert [key[1] for key in other] != orders[2]


def test_the_epoch_is_asked_when_the_sampler_is_iterated() -> None:
    asked: list[int] = []

    def epoch() -> int:
        asked.append(len(asked))
        return asked[-1]

    sampler = EpochSampler(_rows(a=5), epoch=epoch)
    assert asked == []
    assert [next(iter(sampler))[0] for _ in range(3)] == [0, 1, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 6))
def test_ranks_share_an_epoch_without_overlap(total: int, world: int, batch: int) -> None:
    def sampler(rank: int, world_size: int) -> EpochSampler:
        return EpochSampler(
            _rows(a=total), seed=3, batch_size=batch, rank=rank, world_size=world_size
        )

    if total < world:
        with pytest.raises(ConfigError, match=rf"^{total} image\(s\) cannot be shared by {world} "):
            sampler(0, world)
        return
    whole = [key[1] for key in EpochSampler(_rows(a=total), seed=3)]
    shares = [[key[1] for key in sampler(rank, world)] for rank in range(world)]
    assert {len(share) for share in shares} == {len(sampler(0, world))}
    rows = [row for share in shares for row in share]
    assert len(rows) == len(set(rows))
    # Together the ranks take the head of the one order, in turn.
    length = len(shares[0])
    assert shares == [whole[rank::world][:length] for rank in range(world)]
    # Whole batches only, unless there is none.
    assert length % batch == 0 or length == total // world < batch
    assert total // world - length < batch


@pytest.mark.parametrize(
    ("total", "batch", "world", "length"),
    [(10, 4, 1, 8), (10, 5, 1, 10), (3, 4, 1, 3), (4, 4, 1, 4), (10, 4, 2, 4), (7, 4, 2, 3)],
)
def test_an_incomplete_last_batch_is_dropped_unless_it_is_the_only_one(
    total: int, batch: int, world: int, length: int
) -> None:
    sampler = EpochSampler(_rows(a=total), batch_size=batch, world_size=world)
    assert len(sampler) == len(list(sampler)) == length


def test_a_weighted_mix_has_exact_shares() -> None:
    rows = _rows(a=10, b=4, c=6)
    weights = {"a": 1.0, "b": 2.0, "c": 0.0}
    sampler = EpochSampler(rows, weights, seed=1, length=30)
    keys = list(sampler)
    counts = Counter(key[1] for key in keys)
    assert len(keys) == len(sampler) == 30
    assert sum(counts[row] for row in range(10)) == 10
    assert sum(counts[row] for row in range(10, 14)) == 20
    assert sum(counts[row] for row in range(14, 20)) == 0
    assert {counts[row] for row in range(10)} == {1}
    assert {counts[row] for row in range(10, 14)} == {5}  # no row falls behind
    assert len(set(keys)) == 30  # each time a row comes again it is counted
    for row in range(10, 14):
        assert [key[2] for key in keys if key[1] == row] == [0, 1, 2, 3, 4]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcd"), st.tuples(st.integers(1, 9), st.floats(0.01, 9)), min_size=1
    ),
    st.integers(1, 60),
    st.integers(1, 3),
)
def test_shares_are_met_to_the_row_over_all_ranks(
    mix: Mapping[str, tuple[int, float]], length: int, world: int
) -> None:
    rows = _rows(**{name: count for name, (count, _) in mix.items()})
    weights = {name: weight for name, (_, weight) in mix.items()}
    if length < world:
        return
    keys = []
    for rank in range(world):
        sampler = EpochSampler(
            rows, weights, seed=2, rank=rank, world_size=world, length=length - length % world
        )
        keys += list(sampler)
    assert len(keys) == len(set(keys)) == length - length % world
    drawn = Counter(key[1] for key in keys)
    for name, part in rows.items():
        exact = weights[name] / sum(weights.values()) * len(keys)
        counts = [drawn[row] for row in part.tolist()]
        assert abs(sum(counts) - exact) < 1 + 1e-9
        assert max(counts) - min(counts) <= 1


def test_a_mix_holds_as_many_rows_as_there_are_by_default() -> None:
    rows = _rows(a=7, b=1)
    assert len(EpochSampler(rows, {"a": 1, "b": 1})) == 8
    assert len(EpochSampler(rows, length=99)) == len(list(EpochSampler(rows, length=99))) == 8


@pytest.mark.parametrize("world", [1, 2, 3, 7, 20])
def test_evaluation_covers_each_row_once_in_order(world: int) -> None:
    rows = {"b": np.array([9, 4, 7]), "a": np.arange(20, 30)}
    shares = []
    for rank in range(world):
        sampler = EpochSampler(
            rows, shuffle=False, epoch=lambda: 5, batch_size=4, rank=rank, world_size=world
        )
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
        assert list(sampler) == shares[-1]
    expected = [(0, row) for row in [9, 4, 7, *range(20, 30)]]
    assert shares[0] == expected[::world]
    together = [key for share in shares for key in share]
    assert sorted(together) == sorted(expected)


@pytest.mark.parametrize("rows", [{}, {"a": 3, "b": 0}])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_empty_part_is_refused(rows: dict[str, int], shuffle: bool) -> None:
    with pytest.raises(ConfigError, match=r"no image to draw from in (an empty mix|\['b'\])"):
        EpochSampler(_rows(**rows), shuffle=shuffle)


@pytest.mark.parametrize(
    "weights",
    [{"a": 1.0}, {"a": 0.0, "b": 0.0}, {"a": 2.0, "b": -1.0}, {"a": 1.0, "b": float("nan")}],
)
def test_weights_that_are_no_shares_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"for each of \['a', 'b'\] a weight of at least 0"):
        EpochSampler(_rows(a=3, b=3), weights)

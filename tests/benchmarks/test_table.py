"""The table of benchmarks: what is interleaved, what counts, what a line says."""

import re
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from benchmarks.__main__ import SECTIONS, introduction, threads
from benchmarks.table import HEAD, Measured, Row, cpu, measure, peak_of, readable


def in_turn(values: list[float], name: str, order: list[str]) -> Callable[[], float]:
    left = iter(values)

    def timer() -> float:
        order.append(name)
        return next(left)

    return timer


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_and_its_peer_begin_in_turn_and_the_first_round_is_thrown_away() -> None:
    order: list[str] = []
    ours = in_turn([9.0, 1.0, 2.0, 4.0], "ours", order)
    theirs = in_turn([99.0, 3.0, 8.0, 20.0], "theirs", order)
    found = measure(Row("sort", ours, "bubbles", theirs, rounds=3))
    assert order == ["ours", "theirs", "theirs", "ours"] * 2
    assert (found.ours, found.theirs) == ([1.0, 2.0, 4.0], [3.0, 8.0, 20.0])
    # By round, 3, 4 and 5: not the ratio of the medians, which would be 4 as well by chance.
    assert found.ratios == [3.0, 4.0, 5.0]
    expected = ["sort", "2 s", "bubbles", "8 s", "4", "3 to 5", ""]
    assert cells(found.line()) == expected
    assert len(expected) == len(cells(HEAD[0]))


def test_the_gain_is_the_median_of_ratios_not_the_ratio_of_medians() -> None:
    # A machine that slows down tenfold in the middle slows both halves of a round.
    found = Measured(Row("a", float, "b"), [1.0, 10.0, 1.0], [2.0, 30.0, 9.0])
    assert sorted(found.ratios) == [2.0, 3.0, 9.0]
    assert cells(found.line())[4:6] == ["3", "2 to 9"]


def test_nothing_is_thrown_away_where_a_row_says_so() -> None:
    order: list[str] = []
    found = measure(Row("a", in_turn([5.0], "ours", order), rounds=1, thrown=0))
    assert (order, found.ours, found.theirs) == (["ours"], [5.0], [])
    assert cells(found.line()) == ["a", "5 s", "", "", "", "", ""]


def test_limits_in_seconds_and_as_a_gain() -> None:
    least = Measured(Row("a", float, limit="the decoder"), [0.5, 1.0, 2.0], [], least=0.75)
    assert least.share == 0.75
    assert cells(least.line())[-1] == "75% of the decoder"
    row = Row("a", float, "b", float, "what operations allow")
    most = Measured(row, [1.0], [2.7], most=3.0)
    assert most.share == pytest.approx(0.9)
    assert cells(most.line())[-1] == "90% of what operations allow (3)"
    limited = measure(Row("a", lambda: 2.0, limit="x", least=lambda: 1.0, rounds=1))
    assert (limited.least, limited.most, limited.share) == (1.0, None, 0.5)
    gained = measure(Row("a", lambda: 1.0, "b", lambda: 4.0, "x", most=lambda: 8.0, rounds=1))
    assert (gained.least, gained.most, gained.share) == (None, 8.0, 0.5)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(123.456, "123 s"), (1.0, "1 s"), (0.25, "250 ms"), (1e-3, "1 ms"), (4.2e-5, "42 µs")],
)
def test_seconds_are_readable(seconds: float, said: str) -> None:
    assert readable(seconds) == said


def test_bytes_are_readable() -> None:
    said = [readable(amount, "B") for amount in (3.08e9, 2.5e8, 1.5e4, 120.0)]
    assert said == ["3.08 GB", "250 MB", "15 kB", "0.12 kB"]
    found = Measured(Row("a", float, "b", float, unit="B"), [1e9], [2e9])
    assert cells(found.line())[1:5] == ["1 GB", "b", "2 GB", "2"]


def test_a_timer_calls_as_often_as_asked_and_divides() -> None:
    calls = count()
    seconds = cpu(lambda: next(calls), 7)()
    assert next(calls) == 7
    assert seconds >= 0


def test_peak_memory_is_what_a_call_adds_whatever_was_before() -> None:
    size = 64 * 2**20

    def fill(megabytes: int) -> float:
        return peak_of(lambda: np.ones(megabytes * 2**20, np.uint8))

    np.ones(4 * size, np.uint8)  # a higher peak, before
    assert fill(64) == pytest.approx(size, rel=0.2)
    # From 32 MB on memory comes from the system each time, whatever was used and freed before.
    assert fill(128) == pytest.approx(2 * size, rel=0.2)


def test_sections_exist_and_have_rows() -> None:
    from importlib.util import find_spec

    for name in SECTIONS:
        spec = find_spec(f"benchmarks.{name}")
        assert spec is not None, name
        assert spec.origin is not None
        with open(spec.origin, encoding="utf-8") as file:  # noqa: PTH123 - importing them is slow
            assert re.search(r'^def rows\(\) -> "?Iterator\["?Row"?\]', file.read(), re.M), name


def test_a_section_has_its_threads_and_gives_them_back() -> None:
    import torch

    before = torch.get_num_threads()
    with threads(1):
        assert torch.get_num_threads() == 1
    with threads(0):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_the_table_says_where_and_how_it_was_made() -> None:
    text = "\n".join(introduction(18.4))
    assert text.startswith("# Benchmarks\n\nWritten by `make bench` in 18 minutes on ")
    assert re.search(r"\d+ cores, \d+ threads, no GPU used; Python 3\.\d+", text)


def test_a_limit_is_measured_after_the_rounds() -> None:
    order: list[str] = []
    ours = in_turn([1.0, 1.0, 1.0], "ours", order)
    least = in_turn([0.5], "least", order)
    assert measure(Row("a", ours, limit="x", least=least, rounds=2)).share == 0.5
    assert order == ["ours", "ours", "ours", "least"]

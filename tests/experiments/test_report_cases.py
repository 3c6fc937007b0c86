"""The stored cases of a report: their ranks, their boxes and the colours of their readers."""

import math
from pathlib import Path

import numpy as np

from experiments.report.cases import Choice, stored_cases
from experiments.report.gaze_marks import READER_COLOURS, boxes, reader_colours
from experiments.report.pictures import times_uniform
from experiments.report.run_folder import Row, RunFolder


def run_with(rows: list[Row], stored: list[int]) -> RunFolder:
    files = {index: Path(f"{index:06d}.npz") for index in stored}
    return RunFolder(Path(), {}, (), {}, (), tuple(rows), files)


def scored(scores: list[str]) -> list[Row]:
    return [{"index": str(i), "cc": score, "group": "a"} for i, score in enumerate(scores)]


def test_ranks_are_among_all_images_not_only_the_stored() -> None:
    chosen = stored_cases(run_with(scored(["0.1", "0.9", "0.5", ""]), [0, 2, 3]))
    assert [(c.index, c.rank, c.badge) for c in chosen] == [
        (0, 3, "worst"), (2, 2, "median"), (3, None, ""),
    ]  # fmt: skip
    assert stored_cases(run_with([], [])) == []
    assert stored_cases(run_with([], [4])) == [Choice(4, {}, None, 0)]


def test_the_best_the_median_and_the_worst_are_named() -> None:
    run = run_with(scored([str(i / 100) for i in range(100)]), [99, 50, 49, 0])
    assert [(c.index, c.badge) for c in stored_cases(run)] == [
        (0, "worst"), (49, ""), (50, "median"), (99, "best"),
    ]  # fmt: skip
    # Two images have no median.
    assert [c.badge for c in stored_cases(run_with(scored(["0.2", "0.1"]), [0, 1]))] == ["", ""]


def test_equal_scores_keep_the_order_of_the_table() -> None:
    chosen = stored_cases(run_with(scored(["0.5", "0.7", "0.5"]), [0, 1, 2]))
    assert [(c.index, c.rank) for c in chosen] == [(0, 2), (1, 1), (2, 3)]


def test_densities_are_written_in_multiples_of_the_uniform_one() -> None:
    assert times_uniform(1 / 1000, 12_000) == "12.0\u00d7"


def test_readers_keep_their_colours() -> None:
    names = [f"r{i:02d}" for i in range(len(READER_COLOURS) + 1)]
    colours = reader_colours([*reversed(names), "r00"])
    assert [colours[name] for name in names] == [*READER_COLOURS, READER_COLOURS[0]]


def test_boxes_without_area_are_not_drawn() -> None:
    corners = np.array([[1, 2, 4, 8], [1, 1, 1, 5], [math.nan, 0, 1, 1]])
    (box,) = boxes(corners, ["a", "b", "c"])
    assert (box.x, box.y, box.width, box.height, box.label) == (1, 2, 3, 6, "a")

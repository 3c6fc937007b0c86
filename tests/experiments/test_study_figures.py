"""Curves over all stages and the plot of differences: where each mark stands."""

import math
from pathlib import Path
from typing import Any

import pytest

from experiments.report.forest import forests
from experiments.report.run_folder import Stage
from experiments.report.study_curves import (
    LEFT,
    RIGHT,
    WIDTH,
    Cell,
    curve_panels,
    read_cell,
    tasks_of,
)
from tests.experiments.test_report import write_json, write_rows


def stage(folder: str, task: str, **columns: list[float | str]) -> Stage:
    names = {name.replace("_", "/", 1): values for name, values in columns.items()}
    rows = [
        {"epoch": str(i), **{name: str(v) for name, v in zip(names, values, strict=True)}}
        for i, values in enumerate(zip(*names.values(), strict=True))
    ]
    facts = {"name": folder.partition("-")[2], "task": task}
    return Stage(folder, facts, ("epoch", *names), tuple(rows))


TWO = (
    stage("01-classify", "classify", valid_auroc=[0.5, 0.6, 0.7]),
    stage("02-gaze", "saliency", valid_cc=[0.1, 0.3], valid_cc_centre_bias=[0.4, 0.4]),
    stage("03-joint", "joint", valid_auroc=[0.8], valid_cc=["inf"]),
)
# This seed stopped the first stage an epoch earlier.
STOPPED = (
    stage("01-classify", "classify", valid_auroc=[0.7, 0.8]),
    stage("02-gaze", "saliency", valid_cc=[0.3, ""], valid_cc_centre_bias=[0.4, 0.4]),
)


def test_stages_follow_each_other_on_one_axis_of_epochs() -> None:
    cell = Cell("a", "", (TWO, STOPPED))
    assert cell.lengths == {"01-classify": 3, "02-gaze": 2, "03-joint": 1}
    assert cell.curve(0, "valid/auroc") == {1: 0.5, 2: 0.6, 3: 0.7, 6: 0.8}
    # The gaze stage begins at the same place for both.
    assert cell.curve(1, "valid/cc") == {4: 0.3}
    assert cell.mean("valid/auroc") == pytest.approx({1: 0.6, 2: 0.7, 3: 0.7, 6: 0.8})
    assert cell.mean("valid/cc") == pytest.approx({4: 0.2, 5: 0.3})


def test_a_panel_places_stages_lines_and_the_floor() -> None:
    (panel,) = curve_panels([Cell("a", "both", (TWO, STOPPED)), Cell("b", "not begun", ())])
    step = (WIDTH - RIGHT - LEFT) / 6
    assert [(s.name, s.task) for s in panel.spans] == [
        ("classify", "classify"), ("gaze", "saliency"), ("joint", "joint"),
    ]  # fmt: skip
    assert [s.x for s in panel.spans] == pytest.approx([LEFT, LEFT + 3 * step, LEFT + 5 * step])
    assert [s.width for s in panel.spans] == pytest.approx([3 * step, 2 * step, step])
    assert panel.seeds == 2
    auroc, cc = panel.strips  # no KLD was logged
    assert (auroc.key, cc.key) == ("auroc", "cc")
    assert (len(auroc.seeds), len(auroc.means)) == (3, 2)  # a gap where gaze alone was trained
    first = [tuple(map(float, pair.split(","))) for pair in auroc.means[0].split()]
    assert [x for x, _ in first] == pytest.approx([LEFT + n * step for n in (1, 2, 3)], abs=0.1)
    assert first[0][1] > first[1][1] == first[2][1]  # higher is better is up
    assert auroc.last is not None
    assert auroc.last[2] == "0.800"
    assert auroc.floor is not None
    assert auroc.floor > first[0][1]  # chance is below 0.6
    assert cc.floor is not None
    assert cc.floor < float(cc.means[0].split()[0].split(",")[1])  # 0.4 is above 0.2
    assert cc.summary == "CC ↑ ends at 0.300"
    assert tasks_of([panel]) == ("classify", "saliency", "joint")


def test_cells_share_a_scale() -> None:
    low = (stage("01-a", "classify", valid_auroc=[0.5, 0.6]),)
    high = (stage("01-a", "classify", valid_auroc=[0.6, 0.9]),)
    first, second = curve_panels([Cell("low", "", (low,)), Cell("high", "", (high,))])
    ys = [
        [float(pair.split(",")[1]) for pair in panel.strips[0].means[0].split()]
        for panel in (first, second)
    ]
    assert ys[0][1] == ys[1][0]  # both 0.6
    assert first.strips[0].y_ticks == second.strips[0].y_ticks
    assert first.strips[0].seeds == ()  # one seed is its own mean


def test_runs_that_were_not_begun_are_left_out(tmp_path: Path) -> None:
    write_json(tmp_path / "0" / "01-a" / "stage.json", {"name": "a", "task": "joint"})
    write_rows(tmp_path / "0" / "01-a" / "metrics.csv", [{"epoch": 0, "valid/cc": 0.25}])
    write_json(tmp_path / "1" / "01-a" / "stage.json", {"name": "a", "task": "joint"})
    cell = read_cell("c", "", [tmp_path / str(seed) for seed in range(3)])
    assert len(cell.seeds) == 1
    assert cell.mean("valid/cc") == {1: 0.25}
    assert curve_panels([read_cell("d", "", [tmp_path / "2"])]) == ()


def difference(cell: str, metric: str, value: float, half: float, p: float) -> dict[str, Any]:
    ends = {"value": value, "low": value - half, "high": value + half, "n": 9}
    return {"first": cell, "second": "ref", "metric": metric, "difference": ends, "p_holm": p}


def test_differences_stand_on_an_axis_with_zero() -> None:
    found = {
        "reference": "ref",
        "groups": {
            "films": {
                "n_images": 90,
                "comparisons": [
                    difference("a", "cc", 0.1, 0.05, 0.01),
                    difference("b", "cc", -0.2, 0.1, 0.04),
                    difference("a", "kld", 0.3, 0.2, 0.01),
                    difference("c", "kld", 0.1, math.nan, math.nan),
                ],
            }
        },
    }
    (forest,) = forests(found)
    assert [name for name, _ in forest.names] == ["a", "b", "c"]
    cc, kld = forest.columns
    assert (cc.title, kld.title) == ("CC ↑", "KLD ↓")
    a, b = cc.differences
    # From -0.3 to 0.15 with a margin of 6 % on both sides.
    scale = (cc.right - cc.left) / (0.45 * 1.12)
    assert cc.zero == pytest.approx(cc.left + (0.3 + 0.027) * scale)
    assert [a.centre - cc.zero, a.low - cc.zero, b.high - cc.zero] == pytest.approx(
        [0.1 * scale, 0.05 * scale, -0.1 * scale]
    )
    assert [a.verdict, b.verdict] == ["better", "worse"]
    assert kld.differences[0].verdict == "worse"  # lower is better
    alone = kld.differences[1]
    assert alone.low == alone.centre == alone.high
    assert alone.verdict == ""
    assert a.y == forest.names[0][1]
    assert a.label.startswith("a: 0.100 [0.050, 0.150], p after Holm")


def test_a_difference_far_from_all_others_is_named_at_the_end_of_the_axis() -> None:
    near = [difference(name, "cc", 0.1, 0.02, 0.5) for name in "abcdef"]
    found = {
        "reference": "ref",
        "groups": {
            "films": {"n_images": 9, "comparisons": [*near, difference("z", "cc", -2.0, 0.1, 0.01)]}
        },
    }
    (forest,) = forests(found)
    (column,) = forest.columns
    *others, far = column.differences
    assert [one.beyond for one in others] == [""] * 6
    assert far.beyond == "\u22122.00"
    assert far.centre == far.low == far.high == column.left
    # The axis is that of the others: from 0 to 0.12 with a margin.
    assert column.right - others[0].high == pytest.approx(
        0.06 / 1.12 * (column.right - column.left)
    )

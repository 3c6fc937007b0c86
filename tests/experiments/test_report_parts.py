"""The report's parts: numbers as text, charts, curves and tables."""

import math
from pathlib import Path

import numpy as np
import pytest

from experiments.report import formatting
from experiments.report.charts import Form, histogram, line_chart, ticks, widened
from experiments.report.curves import MOST_CHARTS, learning_curves
from experiments.report.diagnosis_tables import diagnosis_groups
from experiments.report.run_folder import Row, RunFolder, Stage
from experiments.report.saliency_tables import heading, saliency_groups
from experiments.report.whiskers import whisker_chart

MINUS = "\u2212"
UNDEFINED = ("uniform", math.nan, math.nan, math.nan)


def run_with(rows: list[Row], metrics: dict[str, object]) -> RunFolder:
    return RunFolder(Path(), {}, (), metrics, (), tuple(rows), {})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345, "0.123"), (-0.5, MINUS + "0.500"), (-1e-9, "0.000"), (None, "n/a"),
        (math.nan, "n/a"), ("", "n/a"), ("0.25", "0.250"), ("what", "n/a"), (0, "0.000"),
        (math.inf, "∞"), (-math.inf, MINUS + "∞"), ([1], "n/a"),
    ],
)  # fmt: skip
def test_number(value: object, shown: str) -> None:
    assert formatting.number(value) == shown


def test_significant_keeps_small_numbers_short() -> None:
    assert formatting.significant(2.5e-05) == f"2.5e{MINUS}5"
    assert formatting.significant(1.5e20) == "1.5e20"
    assert formatting.significant(-0.125) == f"{MINUS}0.125"
    assert formatting.significant(math.nan) == "n/a"


def test_counts_sizes_and_shares() -> None:
    assert formatting.count(12345) == "12,345"
    assert formatting.count(None) == "n/a"
    assert formatting.counted(1, "reader") == "reader"
    assert formatting.counted(None, "reader") == "readers"
    assert [formatting.size(n) for n in (0, 950, 12_300, 18_093_000, 2e9, None)] == [
        "0", "950", "12.3 k", "18.1 M", "2.0 G", "n/a",
    ]  # fmt: skip
    assert formatting.percent(0.1234) == "12.3 %"
    assert formatting.interval(None, math.nan) == "n/a"
    assert formatting.interval(-0.1, None) == f"[{MINUS}0.100, n/a]"


def test_times() -> None:
    assert [formatting.duration(s) for s in (0.04, 59.9, 200.4, 3599.9, 3720, None)] == [
        "0.0 s", "59.9 s", "3 min 20 s", "1 h 00 min", "1 h 02 min", "n/a",
    ]  # fmt: skip
    assert formatting.moment("2026-03-01T10:00:59") == "2026-03-01 10:00"
    assert formatting.moment("2026-03-01T10:00:59+02:00") == "2026-03-01 10:00 +0200"
    assert formatting.moment("yesterday") == "yesterday"
    assert formatting.moment(None) == "n/a"
    assert formatting.elapsed("2026-03-01T10:00", "2026-03-01T10:00:30+00:00") == "n/a"
    assert formatting.elapsed(None, None) == "n/a"


def test_ticks_are_round_and_inside() -> None:
    placed = ticks((0.03, 1.02), 0.0, 99.0)
    assert [tick.label for tick in placed] == ["0.25", "0.5", "0.75", "1"]
    assert placed[0].position == pytest.approx(22.0)
    assert [tick.label for tick in ticks((1, 3), 0, 1, whole=True)] == ["1", "2", "3"]
    assert ticks((-0.5, 0.5), 0, 1)[2].label == "0"


def test_a_range_is_never_empty() -> None:
    assert widened([2.0, 2.0]) == (1.8, 2.2)
    assert widened([0.0]) == (-1.0, 1.0)


def test_a_line_chart_puts_high_values_at_the_top() -> None:
    form = Form(spans=((0, 1), (0, 1)))
    chart = line_chart("t", {"valid": [(0, 0), (0.5, math.nan), (1, 1)]}, form, mark=0.5)
    assert chart is not None
    assert chart.lines[0].points == ((chart.left, chart.bottom), (chart.right, chart.top))
    assert chart.mark == (chart.left + chart.right) / 2
    assert line_chart("t", {"valid": [(0, math.nan)], "train": []}) is None
    outside = line_chart("t", {"valid": [(0, 0)]}, form, mark=7)
    assert outside is not None
    assert outside.mark is None


def test_a_histogram_counts_every_value_once() -> None:
    chart = histogram("CC", [0.1, 0.1, 0.9], [])
    heights = [bar.height for bar in chart.bars]
    tallest = max(heights)
    assert sum(heights) == pytest.approx(1.5 * tallest)
    assert chart.lines == ()
    assert chart.summary == "CC of 3 images, median 0.1"
    assert histogram("CC", [0.1], [0.5]).lines[0].dotted is False


def test_a_whisker_that_is_not_finite_is_not_drawn() -> None:
    chart = whisker_chart("CC", [("model", 0.5, 0.4, 0.6), UNDEFINED])
    assert chart is not None
    model, uniform = chart.whiskers
    assert (model.low or 0) < (model.centre or 0) < (model.high or 0)
    assert (uniform.centre, uniform.low, uniform.high, uniform.label) == (None, None, None, "n/a")
    assert whisker_chart("CC", [UNDEFINED]) is None


def test_curves_begin_with_losses_and_end_with_the_rate() -> None:
    names = ["lr", "valid/cc", "valid/kld", "train/loss", "val/loss"]
    rows = [{"epoch": str(e), **{name: str(e / 10) for name in names}} for e in (1, 2)]
    facts = {"monitor": {"metric": "valid/kld"}, "best_epoch": None}
    charts, left_out = learning_curves(Stage("01-x", facts, ("epoch", *names), tuple(rows)))
    assert [chart.title for chart in charts] == ["loss", "kld (monitored)", "cc", "lr"]
    assert [line.name for line in charts[0].lines] == ["train", "valid"]
    assert left_out == 0
    # Epochs of the page are counted from 1.
    assert [tick.label for tick in charts[0].x_ticks] == ["2", "3"]
    many = [f"valid/m{i}" for i in range(MOST_CHARTS + 3)]
    rows = [{"epoch": "1", **dict.fromkeys(many, "1")}]
    charts, left_out = learning_curves(Stage("01-x", {}, ("epoch", *many), tuple(rows)))
    assert (len(charts), left_out) == (MOST_CHARTS, 3)


def test_only_kld_is_better_when_lower() -> None:
    assert [heading(key).arrow for key in ("cc", "nss", "kld", "sim", "auc")] == list("↑↑↓↑↑")


def test_a_ceiling_stands_between_the_model_and_its_floors() -> None:
    rows = {name: {"cc": {"value": 0.5}} for name in ("uniform", "leave_one_reader_out", "model")}
    (group,) = saliency_groups(run_with([], {"saliency": {"a": {"rows": rows}}}))
    assert [row.title for row in group.rows] == ["Model", "Other readers", "Uniform"]
    assert group.wins == ""
    assert group.histograms == ()


def test_roc_draws_ties_as_slopes_and_unknown_labels_are_left_out() -> None:
    labels = [("1", "0.9"), ("1", "0.5"), ("0", "0.5"), ("0", "0.1"), ("", "0.99"), ("1", "")]
    rows = [{"group": "a", "label_x": label, "probability_x": p} for label, p in labels]
    metrics: dict[str, object] = {"diagnosis": {"a": {"findings": {"x": {}, "y": {}}}}}
    (group,) = diagnosis_groups(run_with(list(rows), metrics))
    (chart,) = group.roc
    (line,) = chart.lines
    x0, y0 = line.points[0]
    x1, y1 = line.points[-1]
    shares = [((x - x0) / (x1 - x0), (y - y0) / (y1 - y0)) for x, y in line.points]
    assert np.allclose(shares, [(0, 0), (0, 0.5), (0.5, 1), (1, 1)])
    assert group.reliability == ()


def test_reliability_bins_hold_equal_numbers() -> None:
    rows = [
        {"group": "a", "label_x": str(int(i >= 20)), "probability_x": str(i / 40)}
        for i in range(40)
    ]
    metrics: dict[str, object] = {"diagnosis": {"a": {"findings": {"x": {}}}}}
    (group,) = diagnosis_groups(run_with(list(rows), metrics))
    heights = [y for _, y in group.reliability[0].lines[0].points]
    assert len(heights) == 10
    assert np.allclose(heights, [heights[0]] * 5 + [heights[-1]] * 5)

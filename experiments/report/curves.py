"""Learning curves of a stage: losses first, then what is monitored, then the rest."""

from .charts import Chart, Point, line_chart
from .formatting import as_float
from .run_folder import Stage, section

MOST_CHARTS = 8
FLOOR = "_centre_bias"
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid"}


def learning_curves(stage: Stage) -> tuple[tuple[Chart, ...], int]:
    """The charts of a stage.

    Args:
        stage: the stage and its rows, one an epoch.

    Returns:
        Up to ``MOST_CHARTS`` charts and the number of quantities that were left out.
    """
    quantities = _quantities(stage)
    monitored = _split_and_name(str(section(stage.facts, "monitor").get("metric") or ""))[1]
    ordered = sorted(quantities, key=lambda name: _order(name, monitored))
    charts = [_chart(stage, name, quantities[name], monitored) for name in ordered]
    drawn = [chart for chart in charts if chart is not None]
    return tuple(drawn[:MOST_CHARTS]), max(0, len(drawn) - MOST_CHARTS)


def _quantities(stage: Stage) -> dict[str, dict[str, str]]:
    """For each quantity the columns that hold it, by split."""
    found: dict[str, dict[str, str]] = {}
    for column in stage.columns:
        if column and column != "epoch":
            split, name = _split_and_name(column)
            if name.endswith(FLOOR):
                split, name = "floor", name.removesuffix(FLOOR)
            found.setdefault(name, {})[split] = column
    return found


def _split_and_name(column: str) -> tuple[str, str]:
    head, slash, tail = column.partition("/")
    return (SPLITS[head], tail) if slash and head in SPLITS else ("other", column)


def _order(name: str, monitored: str) -> tuple[int, int]:
    # The learning rate explains a curve, it is not a result: it comes last.
    if name == "lr" or name.startswith("lr"):
        return 3, 0
    return (0, 0) if name == "loss" else (1, 0) if name == monitored else (2, 0)


def _chart(stage: Stage, name: str, columns: dict[str, str], monitored: str) -> Chart | None:
    series: dict[str, list[Point]] = {
        split: [
            (as_float(row.get("epoch")) + 1, as_float(row.get(columns[split])))
            for row in stage.epochs
        ]
        for split in ("train", "valid", "other", "floor")
        if split in columns
    }
    best = as_float(stage.facts.get("best_epoch")) + 1
    title = f"{name} (monitored)" if name == monitored else name
    return line_chart(title, series, mark=best if best == best else None)

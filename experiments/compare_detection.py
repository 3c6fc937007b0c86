"""Detection metrics of runs side by side: each with its own interval, not yet paired."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eye_gaze_data.errors import ConfigError
from saliency.metrics.comparison import seed_spread

TITLES = {"map": "mAP", "ap50": "AP50"}
Tables = Mapping[str, Mapping[str, Any]]


def detection_part(tables: Tables, group: str) -> dict[str, Any]:
    """The metrics of every run on one group, if all of them detect there.

    Args:
        tables: the detection tables of the runs, by run.
        group: of images.

    Returns:
        ``detection``: for each run mAP and AP50 with value, low and high; empty if a run has none.

    Raises:
        ConfigError: if the runs were scored on other true boxes.
    """
    if not all(group in table for table in tables.values()):
        return {}
    truths = {run: table[group]["truth_sha256"] for run, table in tables.items()}
    if len(set(truths.values())) > 1:
        raise ConfigError(
            f"{', '.join(truths)} cannot be compared: they were scored on other true boxes of "
            f"'{group}', or for other classes"
        )
    return {
        "detection": {
            run: {title: table[group][name] for name, title in TITLES.items()}
            for run, table in tables.items()
        }
    }


def detection_spread(tables: Sequence[Mapping[str, Any]], group: str) -> dict[str, dict[str, Any]]:
    """mAP and AP50 over the seeds of one contender, for the leaderboard."""
    found = {}
    for name, title in TITLES.items():
        values = [table[group][name]["value"] for table in tables]
        known = [[math.nan if value is None else value] for value in values]
        found[title] = asdict(seed_spread(known))
    return found

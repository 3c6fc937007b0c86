"""Which cases the gallery shows: the best, the median, the worst and some in between."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .formatting import as_float
from .run_folder import Row, RunFolder, row_index

MOST_CASES = 24


@dataclass(frozen=True)
class Choice:
    """A case to show and where it stands among all images with a score."""

    index: int
    row: Row
    rank: int | None
    ranked: int

    @property
    def badge(self) -> str:
        """Best, median or worst of all images with a score, else nothing."""
        if self.rank is None or self.ranked < 3:
            return ""
        names = {1: "best", (self.ranked + 1) // 2: "median", self.ranked: "worst"}
        return names.get(self.rank, "")


def choose_cases(run: RunFolder, most: int = MOST_CASES) -> tuple[Choice, ...]:
    """Choose from the stored cases.

    Args:
        run: the run; its stored cases may be more than a page should show.
        most: how many to show at the most.

    Returns:
        Cases from the highest CC to the lowest, evenly over the ranks, with the best, the median
        and the worst among them; then those without a CC.
    """
    choices = stored_cases(run)
    ranked = sorted((c for c in choices if c.rank is not None), key=lambda c: c.rank or 0)
    rest = [choice for choice in choices if choice.rank is None]
    # Cases without gaze get what the ranked leave over, and a quarter of the page if they can.
    kept = min(len(rest), max(most - len(ranked), most // 4))
    return (*_spread(ranked, most - kept), *_evenly(rest, kept))


def stored_cases(run: RunFolder) -> list[Choice]:
    """All cases that the run stored, by index."""
    rows = {index: row for row in run.images if (index := row_index(row)) is not None}
    ranks = _ranks(rows)
    return [Choice(i, rows.get(i, {}), ranks.get(i), len(ranks)) for i in sorted(run.cases)]


def _ranks(rows: Mapping[int, Row]) -> dict[int, int]:
    scores = {index: as_float(row.get("cc")) for index, row in rows.items()}
    known = [index for index, score in scores.items() if math.isfinite(score)]
    # Equal scores keep the table's order, so that a report can be repeated.
    ordered = sorted(known, key=lambda index: (-scores[index], index))
    return {index: rank for rank, index in enumerate(ordered, start=1)}


def _spread(ranked: Sequence[Choice], most: int) -> list[Choice]:
    chosen = _evenly(ranked, most)
    median = next((choice for choice in ranked if choice.badge == "median"), None)
    if median is None or median in chosen or len(chosen) < 3:
        return chosen
    wanted = median.rank or 0
    nearest = min(range(1, len(chosen) - 1), key=lambda i: abs((chosen[i].rank or 0) - wanted))
    return [*chosen[:nearest], median, *chosen[nearest + 1 :]]


def _evenly(choices: Sequence[Choice], most: int) -> list[Choice]:
    if len(choices) <= most:
        return list(choices)
    places = np.linspace(0, len(choices) - 1, most).round().astype(int)
    return [choices[place] for place in dict.fromkeys(places.tolist())]

"""The stored cases of a run and where each stands among all images."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .formatting import as_float
from .run_folder import Row, RunFolder, row_index


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

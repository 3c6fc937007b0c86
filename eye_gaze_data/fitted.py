"""Fitted films, kept in memory: read once for all data sets of a run that show them alike."""

from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class FittedFilms:
    """Pixels of a cohort's films on one grid, while there is room.

    Stages that follow each other, and the data sets of one stage, mostly share their grid. What was
    kept on another is forgotten with the first film that is kept on a new one.

    Args:
        films: of the cohort. Where less than a tenth of them would fit none are kept: each loader
            process would fill its memory for little.
        memory: bytes that they may occupy.
    """

    def __init__(self, films: int, memory: int = 1 << 29) -> None:
        self.films, self.memory = films, memory
        self._grid: Hashable = None
        self._kept: dict[int, Tensor] = {}

    def get(self, grid: Hashable, row: int) -> "Tensor | None":
        """The pixels of a row, if they were kept on this grid."""
        return self._kept.get(row) if grid == self._grid else None

    def keep(self, grid: Hashable, row: int, pixels: "Tensor") -> None:
        """Keep a row's pixels if there is room."""
        if grid != self._grid:
            self._grid, self._kept = grid, {}
        room = self.memory // pixels.nbytes
        if len(self._kept) < room and 10 * room >= self.films:
            self._kept[row] = pixels

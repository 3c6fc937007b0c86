"""Fitted films, kept in memory for all data sets of a process that show them on one grid."""

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any

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

    def __getstate__(self) -> dict[str, Any]:
        """Without the films: a loader process that is not forked reads its own."""
        return {**self.__dict__, "_kept": {}}

    def forget_all_but(self, rows: Iterable[int]) -> None:
        """Make room for what a stage reads: keep only films of these rows."""
        wanted = set(rows)
        self._kept = {row: film for row, film in self._kept.items() if row in wanted}

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

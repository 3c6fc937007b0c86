"""What a row of the table of benchmarks is, and how it is measured."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

HEAD = (
    "| what | gazedx | against | peer | times faster | spread | share of the limit |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


Timer = Callable[[], float]
"""Does something once and gives the seconds that it took."""


@dataclass(frozen=True)
class Row:
    """Something gazedx does, and a peer that does the same.

    Attributes:
        what: is done, with sizes.
        ours: does it.
        peer: its name; empty for a row without one, whose time stands alone.
        theirs: does it the peer's way.
        limit: what binds, e.g. ``matmul peak``; empty if none is stated.
        least: gives the seconds that the limit would allow.
        rounds: interleaved measurements after a first, which is thrown away.
    """

    what: str
    ours: Timer
    peer: str = ""
    theirs: Timer | None = None
    limit: str = ""
    least: Callable[[], float] | None = None
    rounds: int = 5


@dataclass(frozen=True)
class Measured:
    """The seconds of a row, round by round.

    Attributes:
        row: what was measured.
        ours: seconds of each round.
        theirs: likewise; empty without a peer.
        least: seconds that the limit would allow; None if none is stated.
    """

    row: Row
    ours: list[float]
    theirs: list[float]
    least: float | None

    @property
    def ratios(self) -> list[float]:
        """How many times faster, round by round: both halves of a round met the same machine."""
        return [other / mine for mine, other in zip(self.ours, self.theirs, strict=True)]

    def line(self) -> str:
        """The row as Markdown."""
        mine = readable(statistics.median(self.ours))
        peer, times, spread = "", "", ""
        if self.theirs:
            peer = readable(statistics.median(self.theirs))
            times = f"{statistics.median(self.ratios):.3g}"
            spread = f"{min(self.ratios):.3g} to {max(self.ratios):.3g}"
        share = ""
        if self.least is not None:
            share = f"{self.least / statistics.median(self.ours):.0%} of {self.row.limit}"
        cells = (self.row.what, mine, self.row.peer, peer, times, spread, share)
        return f"| {' | '.join(cells)} |"


def measure(row: Row) -> Measured:
    """Interleave the row and its peer."""
    ours, theirs = [], []
    for number in range(row.rounds + 1):
        mine = row.ours()
        other = None if row.theirs is None else row.theirs()
        if number:
            ours.append(mine)
            theirs += [] if other is None else [other]
    return Measured(row, ours, theirs, None if row.least is None else row.least())


def cpu(run: Callable[[], object], calls: int = 1) -> Timer:
    """CPU seconds of this process for one call of so many."""
    return partial(_seconds, run, calls, time.process_time)


def wall(run: Callable[[], object], calls: int = 1) -> Timer:
    """Wall seconds, for what threads or processes do together."""
    return partial(_seconds, run, calls, time.perf_counter)


def _seconds(run: Callable[[], object], calls: int, clock: Callable[[], float]) -> float:
    begun = clock()
    for _ in range(calls):
        run()
    return (clock() - begun) / calls


def readable(duration: float) -> str:
    """Seconds with a unit that suits them."""
    if duration >= 1:
        return f"{duration:.3g} s"
    return f"{duration * 1e3:.3g} ms" if duration >= 1e-3 else f"{duration * 1e6:.3g} µs"


def matmul_rate(size: int = 2048, rounds: int = 5) -> float:
    """FLOP a second of the best of some float32 matrix products: what networks are bound by."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    best = min(wall(lambda: a @ b)() for _ in range(rounds + 1))
    return 2 * size**3 / best


def machine() -> str:
    """One line about where the table was made."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.machine(),
    )
    return (
        f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, no GPU used; "
        f"Python {platform.python_version()}, torch {torch.__version__.split('+')[0]}"
    )


def _cpuinfo() -> Iterable[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else ()

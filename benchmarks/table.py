"""What a row of the table of benchmarks is, and how it is measured."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

HEAD = (
    "| what | gazedx | against | peer | gain | spread | share of the limit |",
    "| --- | --- | --- | --- | --- | --- | --- |",
)


Timer = Callable[[], float]
"""Does something once and gives the seconds, or the bytes, that it took."""


@dataclass(frozen=True)
class Row:
    """Something gazedx does, and a peer that does the same.

    Attributes:
        what: is done, with sizes.
        ours: does it.
        peer: its name; empty for a row without one, whose time stands alone.
        theirs: does it the peer's way.
        limit: what binds, e.g. ``matmul peak``; empty if none is stated.
        least: gives the seconds or bytes that the limit would allow.
        most: gives the gain over the peer that the limit would allow, where that is what is known.
        rounds: interleaved measurements.
        thrown: measurements before them that do not count.
        unit: what the timers give, seconds or bytes.
    """

    what: str
    ours: Timer
    peer: str = ""
    theirs: Timer | None = None
    limit: str = ""
    least: Callable[[], float] | None = None
    most: Callable[[], float] | None = None
    rounds: int = 5
    thrown: int = 1
    unit: Literal["s", "B"] = "s"


@dataclass(frozen=True)
class Measured:
    """What a row took, round by round.

    Attributes:
        row: what was measured.
        ours: seconds or bytes of each round.
        theirs: likewise; empty without a peer.
        least: what the limit would allow; None if none is stated.
        most: the gain that the limit would allow; None likewise.
    """

    row: Row
    ours: list[float]
    theirs: list[float]
    least: float | None = None
    most: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Peer over gazedx, round by round: both halves of a round met the same machine."""
        return [other / mine for mine, other in zip(self.ours, self.theirs, strict=True)]

    @property
    def share(self) -> float | None:
        """Of what the limit allows, how much is reached; 1 is all of it."""
        if self.most is not None:
            return statistics.median(self.ratios) / self.most
        return None if self.least is None else self.least / statistics.median(self.ours)

    def line(self) -> str:
        """The row as Markdown."""
        unit = self.row.unit
        mine = readable(statistics.median(self.ours), unit)
        peer, gain, spread = "", "", ""
        if self.theirs:
            peer = readable(statistics.median(self.theirs), unit)
            gain = f"{statistics.median(self.ratios):.3g}"
            spread = f"{min(self.ratios):.3g} to {max(self.ratios):.3g}"
        limit = "" if self.share is None else f"{self.share:.0%} of {self.row.limit}"
        if self.most is not None:
            limit += f" ({self.most:.3g})"
        cells = (self.row.what, mine, self.row.peer, peer, gain, spread, limit)
        return f"| {' | '.join(cells)} |"


def measure(row: Row) -> Measured:
    """Interleave the row and its peer; who begins changes from round to round."""
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(row.thrown + row.rounds):
        timers = [(row.ours, ours)] + ([(row.theirs, theirs)] if row.theirs else [])
        for timer, found in timers[:: -1 if number % 2 else 1]:
            taken = timer()
            if number >= row.thrown:
                found.append(taken)
    limits = (None if limit is None else limit() for limit in (row.least, row.most))
    return Measured(row, ours, theirs, *limits)


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


def readable(amount: float, unit: Literal["s", "B"] = "s") -> str:
    """Seconds or bytes with a unit that suits them."""
    scales = {"s": {"s": 1, "ms": 1e-3, "µs": 1e-6}, "B": {"GB": 1e9, "MB": 1e6, "kB": 1e3}}[unit]
    name = next((n for n, scale in scales.items() if amount >= scale), list(scales)[-1])
    return f"{amount / scales[name]:.3g} {name}"


def peak_of(run: Callable[[], object]) -> float:
    """Bytes of resident memory that a call takes at most above what the process held before.

    Not by ``resource``: a process begins there with the peak of the one that started it.
    """
    # Linux begins a new peak.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    run()
    return _peak() - before


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


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

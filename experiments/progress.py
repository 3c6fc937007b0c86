"""Progress on the error stream: a bar on a terminal, else a line a minute."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress

SECONDS = 60.0


@contextlib.contextmanager
def progress(
    name: str, total: int, *, show: bool, terminal: bool = True
) -> Iterator[Callable[[], None]]:
    """Follows work while the block runs; gives a function that advances it by one.

    Args:
        name: what is going on.
        total: number of steps; 0 for unknown.
        show: false shows nothing.
        terminal: draws a bar; else writes a line a minute, as for the log of a batch job.
    """
    if not show:
        yield lambda: None
        return
    if not terminal:
        yield _lines(name, total)
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total or None)
        yield lambda: bar.advance(task)


def _lines(name: str, total: int) -> Callable[[], None]:
    begun = told = time.monotonic()
    done = 0

    def step() -> None:
        nonlocal told, done
        done += 1
        now = time.monotonic()
        if now - told >= SECONDS:
            told = now
            print(progress_line(name, done, total, now - begun), file=sys.stderr, flush=True)

    return step


def progress_line(name: str, done: int, total: int, seconds: float) -> str:
    """How far it is, how fast, and how long it will take if it goes on so.

    Args:
        name: what is going on.
        done: steps so far, at least one.
        total: number of steps; 0 for unknown.
        seconds: that these took.
    """
    line = f"{name}: {done:,}{f' of {total:,}' if total else ''}, {done / seconds:.3g} a second"
    if done >= total:
        return line
    minutes = round((total - done) * seconds / done / 60)
    return f"{line}, {minutes // 60} h {minutes % 60} min left"

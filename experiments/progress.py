"""A progress bar on the terminal's error stream."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress


@contextlib.contextmanager
def progress(name: str, total: int, *, show: bool) -> Iterator[Callable[[], None]]:
    """A bar while the block runs; gives a function that advances it by one.

    Args:
        name: what is going on.
        total: number of steps; 0 for unknown.
        show: false draws nothing.
    """
    if not show:
        yield lambda: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=total or None)
        yield lambda: bar.advance(task)

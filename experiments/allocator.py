"""What the C library does with memory that a network on a CPU has freed."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3). A threshold of -1 trims nothing, however much is free.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}
# Where glibc's own adaptation ends, once large blocks have been freed.
_USUAL = {_MMAP_MAX: 65_536, _TRIM_THRESHOLD: 64 * 2**20, _MMAP_THRESHOLD: 32 * 2**20}


@contextmanager
def freed_memory_kept(*, keep: bool = True) -> Iterator[None]:
    """Keep what tensors free for the next ones; at the end give it back to the system.

    By itself glibc maps large tensors anew each time, and the system fills their pages with zeros
    when they are touched: more than a third of a training step of the full network on a CPU. That
    and what it takes in memory are rows of ``benchmarks/RESULTS.md``. Results stay the same to the
    bit. It serves the thread that computes; other threads keep smaller pools of their own. At the
    end glibc is set as it would have set itself, whatever the environment had asked of it. Without
    glibc nothing is changed. Not to be nested.

    Args:
        keep: false changes nothing, for networks on a GPU and where memory is short.
    """
    library = ctypes.CDLL(None) if keep and sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    for parameter, value in _KEPT.items():
        library.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in _USUAL.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)

"""`make bench`: each row against a named peer, interleaved in one run, written to RESULTS.md.

python -m benchmarks [SECTION ...] prints the rows of some sections alone, and writes nothing.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from .table import HEAD, machine, measure

RESULTS = Path(__file__).with_name("RESULTS.md")
# Threads of each section: one where CPU time is compared, all where networks run.
SECTIONS = {
    "startup": 1,
    "density": 1,
    "phantom": 1,
    "store": 1,
    "metrics": 1,
    "intervals": 1,
    "triplets": 1,
    "training": 1,
    "network": 0,
    "inference": 0,
    "memory": 0,
    "predict": 0,
    "stages": 0,
}


def main() -> None:
    chosen = sys.argv[1:] or list(SECTIONS)
    unknown = [name for name in chosen if name not in SECTIONS]
    if unknown:
        sys.exit(f"no section {', '.join(unknown)}; known: {', '.join(SECTIONS)}")
    begun, lines, minutes_of = time.monotonic(), [], {}
    print(machine(), "", *HEAD, sep="\n", flush=True)
    for name in chosen:
        start = time.monotonic()
        with threads(SECTIONS[name]):
            for row in import_module(f"benchmarks.{name}").rows():
                lines.append(measure(row).line())
                print(lines[-1], flush=True)
        minutes_of[name] = (time.monotonic() - start) / 60
    minutes = (time.monotonic() - begun) / 60
    print("\nminutes: " + ", ".join(f"{name} {spent:.1f}" for name, spent in minutes_of.items()))
    if not sys.argv[1:]:
        RESULTS.write_text("\n".join([*introduction(minutes), *HEAD, *lines, ""]))
        print(f"{minutes:.0f} minutes in all; written to {RESULTS.name}")


def introduction(minutes: float) -> list[str]:
    return [
        "# Benchmarks",
        "",
        f"Written by `make bench` in {minutes:.0f} minutes on {machine()}.",
        "",
        "Each row and its peer took turns in this run; times are medians, CPU time of one thread, "
        "or wall time with all threads for networks, stages and commands. `gain` is the median "
        "over rounds of peer over gazedx, times faster or less memory, `spread` its least and "
        "most. The limit is what binds: the best float32 matrix product of 2048x2048 for "
        "networks, reading each map twice from memory for the fused metrics, Pillow's decoder "
        "for preparation, counted operations (the gain they allow in brackets) for staged runs, "
        "the bare loop for an epoch.",
        "",
    ]


@contextmanager
def threads(number: int) -> Iterator[None]:
    """So many threads, or all that there are for 0."""
    before = torch.get_num_threads()
    with threadpool_limits(number or None):
        torch.set_num_threads(number or before)
        yield
    torch.set_num_threads(before)


if __name__ == "__main__":
    main()

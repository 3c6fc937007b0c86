"""Peak memory of the full network and of the straightforward one, above their weights.

Of training, two steps: the state of the optimiser stands beside the activations from the second on.
And what keeping freed memory takes, as a stage and ``predict`` do. Each case runs in a process of
its own, as a peak can only be read once; what the process holds before the case, weights included,
is taken off.
"""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache, partial

import torch

from experiments.allocator import freed_memory_kept

from .network import inference, step
from .reference_network import pair
from .table import Row, peak_of

CLASSES = 3
# Films, height, width, training, checkpointing.
Case = tuple[int, int, int, bool, bool]
CASES: tuple[Case, ...] = (
    (1, 640, 512, False, False),
    (2, 320, 256, True, False),
    (2, 320, 256, True, True),
)


def rows() -> Iterator[Row]:
    for case in CASES:
        films, height, width, training, checkpointing = case
        what = "two training steps" if training else "inference"
        what = f"peak memory, {what} of the full network, {films} x {height}x{width}"
        # It knows no checkpointing: one measurement stands beside both.
        theirs = partial(elsewhere, "theirs", (*case[:4], False))
        yield Row(what + (", checkpointing" if checkpointing else ""),
                  partial(elsewhere, "ours", case), "the straightforward network", theirs,
                  unit="B", rounds=1, thrown=0)  # fmt: skip
        if not checkpointing:
            yield Row(f"{what}, freed memory kept",
                      partial(elsewhere, "kept", case), "the same, given back",
                      partial(elsewhere, "ours", case),
                      unit="B", rounds=1, thrown=0)  # fmt: skip


@cache
def elsewhere(which: str, case: Case) -> float:
    """Bytes that a case takes in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory", which, *(str(int(n)) for n in case)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    return float(found.stdout)


def bytes_of(which: str, case: Case) -> float:
    """Bytes above what this process held before."""
    films, height, width, training, checkpointing = case
    ours, theirs = pair(CLASSES, checkpointing=checkpointing)
    network = theirs if which == "theirs" else ours
    del ours, theirs
    image = torch.rand(films, 1, height, width)
    run = (step if training else inference)(network, image)
    with freed_memory_kept(keep=which == "kept"):
        return peak_of(lambda: [run() for _ in range(2 if training else 1)])


if __name__ == "__main__":
    numbers = [int(number) for number in sys.argv[2:]]
    print(bytes_of(sys.argv[1], (*numbers[:3], bool(numbers[3]), bool(numbers[4]))))  # type: ignore[arg-type]

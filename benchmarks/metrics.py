"""Saliency metrics against pysaliency, which has an environment of its own (``make bench``).

Both have one thread, both are timed in CPU seconds in their own process, call by call in turn, on
the same arrays. The limit is the least time that the memory traffic of the fused metrics allows.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saliency.metrics import Points, fixation_auc, saliency_metrics

from .density import PEERS
from .table import Row, cpu

SIZES = ((224, 224), (480, 640), (2500, 3056))
WHAT = {
    "fused": "CC + KLD + SIM + NSS",
    "auc": "exact AUC",
    "suite": "all but EMD: these, AUC-Judd (no jitter), sAUC, IG",
}
FUSED = ("cc", "kld", "sim", "nss")
# Small maps are timed many calls at a time, as they are scored in practice.
PIXELS_A_TURN = 2_000_000
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


class Peer:
    """The worker in the other environment."""

    def __init__(self, python: str, folder: Path) -> None:
        script = Path(__file__).with_name("pysaliency_worker.py")
        self.process = subprocess.Popen(  # noqa: S603 - the user names the interpreter
            [python, "-W", "ignore", str(script), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **ONE_THREAD},
        )  # fmt: skip
        assert self.process.stdout
        self.versions = self.process.stdout.readline().split()

    def __call__(self, case: str, metric: str, calls: int) -> tuple[float, float]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{case} {metric} {calls}\n")
        self.process.stdin.flush()
        seconds, value = self.process.stdout.readline().split()
        return float(seconds), float(value)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def make_case(size: tuple[int, int], dtype: type) -> dict[str, Any]:
    """60 fixations, 2,000 of other images, a prediction with texture, a smooth truth."""
    rng = np.random.default_rng(0)
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / np.array(size).reshape(2, 1, 1)
    prediction = np.exp(-((x - 0.5) ** 2 + (y - 0.4) ** 2) / 0.05) + 0.01 * rng.random(size)
    truth = sum(
        np.exp(-((x - u) ** 2 + (y - v) ** 2) / 0.01) for u, v in rng.uniform(0.2, 0.8, (12, 2))
    )
    baseline = np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / 0.1)
    maps = {"prediction": prediction, "truth": truth + 1e-4, "baseline": baseline}
    points = {
        name: rng.uniform(0, side, n)
        for name, side, n in (
            ("x", width, 60), ("y", height, 60), ("other_x", width, 2000), ("other_y", height, 2000)
        )
    }  # fmt: skip
    return {**{name: (one / one.sum()).astype(dtype) for name, one in maps.items()}, **points}


def ours(case: dict[str, Any]) -> dict[str, Callable[[], float]]:
    prediction, truth, baseline = (
        torch.from_numpy(case[name])[None] for name in ("prediction", "truth", "baseline")
    )
    own = [Points(case["x"], case["y"])]
    others = [Points(case["other_x"], case["other_y"])]

    def fused() -> float:
        found = saliency_metrics(prediction, truth, own, names=FUSED)
        return sum(one.values.item() for one in found.values())

    def exact() -> float:
        return fixation_auc(prediction, own).values.item()

    def suite() -> float:
        found = saliency_metrics(
            prediction, truth, own, names=(*FUSED, "auc", "auc_judd"), others=others,
            baseline=baseline,
        )  # fmt: skip
        return sum(one.values.item() for one in found.values())

    return {"fused": fused, "auc": exact, "suite": suite}


def memory_limit(case: dict[str, Any]) -> float:
    """Seconds to read both maps twice from memory, as the fused metrics must, by numpy's max."""
    maps = [case[name] for name in ("prediction", "truth")]
    # Both maps are larger than any cache at full size, so each reading starts from memory.
    once = cpu(lambda: sum(float(np.max(one)) for one in maps))
    return 2 * statistics.median(once() for _ in range(5))


def rows() -> Iterator[Row]:
    if not PEERS.is_file():
        sys.exit(f"the metrics are measured against pysaliency in {PEERS}: make bench installs it")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for size in SIZES:
            for dtype in ("float32", "float64"):
                case = make_case(size, np.dtype(dtype).type)
                np.savez(folder / f"{size[0]}x{size[1]}-{dtype}.npz", **case)
        peer = Peer(str(PEERS), folder)
        for metric, what in WHAT.items():
            for size in SIZES:
                for dtype in ("float32", "float64"):
                    yield metric_row(peer, metric, what, size, dtype)
        peer.close()


def metric_row(peer: Peer, metric: str, what: str, size: tuple[int, int], dtype: str) -> Row:
    label = f"{size[0]}x{size[1]}"
    case = make_case(size, np.dtype(dtype).type)
    call = ours(case)[metric]
    calls = max(1, PIXELS_A_TURN // (size[0] * size[1]))
    # The same maps for both, and once more in the peer's own precision for the value.
    assert abs(call() - peer(f"{label}-{dtype}", metric, 1)[1]) < 1e-3
    bound = metric == "fused" and size == SIZES[-1]
    name = f"pysaliency {peer.versions[0]} on float64 maps"
    return Row(f"{what}, {label}, {dtype}", cpu(call, calls), name,
               lambda: peer(f"{label}-float64", metric, calls)[0],
               "memory bandwidth" if bound else "",
               (lambda: memory_limit(case)) if bound else None)  # fmt: skip

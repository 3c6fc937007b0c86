"""``--engine onnxruntime`` beside eager torch, and the matrix product's speed as the roof.

``python -m benchmarks.inference``: the full-size dual encoder (DenseNet201, 256 px, batch 4) and
the demo's network (64 px, batch 16). Calls alternate in one process; both use torch's number of
threads. Outputs are compared before anything is timed.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.gaze_model import GazeModel
from experiments.load import load_config
from experiments.onnx_engine import OnnxEngine
from experiments.onnx_export import example, export_onnx
from saliency.attention import AttentionContext

FULL = {"kind": "dual_encoder", "backbone": "densenet201"}
ROUNDS = 12


def cases() -> list[tuple[str, dict[str, Any], int, int]]:
    """Name, network, pixels a side, batch."""
    small = load_config(Path("demo")).models["network"].model_dump(mode="json")
    return [("full, 256 px, batch 4", FULL, 256, 4), ("demo, 64 px, batch 16", small, 64, 16)]


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call: both engines use threads of their own."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def measure(network: dict[str, Any], pixels: int, batch: int) -> tuple[float, ...]:
    """Films a second of torch and of onnxruntime, their ratio, both shares of the roof, parity."""
    torch.manual_seed(0)
    settings = {"task": "joint", "classes": list("abcdef"), "image_size": [pixels, pixels]}
    model = GazeModel(network=network, settings=settings).eval()
    given = example(model.settings, batch, seed=0)
    context = AttentionContext(valid=given["valid"])
    one = torch.rand(2048, 2048)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        parity = max(export_onnx(model, Path(folder) / "model.onnx").values())
        engine = OnnxEngine(Path(folder) / "model.onnx")
        with FlopCounterMode(display=False) as counter:
            model.network(given["image"], "joint", context)
        work = counter.get_total_flops()
        runs: list[Callable[[], object]] = [
            lambda: model.network(given["image"], "joint", context),
            lambda: engine(given["image"], "joint", context),
            lambda: one @ one,
        ]
        for run in runs:
            run()
        times = [[seconds(run) for run in runs] for _ in range(ROUNDS)]
    eager, fast, product = (min(column) for column in zip(*times, strict=True))
    ratio = statistics.median(row[0] / row[1] for row in times)
    roof = 2 * 2048**3 / product
    return batch / eager, batch / fast, ratio, work / eager / roof, work / fast / roof, parity


def main() -> None:
    print(f"{torch.get_num_threads()} thread(s); best of {ROUNDS} calls, median of paired ratios\n")
    print(
        "| network | torch, films/s | onnxruntime, films/s | times faster | torch, share of matrix "
        "product | onnxruntime, share | largest difference |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for name, network, pixels, batch in cases():
        eager, fast, ratio, low, high, parity = measure(network, pixels, batch)
        print(
            f"| {name} | {eager:.3g} | {fast:.3g} | {ratio:.2f} | {low:.0%} | {high:.0%} "
            f"| {parity:.1g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

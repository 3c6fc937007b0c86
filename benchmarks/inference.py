"""``--engine onnxruntime`` beside eager torch; outputs are compared before anything is timed.

Both keep freed memory, as ``predict`` does.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from experiments.allocator import freed_memory_kept
from experiments.gaze_model import GazeModel
from experiments.load import load_config
from experiments.onnx_engine import OnnxEngine
from experiments.onnx_export import example, export_onnx
from saliency.attention import AttentionContext
from saliency.network import Outputs

from .table import Row, matmul_rate, wall

FULL = {"kind": "dual_encoder", "backbone": "densenet201"}
# More layers than the demo's network, and narrower ones.
DEEP = {
    "kind": "dual_encoder",
    "backbone": "densenet121",
    "backbone_options": {"growth_rate": 12, "block_config": [2, 4, 6, 4]},
    "widths": [8, 16, 32, 64, 96],
}


def rows() -> Iterator[Row]:
    small = load_config(Path("demo")).models["network"].model_dump(mode="json")
    with freed_memory_kept():
        for batch in (1, 16):
            yield inference_row("the demo's network", small, (64, 64), batch)
            yield inference_row("a small deep network", DEEP, (96, 96), batch)
        yield inference_row("the full network", FULL, (256, 256), 4)


def inference_row(name: str, network: dict[str, Any], size: tuple[int, int], batch: int) -> Row:
    """Logits of a batch by both engines, with torch's number of threads."""
    torch.manual_seed(0)
    settings = {"task": "joint", "classes": list("abcdef"), "image_size": list(size)}
    model = GazeModel(network=network, settings=settings).eval()
    given = example(model.settings, batch, seed=0)
    image, context = given["image"], AttentionContext(valid=given["valid"])
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, Path(folder) / "model.onnx")
        engine = OnnxEngine(Path(folder) / "model.onnx")

    def eager() -> Outputs:
        with torch.inference_mode():
            outputs: Outputs = model.network(image, "joint", context)
        return outputs

    fast = partial(engine, image, "joint", context)
    mine, other = fast(), eager()
    for key in ("class_logits", "saliency_logits"):
        torch.testing.assert_close(mine[key], other[key], rtol=1e-3, atol=1e-4)
    with FlopCounterMode(display=False) as counter:
        eager()
    flops = counter.get_total_flops()
    calls = 10 if size[0] < 200 else 1
    what = f"`--engine onnxruntime`, {name}, {size[0]}x{size[1]}, {batch} films"
    return Row(what, wall(fast, calls), "eager torch", wall(eager, calls),
               "matmul peak", lambda: flops / matmul_rate())  # fmt: skip

"""``gazedx export``: a finished model as files for other programs."""

import json
from pathlib import Path
from typing import Any, Literal

from eye_gaze_data.files import write_text

from .gaze_model import load_model
from .onnx_export import BATCHES, export_onnx, metadata
from .prediction_config import NOTICE
from .weights import save_weights

CARD = "README.md"


def export_model(
    path: Path, to: Literal["hub", "onnx", "safetensors"] | str, out: Path, stage: str | None = None
) -> dict[str, Any]:
    """Write a model.

    Args:
        path: a run folder, or one that was exported to ``hub``.
        to: ``hub`` (for ``GazeModel.from_pretrained``), ``onnx`` (``model.onnx``) or
            ``safetensors`` (``weights.safetensors``, the metadata of ``onnx`` in its header,
            a segmenter under ``segmenter.``); each with a model card.
        out: folder.
        stage: of the run.

    Returns:
        what was written; for ONNX the largest differences from torch, too.
    """
    model = load_model(path, stage)
    facts: dict[str, Any] = {"notice": NOTICE}
    if to == "hub":
        # The mixin keeps a card that it finds; it would be that of other weights.
        (out / CARD).unlink(missing_ok=True)
        model.save_pretrained(out)
        return facts | {"model": str(out)}
    write_text(out / CARD, str(model.generate_model_card()))
    if to == "onnx":
        facts["model"] = str(out / "model.onnx")
        found = export_onnx(model, out / "model.onnx")
        facts["batches checked"] = ", ".join(map(str, BATCHES))
        return facts | {f"largest difference, {name}": f"{d:.3g}" for name, d in found.items()}
    said = {**metadata(model), "network": json.dumps(model.network_config)}
    state = model.network.state_dict()
    if model.segmenter is not None:
        said["segmenter"] = model.segmenter.config.model_dump_json()
        state |= {f"segmenter.{k}": v for k, v in model.segmenter.network.state_dict().items()}
    save_weights(out / "weights.safetensors", state, said)
    return facts | {"model": str(out / "weights.safetensors")}

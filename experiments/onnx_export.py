"""ONNX: a model as a graph for other programs, with all they need in its metadata, checked.

The batch is free, height and width are those of the network grid. Inputs ``image`` float32
(B, 1, H, W) in [0, 1], ``valid`` bool of that shape, and ``anatomy`` (B, M, H, W) for models that
read organ masks which no segmenter inside the graph predicts; outputs ``class_logits``,
``probabilities``, ``saliency_logits``, ``density``, as far as the task has them.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from eye_gaze_data.errors import ConfigError, StageError
from eye_gaze_data.files import sha256_of, write_atomic

from . import GAZEDX_VERSION
from .gaze_model import GazeModel
from .prediction_config import NOTICE, PredictionConfig

# Largest difference from eager torch, as a share of the largest value, or of 1 for what is smaller.
TOLERANCE = 1e-3
BATCHES = (1, 2, 5)
Arrays = dict[str, npt.NDArray[Any]]


def export_onnx(model: GazeModel, path: Path | str) -> dict[str, float]:
    """Write a model as ONNX, once its outputs are those of torch.

    Args:
        model: on the CPU.
        path: of the file.

    Returns:
        largest absolute difference of each output over several films and batch sizes.

    Raises:
        ConfigError: if the packages of the extra ``export`` are missing.
        StageError: if the graph cannot be made, or does not say what the model says.
    """
    onnxruntime = _needed("onnxruntime")
    for name in ("onnx", "onnxscript"):
        _needed(name)
    data = _graph(model.eval())
    found: dict[str, float] = {}
    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for number, batch in enumerate(BATCHES):
            given = _inputs(model, batch, seed=number)
            difference = _differences(model, session, given)
            found = {name: max(found.get(name, 0.0), d) for name, d in difference.items()}
    except StageError:
        raise
    except Exception as error:  # onnxruntime raises its own kinds
        raise StageError(f"onnxruntime cannot run the exported graph: {_line(error)}") from error
    write_atomic(Path(path), lambda file: file.write(data))
    return found


def example(settings: PredictionConfig, batch: int, seed: int) -> dict[str, Tensor]:
    """Seeded films to try a model on: smooth noise with margins of another width each."""
    generator = torch.Generator().manual_seed(seed)
    height, width = settings.image_size
    coarse = torch.rand(batch, 1, 8, 8, generator=generator)
    image = interpolate(coarse, (height, width), mode="bilinear")
    valid = torch.ones(batch, 1, height, width, dtype=torch.bool)
    for row in range(batch):
        margin = row * width // 16
        valid[row, ..., :margin] = valid[row, ..., width - margin :] = False
    given = {"image": image * valid, "valid": valid}
    if settings.organs:
        masks = torch.rand(batch, len(settings.organs), 8, 8, generator=generator)
        given["anatomy"] = interpolate(masks, (height, width), mode="bilinear")
        # Films from elsewhere may come without masks.
        given["anatomy"][0] = 1.0 if settings.anatomy == "ones" else torch.nan
    return given


def _inputs(model: GazeModel, batch: int, seed: int) -> dict[str, Tensor]:
    """Those that the graph has: a segmenter inside leaves no room for masks."""
    given = example(model.settings, batch, seed)
    if model.masks_inside:
        del given["anatomy"]
    return given


def metadata(model: GazeModel) -> dict[str, str]:
    """What the file says of itself; each value is a string, lists and mappings are JSON."""
    settings = model.settings
    said: dict[str, Any] = {
        "notice": NOTICE,
        "gazedx": GAZEDX_VERSION,
        "task": settings.task,
        "classes": settings.classes,
        "exclusive": settings.exclusive,
        "image_size": settings.image_size,
        "temperatures": settings.temperatures,
        "organs": settings.organs,
        "organ_masks": organ_masks(model),
        "preprocessing": preprocessing(settings),
        "facts": model.facts,
        "key": export_key(model),
    }
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in said.items()}


def export_key(model: GazeModel) -> str:
    """Of the weights, the settings and the versions that a graph was made of."""
    settings = model.settings.model_dump(mode="json")
    versions = GAZEDX_VERSION, torch.__version__
    segmenter = model.facts.get("segmenter") if model.segmenter is not None else None
    weights = model.facts.get("weights_sha256"), segmenter, model.masks_inside
    return sha256_of(weights, settings, *versions)


def organ_masks(model: GazeModel) -> Literal["none", "segmented inside", "input 'anatomy'"]:
    """Where the graph has its organ masks from."""
    if not model.settings.organs:
        return "none"
    return "segmented inside" if model.masks_inside else "input 'anatomy'"


def preprocessing(settings: PredictionConfig) -> dict[str, Any]:
    """How a film becomes ``image`` and ``valid``, in words and numbers."""
    return {
        "grey": "one channel in [0, 1], bone bright: 8-bit / 255, 16-bit / 65535",
        "fit": settings.fit,
        "stride": settings.stride,
        "resize": "bilinear, antialiased, pixel i spans [i, i + 1)",
        "pad": "centred; 0 in image and false in valid where there is no film",
    }


def _graph(model: GazeModel) -> bytes:
    given = _inputs(model, 2, seed=0)
    batch = torch.export.Dim("batch")
    shapes = {name: {0: batch} for name in given}
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter warns of its own internals.
            warnings.simplefilter("ignore")
            outputs = list(model(**given))
            program = torch.onnx.export(
                model,
                tuple(given.values()),
                dynamo=True,
                input_names=list(given),
                output_names=outputs,
                dynamic_shapes=shapes,
                verbose=False,
            )
    except Exception as error:  # whatever the tracing of a network provokes
        raise StageError(
            f"this network cannot be exported to ONNX: {_line(error)}; 'gazedx export --to hub' "
            "and 'gazedx predict --engine torch' do not need it"
        ) from error
    assert program is not None  # noqa: S101 - for the type checker
    program.model.metadata_props.update(metadata(model))
    data: bytes = program.model_proto.SerializeToString()
    return data


def _differences(
    model: GazeModel,
    session: Any,  # noqa: ANN401 - onnxruntime has no types
    given: Mapping[str, Tensor],
) -> dict[str, float]:
    names = [output.name for output in session.get_outputs()]
    theirs = dict(zip(names, session.run(None, as_arrays(given)), strict=True))
    with torch.no_grad():
        ours: Arrays = {name: value.numpy() for name, value in model(**given).items()}
    found = {}
    for name, value in ours.items():
        difference = float(np.abs(theirs[name] - value).max())
        largest = float(np.abs(value).max())
        allowed = TOLERANCE * (largest if name == "density" else max(1.0, largest))
        if not difference <= allowed:
            raise StageError(
                f"the exported graph differs from the network: '{name}' by {difference:.3g}, "
                f"allowed {allowed:.3g} (batch of {len(value)}); nothing was written"
            )
        found[name] = difference
    return found


def as_arrays(given: Mapping[str, Tensor]) -> Arrays:
    """Tensors as onnxruntime takes them."""
    return {name: value.contiguous().numpy() for name, value in given.items()}


def _needed(name: str) -> Any:  # noqa: ANN401 - a module
    try:
        return __import__(name)
    except ImportError as error:
        raise ConfigError(f"ONNX needs '{name}'; pip install 'gazedx[export]'") from error


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]

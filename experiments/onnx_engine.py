"""onnxruntime in place of the network: the fast path on a CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from eye_gaze_data.errors import ConfigError, StageError
from saliency.attention import AttentionContext
from saliency.network import Outputs, Task

from .gaze_model import load_model
from .onnx_export import as_arrays, export_key, export_onnx
from .predictor import Predictor


class OnnxEngine:
    """An exported graph, called as a network is.

    Args:
        path: what ``export_onnx`` wrote.

    Raises:
        StageError: if the file cannot be run.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises its own kinds
            raise StageError(
                f"{path}: onnxruntime cannot read it ({str(error).splitlines()[0]}); delete it"
            ) from error
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        self._inputs = [one.name for one in self.session.get_inputs()]
        produced = {one.name for one in self.session.get_outputs()}
        self._outputs = [n for n in ("class_logits", "saliency_logits") if n in produced]

    def __call__(self, image: torch.Tensor, task: Task, context: AttentionContext) -> Outputs:
        """Logits, without features and attention maps."""
        del task  # the graph has one
        given = {"image": image, "valid": context.valid, "anatomy": context.anatomy}
        feed = as_arrays({name: given[name] for name in self._inputs})  # type: ignore[misc]
        found = self.session.run(self._outputs, feed)
        named: Any = {
            name: torch.from_numpy(value) for name, value in zip(self._outputs, found, strict=True)
        }
        outputs: Outputs = named
        return outputs


def use_onnxruntime(
    predictor: Predictor,
    path: Path,
    stage: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Let onnxruntime compute what a predictor predicts; the graph is exported once and kept.

    Args:
        predictor: of ``path``, on the CPU.
        path: a run folder, or one that ``save_pretrained`` wrote.
        stage: of the run, as the predictor was given it.
        say: takes a line before an export, which may take a minute.

    Returns:
        the graph's file, inside ``path``.

    Raises:
        ConfigError: if the predictor is not on the CPU, or onnxruntime is not installed.
        StageError: if the graph cannot be made or run, or differs from the network.
    """
    if predictor.device.type != "cpu":
        raise ConfigError("engine 'onnxruntime' runs on the CPU; use --device cpu, or engine torch")
    model = load_model(path, stage)
    # The predictor segments whole films, to 8 bits, as the run did; the graph takes these masks.
    model.segmenter = None
    file = path / "export" / f"{model.facts.get('stage', 'model')}.onnx"
    engine = _stored(file)
    if engine is None or engine.metadata.get("key") != export_key(model):
        say(f"exporting the ONNX graph to {file} and checking it; it is kept")
        export_onnx(model, file)
        engine = OnnxEngine(file)
    predictor.engine = engine
    return file


def _stored(file: Path) -> OnnxEngine | None:
    """The engine of an earlier export, None if there is none that can be read."""
    if not file.is_file():
        return None
    try:
        return OnnxEngine(file)
    except (StageError, ImportError):
        return None

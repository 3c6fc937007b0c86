"""gazedx from Python: ten names.

>>> from experiments.api import load_config, run, evaluate
>>> run(load_config("demo"), "runs/demo")
>>> evaluate("runs/demo")["diagnosis"]
"""

from eye_gaze_data.images import read_image
from eye_gaze_data.open_cohort import open_cohort

from .compare import compare
from .evaluate import evaluate
from .gaze_model import GazeModel, load_model
from .load import load_config
from .onnx_export import export_onnx
from .predict import predict_files
from .predictor import Predictor
from .runner import run
from .xrv_model import XRVModel

__all__ = [
    "GazeModel",
    "Predictor",
    "XRVModel",
    "compare",
    "evaluate",
    "export_onnx",
    "load_config",
    "load_model",
    "open_cohort",
    "predict_files",
    "read_image",
    "run",
]

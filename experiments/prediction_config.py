"""What must travel with weights so that a film from anywhere is predicted as the run would."""

from typing import Any, Literal

from diagnosis.calibration import Temperature
from eye_gaze_data.files import read_json
from saliency.network import Task

from .config import StageConfig
from .cooperation import Strict
from .finished import DETECTION_TASKS, DIAGNOSIS_TASKS, SALIENCY_TASKS, FinishedStage

TEMPERATURE = "temperature.json"
NOTICE = "Research use only. Not a medical device."


class PredictionConfig(Strict):
    """How a film becomes the input of a network, and what its outputs mean.

    Attributes:
        task: what is computed.
        classes: names of the logits; empty without a diagnosis task.
        exclusive: whether exactly one class holds (softmax), or each by itself (sigmoid).
        image_size: (height, width) of the network grid.
        fit: how a film is brought onto it, see ``fit_frame``.
        stride: of the fit ``strided``.
        organs: names of the organ masks that the network reads, in order.
        anatomy: where the run took these masks from; None without organs.
        temperatures: what each logit is divided by before it becomes a probability, as fitted on
            the validation split; None if none were.
    """

    task: Task
    classes: tuple[str, ...] = ()
    exclusive: bool = False
    image_size: tuple[int, int]
    fit: Literal["pad", "crop", "stretch", "strided"] = "pad"
    stride: int = 1
    organs: tuple[str, ...] = ()
    anatomy: Literal["cohort", "stage", "ones"] | None = None
    temperatures: tuple[float, ...] | None = None

    @property
    def has_saliency(self) -> bool:
        """Whether the task gives a gaze density."""
        return self.task in SALIENCY_TASKS

    @property
    def has_detection(self) -> bool:
        """Whether the task gives boxes."""
        return self.task in DETECTION_TASKS

    @property
    def has_diagnosis(self) -> bool:
        """Whether the task gives findings."""
        return self.task in DIAGNOSIS_TASKS and bool(self.classes)


def prediction_config(finished: FinishedStage) -> PredictionConfig:
    """Of a finished stage, with the temperatures of its evaluation if these are of its weights."""
    stage: StageConfig = finished.stage
    temperature = stored_temperature(finished)
    return PredictionConfig(
        task=stage.task,
        classes=tuple(finished.classes),
        exclusive=finished.exclusive,
        image_size=stage.data.image_size,
        fit=stage.data.fit,
        stride=stage.data.stride,
        organs=stage.anatomy.organs if stage.anatomy else (),
        anatomy=stage.anatomy.source if stage.anatomy else None,
        temperatures=None if temperature is None else temperature.temperatures,
    )


def stored_temperature(finished: FinishedStage) -> Temperature | None:
    """The temperature that the evaluation of these very weights fitted; None if there is none."""
    if not stored_metrics(finished) or not (finished.run / "evaluate" / TEMPERATURE).is_file():
        return None
    return Temperature.load(finished.run / "evaluate" / TEMPERATURE)


def stored_metrics(finished: FinishedStage) -> dict[str, Any]:
    """``metrics.json`` of the evaluation of these very weights; empty if there is none."""
    path = finished.run / "evaluate" / "metrics.json"
    if not path.is_file():
        return {}
    scored: dict[str, Any] = read_json(path)
    known = finished.weights_sha256, finished.stage.name
    return scored if (scored.get("weights_sha256"), scored.get("stage")) == known else {}

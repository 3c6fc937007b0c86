"""A finished stage as a function from a film to findings and a gaze density."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from diagnosis.class_activation import class_activation
from diagnosis.losses import probabilities
from diagnosis.metrics import FilmBoxes
from eye_gaze_data.anatomy import AnatomySource
from eye_gaze_data.batch import Batch, Sample, collate, to_device
from eye_gaze_data.cohort import Pixels
from eye_gaze_data.errors import StageError
from eye_gaze_data.geometry import (
    Frame,
    compose,
    film_frame,
    fit_film,
    fit_frame,
    invert,
    warp_pixels,
)
from saliency.attention import AttentionContext
from saliency.context import attention_context
from saliency.density import density
from saliency.network import Network, Outputs, Task

from .anatomy_source import anatomy_source
from .build import build_cohorts, build_network
from .devices import choose_device
from .finished import FinishedStage
from .prediction_config import PredictionConfig, prediction_config
from .weights import hand_over, read_weights


@dataclass(frozen=True)
class Prediction:
    """What a network says of one film.

    Attributes:
        frame: original to network pixels.
        valid: bool (1, H, W), film on the network grid.
        density: float32 (1, H, W) on the network grid, sums to 1 over the film; None without a
            saliency task.
        probabilities: float64 (C,); None without a diagnosis task.
        evidence: float32 (C, h, w), class activation of each class at the pooled map's own size, 0
            or above; None without a diagnosis task.
        covers: (height, width) of the grid that the evidence covers: the network grid, or what it
            was padded to.
        logits: float64 (C,), what the network says before calibration; None without a diagnosis
            task.
        detections: boxes in network pixels; None without a detection task.
        attention: (K, h, w) named maps of the attention sites, not normalised; none unless asked
            for.
    """

    frame: Frame
    valid: torch.Tensor
    density: torch.Tensor | None
    probabilities: npt.NDArray[np.float64] | None
    evidence: torch.Tensor | None = None
    covers: tuple[int, int] | None = None
    logits: npt.NDArray[np.float64] | None = None
    detections: FilmBoxes | None = None
    attention: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def activation(self) -> torch.Tensor | None:
        """float32 (1, h, w), the evidence for the most probable class."""
        if self.evidence is None or self.logits is None:
            return None
        return self.evidence[int(self.logits.argmax())][None]


class Engine(Protocol):
    """What runs a network: the network itself, or an exported graph of it."""

    def __call__(self, image: torch.Tensor, task: Task, context: AttentionContext) -> Outputs:
        """See ``Network.forward``."""


class Predictor:
    """A network as a function from films to findings and gaze.

    Args:
        settings: how films are prepared and what the outputs mean.
        network: with the weights loaded, on the device.
        device: where the network is.
        anatomy: where organ masks come from; None if the network needs none.

    Attributes:
        engine: what computes the outputs; the network unless something else is set.
        attention: keep the maps of the attention sites in each ``Prediction``.
    """

    def __init__(
        self,
        settings: PredictionConfig,
        network: Network,
        device: torch.device,
        *,
        anatomy: AnatomySource | None = None,
    ) -> None:
        self.settings, self.network, self.device = settings, network, device
        self.anatomy = anatomy
        self.engine: Engine = network
        self.attention = False

    @classmethod
    def load(cls, run: Path, stage: str | None = None, device: str = "auto") -> Self:
        """From a run folder.

        Args:
            run: the run folder.
            stage: name; the config's ``evaluate.stage``, else the last stage, if None.
            device: ``auto``, ``cpu`` or ``cuda``.

        Raises:
            ConfigError: if the folder is no run, or has no such stage.
            StageError: if the stage is not finished, or its weights do not fit.
        """
        return cls.of_stage(FinishedStage.load(run, stage), device)

    @classmethod
    def of_stage(cls, finished: FinishedStage, device: str = "auto") -> Self:
        """The network of a finished stage, as ``load`` gives it."""
        config, spec = finished.config, finished.stage
        where = choose_device(device)
        # What would be downloaded is overwritten at once.
        model = config.models[spec.model].model_copy(update={"pretrained": False})
        network = build_network(model, len(finished.classes), config.seed)
        hand_over(network, read_weights(finished.weights), {"": ""}, str(finished.weights))
        network = network.to(where).eval()
        of_cohort = spec.anatomy is not None and spec.anatomy.source == "cohort"
        cohort = build_cohorts(config) if of_cohort else None
        anatomy = anatomy_source(config, spec, cohort, finished.run, device)
        return cls(prediction_config(finished), network, where, anatomy=anatomy)

    @property
    def classes(self) -> list[str]:
        """Names of the logits."""
        return list(self.settings.classes)

    def predict_batch(self, batch: Batch) -> list[Prediction]:
        """One prediction a row."""
        batch = to_device(batch, self.device)
        settings = self.settings
        # Not inference mode: the activation differentiates the class head.
        with torch.no_grad():
            context = attention_context(batch, settings.organs)
            outputs = self.engine(batch["image"], settings.task, context)
            maps = logits = scores = evidence = None
            if settings.has_saliency:
                maps = density(outputs["saliency_logits"], batch["valid"]).cpu()
            if settings.has_diagnosis:
                logits = outputs["class_logits"].double().cpu().numpy()
                scores = self._probabilities(logits)
                # An exported graph keeps no features.
                evidence = self._evidence(outputs).cpu() if "features" in outputs else None
            boxes = _film_boxes(outputs["detections"]) if "detections" in outputs else None
        size = (int(batch["image"].shape[-2]), int(batch["image"].shape[-1]))
        kept = outputs["attention"] if self.attention and "attention" in outputs else {}
        return [
            Prediction(
                batch["frame"][row].double().cpu().numpy(),
                batch["valid"][row].cpu(),
                None if maps is None else maps[row],
                None if scores is None else scores[row],
                None if evidence is None else evidence[row],
                None if evidence is None else self._covered(size),
                None if logits is None else logits[row],
                None if boxes is None else boxes[row],
                {name: value[row].cpu() for name, value in kept.items()},
            )
            for row in range(len(batch["image"]))
        ]

    def _probabilities(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self.settings.temperatures is not None:
            logits = logits / np.array(self.settings.temperatures)
        found = probabilities(torch.from_numpy(logits), exclusive=self.settings.exclusive)
        return np.asarray(found.numpy(), np.float64)

    def _evidence(self, outputs: Outputs) -> torch.Tensor:
        features, head = outputs["features"], self.network.class_head(self.settings.task)
        logits = outputs["class_logits"]
        maps = [
            class_activation(features["classifier"], features["pooled"], head, classes)
            for classes in torch.arange(logits.shape[1], device=logits.device).expand_as(logits).T
        ]
        return torch.cat(maps, 1)

    def _covered(self, size: tuple[int, int]) -> tuple[int, int]:
        """A padded network saw more than the film; its activation covers the padded grid."""
        multiple = self.network.multiple if self.network.pad else 1
        height, width = (-(-side // multiple) * multiple for side in size)
        return height, width

    def _anatomy(self, pixels: Pixels, frame: Frame) -> torch.Tensor:
        """Organ masks of a film from elsewhere, (M, H, W); NaN where they are not known."""
        size = self.settings.image_size
        if self.anatomy is None:
            return torch.zeros(0, *size)
        masks = torch.from_numpy(self.anatomy.of_film(pixels))
        unknown = masks.isnan().flatten(1).any(1)
        original, (height, width) = (int(pixels.shape[0]), int(pixels.shape[1])), masks.shape[1:]
        frame = film_frame(frame, original, (height, width))
        moved = warp_pixels(masks.nan_to_num(0.0), frame, size).clamp(0, 1)
        moved[unknown] = torch.nan
        return moved

    def prepare(self, pixels: Pixels) -> Sample:
        """A film on the network grid, as a row of a batch.

        Args:
            pixels: float32 (H0, W0) in [0, 1], any size.
        """
        settings, size = self.settings, self.settings.image_size
        image, valid, frame = fit_film(pixels, size, settings.fit, settings.stride)
        return {
            "image": image,
            "valid": valid,
            "frame": torch.from_numpy(frame).float(),
            "saliency": torch.full((1, *size), torch.nan),
            "fixations": torch.full((1, *size), torch.nan),
            "labels": torch.full((len(settings.classes),), torch.nan),
            "anatomy": self._anatomy(pixels, frame),
            "boxes": torch.zeros(0, 4),
            "box_labels": torch.zeros(0, dtype=torch.int64),
            "boxes_known": torch.tensor(False),
            "index": torch.tensor(0),
            "view": torch.tensor(0),
            "image_id": "",
            "patient_id": "",
        }

    def predict(self, pixels: Pixels) -> Prediction:
        """Predict one film.

        Args:
            pixels: float32 (H0, W0) in [0, 1], any size.
        """
        return self.predict_batch(collate([self.prepare(pixels)]))[0]


def _film_boxes(detections: list[dict[str, torch.Tensor]]) -> list[FilmBoxes]:
    arrays = [{name: part.cpu().numpy() for name, part in one.items()} for one in detections]
    return [
        FilmBoxes(one["boxes"].astype(np.float64), one["labels"], one["scores"].astype(np.float64))
        for one in arrays
    ]


def resample_density(
    prediction: Prediction,
    frame: Frame,
    size: tuple[int, int],
    which: Literal["density", "activation"] | int = "density",
) -> npt.NDArray[np.float64]:
    """A predicted map on another grid of the same film, as a density.

    Bilinear between pixels of the film only (padding has no say at its edge), never negative, and
    divided by its sum.

    Args:
        prediction: with the map.
        frame: original to the grid's pixels.
        size: (height, width) of the grid, all of it film.
        which: the gaze density, the evidence for the most probable class, or for a class by its
            number.

    Returns:
        float64 (height, width) that sums to 1; NaN throughout if the map is 0 throughout.
    """
    given = prediction.density if which == "density" else _grown(prediction, which)
    if given is None:
        wanted = which if isinstance(which, str) else "activation"
        raise StageError(f"the stage predicts no {wanted}")
    step = compose(frame, invert(prediction.frame))
    film = prediction.valid.float()
    stacked = torch.cat([given * film * film.numel(), film])
    mass, weight = warp_pixels(stacked, step, size).double().clamp_min(0).numpy()
    values = np.divide(mass, weight, out=np.zeros_like(mass), where=weight > 1e-6)
    # A pixel of the grid beyond the network's film (a cropped fit) was not seen: no mass there.
    total = values.sum()
    return np.asarray(values / total if total > 0 else np.full_like(values, np.nan), np.float64)


def _grown(prediction: Prediction, which: Literal["activation"] | int) -> torch.Tensor | None:
    """Evidence for a class on the network grid."""
    given = prediction.activation
    if isinstance(which, int) and prediction.evidence is not None:
        given = prediction.evidence[which][None]
    if given is None or prediction.covers is None:
        return None
    grown = interpolate(given[None], prediction.covers, mode="bilinear", align_corners=False)
    height, width = prediction.valid.shape[-2:]
    return grown[0, :, :height, :width]


def grid_of(original: tuple[int, int], long_side: int) -> tuple[Frame, tuple[int, int]]:
    """The evaluation grid of a film: its frame and its (height, width), the long side as given."""
    scale = long_side / max(original)
    size = (max(1, round(original[0] * scale)), max(1, round(original[1] * scale)))
    return fit_frame(original, size, "stretch"), size

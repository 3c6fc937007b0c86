"""A finished stage as a function from a film to findings and a gaze density."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from diagnosis.calibration import Temperature
from diagnosis.class_activation import class_activation
from diagnosis.losses import probabilities
from diagnosis.metrics import FilmBoxes
from eye_gaze_data.anatomy import AnatomySource
from eye_gaze_data.batch import Batch, to_device
from eye_gaze_data.cohort import Pixels
from eye_gaze_data.errors import StageError
from eye_gaze_data.files import read_json
from eye_gaze_data.geometry import (
    Frame,
    compose,
    film_frame,
    fit_frame,
    invert,
    valid_pixels,
    warp_pixels,
)
from saliency.context import attention_context
from saliency.density import density
from saliency.network import Network, Outputs

from .anatomy_source import anatomy_source
from .build import build_cohorts, build_network
from .config import RunConfig, StageConfig
from .devices import choose_device
from .finished import DIAGNOSIS_TASKS, SALIENCY_TASKS, FinishedStage
from .weights import hand_over, read_weights

TEMPERATURE = "temperature.json"


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
        logits: float64 (C,), what the probabilities are of; None without a diagnosis task.
        detections: boxes in network pixels; None without a detection task.
    """

    frame: Frame
    valid: torch.Tensor
    density: torch.Tensor | None
    probabilities: npt.NDArray[np.float64] | None
    evidence: torch.Tensor | None = None
    covers: tuple[int, int] | None = None
    logits: npt.NDArray[np.float64] | None = None
    detections: FilmBoxes | None = None

    @property
    def activation(self) -> torch.Tensor | None:
        """float32 (1, h, w), the evidence for the most probable class."""
        if self.evidence is None or self.logits is None:
            return None
        return self.evidence[int(self.logits.argmax())][None]


class Predictor:
    """Loads a stage of a run and predicts.

    Args:
        config: of the run.
        stage: whose weights.
        network: with the weights loaded, on the device.
        classes: names of the logits.
        exclusive: whether exactly one class holds.
        device: where the network is.
        anatomy: where organ masks come from; None if the network needs none.
        temperature: calibrates the probabilities; None to leave them as the network has them.
    """

    def __init__(
        self,
        config: RunConfig,
        stage: StageConfig,
        network: Network,
        classes: list[str],
        device: torch.device,
        *,
        exclusive: bool,
        anatomy: AnatomySource | None = None,
        temperature: Temperature | None = None,
    ) -> None:
        self.config, self.stage, self.network = config, stage, network
        self.classes, self.exclusive, self.device = classes, exclusive, device
        self.anatomy, self.temperature = anatomy, temperature

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
        config, spec, classes = finished.config, finished.stage, finished.classes
        network = build_network(config.models[spec.model], len(classes), config.seed)
        hand_over(network, read_weights(finished.weights), {"": ""}, str(finished.weights))
        where = choose_device(device)
        network = network.to(where).eval()
        of_cohort = spec.anatomy is not None and spec.anatomy.source == "cohort"
        cohort = build_cohorts(config) if of_cohort else None
        anatomy = anatomy_source(config, spec, cohort, finished.run, device)
        return cls(
            config,
            spec,
            network,
            classes,
            where,
            exclusive=finished.exclusive,
            anatomy=anatomy,
            temperature=stored_temperature(finished),
        )

    @property
    def has_saliency(self) -> bool:
        """Whether the stage's task gives a gaze density."""
        return self.stage.task in SALIENCY_TASKS

    @property
    def has_diagnosis(self) -> bool:
        """Whether the stage's task gives findings."""
        return self.stage.task in DIAGNOSIS_TASKS

    def predict_batch(self, batch: Batch) -> list[Prediction]:
        """One prediction a row."""
        batch = to_device(batch, self.device)
        organs = self.stage.anatomy.organs if self.stage.anatomy else ()
        # Not inference mode: the activation differentiates the class head.
        with torch.no_grad():
            context = attention_context(batch, organs)
            outputs = self.network(batch["image"], self.stage.task, context)
            maps = logits = scores = evidence = None
            if self.has_saliency:
                maps = density(outputs["saliency_logits"], batch["valid"]).cpu()
            if self.has_diagnosis:
                logits = outputs["class_logits"].double().cpu().numpy()
                scores = self._probabilities(logits)
                evidence = self._evidence(outputs).cpu()
            boxes = _film_boxes(outputs["detections"]) if "detections" in outputs else None
        size = (int(batch["image"].shape[-2]), int(batch["image"].shape[-1]))
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
            )
            for row in range(len(batch["image"]))
        ]

    def _probabilities(self, logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self.temperature is not None:
            return self.temperature.probabilities(logits)
        return probabilities(torch.from_numpy(logits), exclusive=self.exclusive).numpy()

    def _evidence(self, outputs: Outputs) -> torch.Tensor:
        features, head = outputs["features"], self.network.class_head(self.stage.task)
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
        """Organ masks of a film from elsewhere, (1, M, H, W); NaN where they are not known."""
        size = self.stage.data.image_size
        if self.anatomy is None:
            return torch.zeros(1, 0, *size)
        masks = torch.from_numpy(self.anatomy.of_film(pixels))
        unknown = masks.isnan().flatten(1).any(1)
        original, (height, width) = (int(pixels.shape[0]), int(pixels.shape[1])), masks.shape[1:]
        frame = film_frame(frame, original, (height, width))
        moved = warp_pixels(masks.nan_to_num(0.0), frame, size).clamp(0, 1)
        moved[unknown] = torch.nan
        return moved[None]

    def predict(self, pixels: Pixels) -> Prediction:
        """Predict one film.

        Args:
            pixels: float32 (H0, W0) in [0, 1], any size.
        """
        size = self.stage.data.image_size
        original = (int(pixels.shape[0]), int(pixels.shape[1]))
        data = self.stage.data
        frame = fit_frame(original, size, data.fit, data.stride)
        valid = valid_pixels(original, frame, size)
        mode = "nearest" if data.fit == "strided" else "bilinear"
        image = warp_pixels(torch.from_numpy(pixels)[None], frame, size, mode=mode)
        image = (image * valid).clamp(0, 1)
        batch: Batch = {
            "image": image[None],
            "valid": valid[None],
            "frame": torch.from_numpy(frame)[None].float(),
            "saliency": torch.full((1, 1, *size), torch.nan),
            "fixations": torch.full((1, 1, *size), torch.nan),
            "labels": torch.full((1, len(self.classes)), torch.nan),
            "anatomy": self._anatomy(pixels, frame),
            "boxes": [torch.zeros(0, 4)],
            "box_labels": [torch.zeros(0, dtype=torch.int64)],
            "boxes_known": torch.tensor([False]),
            "index": torch.tensor([0]),
            "view": torch.tensor([0]),
            "image_id": [""],
            "patient_id": [""],
        }
        return self.predict_batch(batch)[0]


def _film_boxes(detections: list[dict[str, torch.Tensor]]) -> list[FilmBoxes]:
    arrays = [{name: part.cpu().numpy() for name, part in one.items()} for one in detections]
    return [
        FilmBoxes(one["boxes"].astype(np.float64), one["labels"], one["scores"].astype(np.float64))
        for one in arrays
    ]


def stored_temperature(finished: FinishedStage) -> Temperature | None:
    """The temperature that the evaluation of these very weights fitted; None if there is none."""
    folder = finished.run / "evaluate"
    if not all((folder / name).is_file() for name in (TEMPERATURE, "metrics.json")):
        return None
    scored = read_json(folder / "metrics.json")
    known = finished.weights_sha256, finished.stage.name
    if (scored.get("weights_sha256"), scored.get("stage")) != known:
        return None
    return Temperature.load(folder / TEMPERATURE)


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

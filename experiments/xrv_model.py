"""A shared model behind torchxrayvision's conventions."""

import torch
from torch import Tensor, nn

from eye_gaze_data.batch import collate
from eye_gaze_data.errors import DataError
from eye_gaze_data.readers.torchxrayvision import RANGE

from .gaze_model import GazeModel


class XRVModel(nn.Module):
    """``model(x)`` with ``x`` in [-1024, 1024], and ``model.pathologies``.

    Unlike torchxrayvision's own models it gives probabilities as they are, calibrated if the model
    has temperatures, and never scales them so that 0.5 is the operating point.

    Args:
        model: with a diagnosis task.

    Raises:
        DataError: if the model gives no findings.
    """

    def __init__(self, model: GazeModel) -> None:
        super().__init__()
        if not model.settings.has_diagnosis:
            raise DataError(f"task '{model.settings.task}' gives no findings")
        self.model = model

    @property
    def pathologies(self) -> list[str]:
        """Names of the columns."""
        return self.model.pathologies

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (B, C).

        Args:
            x: (B, 1, H, W) in [-1024, 1024], any size, all of it film; it is brought onto the
                model's grid as the model's own films are.

        Raises:
            DataError: if the shape or the range is another.
        """
        check_range(x)
        settings = self.model.settings
        films = (x.detach().float().cpu() / (2 * RANGE) + 0.5).clamp(0, 1)
        predictor = self.model.predictor(x.device.type)
        batch = collate([predictor.prepare(film[0].numpy()) for film in films])
        anatomy = batch["anatomy"] if settings.organs else None
        given = (batch["image"], batch["valid"], anatomy)
        image, valid, masks = (None if part is None else part.to(x.device) for part in given)
        with torch.no_grad():
            found: Tensor = self.model(image, valid, masks)["probabilities"]
        return found


def check_range(x: Tensor) -> None:
    """Refuse what is no image of torchxrayvision: the same answer for every film is the result.

    Raises:
        DataError: naming what came, and the function that brings it into range.
    """
    if x.ndim != 4 or x.shape[1] != 1 or x.numel() == 0:
        raise DataError(f"expected images (B, 1, H, W), found {tuple(x.shape)}")
    low, high = float(x.min()), float(x.max())
    # Resizing overshoots a little.
    if not (low >= -1.01 * RANGE and high <= 1.01 * RANGE):
        raise DataError(f"expected grey levels in [-1024, 1024], found [{low:g}, {high:g}]")
    if low < 0 and low >= -1 and high <= 1:
        raise DataError(
            f"expected grey levels in [-1024, 1024], found [{low:g}, {high:g}], which look like "
            "[-1, 1]; multiply by 1024"
        )
    for top in (1, 255):
        if low >= 0 and high <= top:
            raise DataError(
                f"expected grey levels in [-1024, 1024], found [{low:g}, {high:g}], which look "
                f"like [0, {top}]; use torchxrayvision.datasets.normalize(image, {top})"
            )

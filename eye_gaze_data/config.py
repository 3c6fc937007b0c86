"""What a config says of gaze densities and augmentation; pydantic alone, quick to import."""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Readers = Literal["pool", "mean", "sample"]

# The released code blurs with OpenCV's automatic sigma for a kernel of 501 pixels on films 3056
# pixels high, and cuts the kernel at 250 pixels (specs: main system, section 5.4).
_PAPER_SIGMA = 75.5 / 3056
_PAPER_CUT = 250 / 75.5


class Recipe(BaseModel):
    """How points become a density; recorded with every run.

    Attributes:
        sigma: standard deviation of the Gaussian, in units of ``unit``.
        unit: ``height``, a fraction of the original image height, or ``degree`` of visual angle,
            for which the cohort must know its pixels per degree.
        weight: ``count``, each point counts 1, or ``duration``, each counts its seconds.
        border: ``reflect`` folds mass that would leave the film back (scipy's mirror), ``cut``
            lets it go; both are followed by a division by the sum.
        cut: where the Gaussian is cut off, in sigmas along each axis; None for nowhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    sigma: float = Field(gt=0, allow_inf_nan=False)
    unit: Literal["height", "degree"] = "height"
    weight: Literal["count", "duration"] = "count"
    border: Literal["reflect", "cut"] = "reflect"
    cut: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _within_reach(self) -> "Recipe":
        if self.border == "reflect" and self.unit == "height" and self.sigma > 0.25:
            raise ValueError("sigma must be at most 0.25 of the height for border 'reflect'")
        return self


PRESETS: dict[str, Recipe] = {
    "paper": Recipe(sigma=_PAPER_SIGMA, cut=_PAPER_CUT),
    "fixation": Recipe(sigma=_PAPER_SIGMA, weight="duration"),
    "degree": Recipe(sigma=1.0, unit="degree", weight="duration", border="cut"),
}


class AugmentConfig(BaseModel):
    """Ranges of the augmentation; each draw is uniform in its range, every default is off.

    Attributes:
        degrees: largest rotation to either side.
        scale: smallest and largest enlargement.
        shift: largest shift, as a fraction of the grid, along each axis.
        flip: mirror left and right never, at random or always; it teaches that the heart has no
            side, so never.
        brightness: largest change of the grey level.
        contrast: largest relative change of the contrast.
        noise: standard deviation of added noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    degrees: float = Field(default=0.0, ge=0, le=180)
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    flip: Literal["never", "random", "always"] = "never"
    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    noise: float = Field(default=0.0, ge=0, le=1)

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1] < math.inf:
            raise ValueError("must be two numbers above 0, the smaller first")
        return scale


class GazeConfig(BaseModel):
    """How gaze becomes the target of a stage.

    Attributes:
        preset: a named density recipe: ``paper``, ``fixation`` or ``degree``.
        recipe: a recipe of one's own, instead of a preset.
        readers: ``pool`` all readers' points, ``mean`` of the readers' densities, or ``sample``
            one reader an epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["paper", "fixation", "degree"] = "paper"
    recipe: Recipe | None = None
    readers: Readers = "pool"

    def resolved(self) -> Recipe:
        """The recipe in force."""
        return self.recipe or PRESETS[self.preset]

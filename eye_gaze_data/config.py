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
        sigma: standard deviation of the Gaussian, in units of ``unit``; 0 leaves each point on the
            one pixel that it falls on.
        unit: ``height``, a fraction of the original image height; ``pixel``, original pixels;
            ``degree`` of visual angle, for which the cohort must know its pixels per degree; or
            ``point``, degrees by the pixels per degree of each point along x and y, for which the
            cohort must know those.
        weight: ``count``, each point counts 1; ``duration``, each counts its seconds; or
            ``log_interval``, ln(1 + 100 t) with t the seconds from the end of the reader's point
            before (of the reading's start for the first) to its own end.
        border: ``reflect`` folds mass that would leave the film back about the middle of the
            outermost pixel (OpenCV's reflect-101, scipy's mirror), ``symmetric`` about the film's
            edge (scipy's reflect), ``cut`` lets it go; all are followed by a division by the sum.
        cut: where the Gaussian is cut off, in sigmas along each axis; None for nowhere.
        window: whether a point's Gaussian is clipped to the part of the image that was on the
            screen, for which the cohort must know that part.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sigma: float = Field(ge=0, allow_inf_nan=False)
    unit: Literal["height", "pixel", "degree", "point"] = "height"
    weight: Literal["count", "duration", "log_interval"] = "count"
    border: Literal["reflect", "symmetric", "cut"] = "reflect"
    cut: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    window: bool = False

    @model_validator(mode="after")
    def _within_reach(self) -> "Recipe":
        if self.border != "cut" and self.unit == "height" and self.sigma > 0.25:
            raise ValueError(f"sigma must be at most 0.25 of the height for border '{self.border}'")
        return self


# The published recipes as far as a density can follow them (specs: main system, section 8.3);
# docs/data-gaze.md says what differs.
PRESETS: dict[str, Recipe] = {
    "paper": Recipe(sigma=_PAPER_SIGMA, cut=_PAPER_CUT),
    "fixation": Recipe(sigma=_PAPER_SIGMA, weight="duration"),
    "degree": Recipe(sigma=1.0, unit="degree", weight="duration", border="cut"),
    "egd_authors": Recipe(sigma=150, unit="pixel", border="symmetric", cut=4.0),
    "reflacx": Recipe(sigma=1.0, unit="point", weight="duration", border="cut", window=True),
    "gazegnn": Recipe(sigma=0, weight="log_interval", border="cut"),
}
Preset = Literal["paper", "fixation", "degree", "egd_authors", "reflacx", "gazegnn"]


class DetectConfig(BaseModel):
    """How raw samples become fixations; belongs into every report, as results depend on it.

    Attributes:
        method: ``ivt``, slower than ``velocity``, or ``idt``, within ``dispersion`` (Salvucci and
            Goldberg 2000). I-VT suits 200 Hz and more, I-DT 30 to 60 Hz.
        velocity: I-VT's threshold in degrees a second.
        dispersion: I-DT's threshold in degrees: range of x plus range of y.
        min_duration: seconds; shorter fixations are dropped.
        smooth: seconds of the running median that I-VT takes before velocities; it keeps edges.
        max_gap: seconds without a valid sample that a fixation may span (Olsen 2012: 0.075); a
            longer gap, a blink for one, ends it.
        merge_gap: seconds between fixations that may be one (Olsen 2012: 0.075); 0 merges none.
        merge_distance: degrees between their centres, likewise (Olsen 2012: 0.5).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["ivt", "idt"]
    velocity: float = Field(default=30.0, gt=0, allow_inf_nan=False)
    dispersion: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    min_duration: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    smooth: float = Field(default=0.02, ge=0, allow_inf_nan=False)
    max_gap: float = Field(default=0.075, ge=0, allow_inf_nan=False)
    merge_gap: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    merge_distance: float = Field(default=0.5, gt=0, allow_inf_nan=False)


# Views of a radiograph for contrast: no hue, no flip, crops that keep the lungs.
RADIOGRAPH: dict[str, float] = {
    "degrees": 10,
    "crop": 0.7,
    "brightness": 0.15,
    "contrast": 0.3,
    "gamma": 0.3,
    "blur": 0.008,
    "noise": 0.02,
}


class AugmentConfig(BaseModel):
    """Ranges of the augmentation; each draw is uniform in its range, every default is off.

    Attributes:
        degrees: largest rotation to either side.
        scale: smallest and largest enlargement.
        shift: largest shift, as a fraction of the grid, along each axis.
        crop: smallest share of the grid's area that a random crop keeps, before the film is turned
            and shifted; the aspect stays.
        flip: mirror left and right never, at random or always; it teaches that the heart has no
            side, so never.
        brightness: largest change of the grey level.
        contrast: largest relative change of the contrast.
        gamma: largest logarithm, to either side, of the exponent that grey levels are raised to.
        blur: largest standard deviation of a Gaussian blur, as a fraction of the grid's height.
        noise: standard deviation of added noise.

    The name ``radiograph`` stands for ``RADIOGRAPH``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    degrees: float = Field(default=0.0, ge=0, le=180)
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    crop: float = Field(default=1.0, gt=0, le=1)
    flip: Literal["never", "random", "always"] = "never"
    brightness: float = Field(default=0.0, ge=0, le=1)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    gamma: float = Field(default=0.0, ge=0, le=2)
    blur: float = Field(default=0.0, ge=0, le=0.1)
    noise: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: object) -> object:
        return RADIOGRAPH if value == "radiograph" else value

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1] < math.inf:
            raise ValueError("must be two numbers above 0, the smaller first")
        return scale


class GazeConfig(BaseModel):
    """How gaze becomes the target of a stage.

    Attributes:
        preset: a named density recipe, one of ``PRESETS``.
        recipe: a recipe of one's own, instead of a preset.
        readers: ``pool`` all readers' points, ``mean`` of the readers' densities, or ``sample``
            one reader an epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    preset: Preset = "paper"
    recipe: Recipe | None = None
    readers: Readers = "pool"

    def resolved(self) -> Recipe:
        """The recipe in force."""
        return self.recipe or PRESETS[self.preset]

"""How a user describes tables to ``tabular``: which file, which columns, which units."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .config import DetectConfig


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ImagesCsv(_Strict):
    """The table of images.

    Attributes:
        csv: path of the table.
        root: folder that the image column is relative to; the table's folder if None.
        npz: a NumPy archive in ``root`` with one array of films, uint8 or uint16 (N, H, W); the
            image column then counts its films from 0.
        image: column with the path of the image; it is the image id too.
        patient: column with the patient; without it every image is a patient of its own.
        study: column with the study.
        split: column with train, valid or test; without it patients are split by ``fractions``.
        source: column with where an image comes from; results are reported by it.
        labels: label columns: 1, 0, or empty where not stated.
        where: keep only rows whose column has one of the listed values.
    """

    csv: Path
    root: Path | None = None
    npz: str | None = None
    image: str = "image"
    patient: str | None = None
    study: str | None = None
    split: str | None = None
    source: str | None = None
    labels: tuple[str, ...] = ()
    where: dict[str, tuple[str, ...]] = {}


class GazeCsv(_Strict):
    """The table of fixations or of raw samples.

    Attributes:
        csv: path of the table.
        image: column that names the image as the table of images does.
        x: column with the horizontal position.
        y: column with the vertical position, downwards.
        units: ``pixel`` of the original image, or ``fraction`` of its width and height.
        pixel_origin: ``corner`` if coordinate 0 is the left edge of the first pixel, ``centre``
            if it is the middle (as integer pixel indices are). Fractions start at the corner.
        duration: column with durations; unknown if None.
        duration_unit: ``s`` or ``ms``; durations without a unit are refused.
        start: column with the start of each point; unknown if None.
        start_unit: ``s`` or ``ms``.
        order: column that gives the time order where there is no start.
        reader: column that names who looked; one reader if None.
        samples: true for raw samples of an eye tracker.
        pixels_per_degree: original pixels per degree of visual angle.
        detect: turns raw samples into fixations; needs ``samples``, a start and pixels per degree.
        outside: what to do with points off the image: ``drop`` (counted) or ``error``.
    """

    csv: Path
    image: str = "image"
    x: str = "x"
    y: str = "y"
    units: Literal["pixel", "fraction"] = "pixel"
    pixel_origin: Literal["corner", "centre"] = "corner"
    duration: str | None = None
    duration_unit: Literal["s", "ms"] | None = None
    start: str | None = None
    start_unit: Literal["s", "ms"] | None = None
    order: str | None = None
    reader: str | None = None
    samples: bool = False
    pixels_per_degree: float | None = Field(default=None, gt=0)
    detect: DetectConfig | None = None
    outside: Literal["drop", "error"] = "drop"

    @model_validator(mode="after")
    def _detects_in_samples(self) -> "GazeCsv":
        known = self.samples and self.start is not None and self.pixels_per_degree is not None
        if self.detect is not None and not known:
            raise ValueError("detect needs samples: true, a start column and pixels_per_degree")
        return self


class MasksCsv(_Strict):
    """The table of organ masks: one row a mask file (0 and 255, of the film's size)."""

    csv: Path
    image: str = "image"
    mask: str = "mask"
    organ: str = "structure"


class BoxesCsv(_Strict):
    """The table of boxes, in original pixels.

    Attributes:
        csv: path of the table.
        image: column that names the image.
        label: column with the label.
        corners: columns of x1, y1, x2, y2; or of x, y, width, height with ``sized``.
        sized: whether the last two columns are a width and a height.
        complete: whether images with a row have all their boxes listed.
        rename: names of labels as the images' table writes them; an empty name drops the box.
    """

    csv: Path
    image: str = "image"
    label: str = "label"
    corners: tuple[str, str, str, str] = ("x1", "y1", "x2", "y2")
    sized: bool = False
    complete: bool = False
    rename: dict[str, str] = {}


class CsvConfig(_Strict):
    """A cohort described by tables.

    Attributes:
        kind: tells cohorts apart in a config.
        images: the table of images and labels.
        gaze: the table of fixations.
        masks: the table of organ masks.
        boxes: the table of boxes.
        exclusive: true if exactly one label holds for an image.
        on_error: ``stop`` at the first file or row that is not as declared, or ``skip`` it, which
            lists it among the cohort's problems.
        fractions: share of patients a split, where the table has no split column.
        split_seed: draws another split.
        patient_namespace: cohorts that share it share patients.
    """

    kind: Literal["csv"] = "csv"
    images: ImagesCsv
    gaze: GazeCsv | None = None
    masks: MasksCsv | None = None
    boxes: BoxesCsv | None = None
    exclusive: bool = False
    on_error: Literal["stop", "skip"] = "stop"
    fractions: dict[str, float] = {"train": 0.7, "valid": 0.1, "test": 0.2}
    split_seed: int = 0
    patient_namespace: str = ""

"""How the gaze cohorts are described in a config; pydantic alone, quick to import."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eye_gaze_data.config import DetectConfig

from .config import ReaderConfig


class FilmFolder(BaseModel):
    """Where the films of a gaze cohort stand: both data sets publish gaze, and name MIMIC's films.

    Attributes:
        root: the folder that holds ``files`` (``dicom``, ``jpg``), or the films (``by_id``).
        layout: ``dicom``, MIMIC-CXR as published; ``jpg``, MIMIC-CXR-JPG as published; ``by_id``,
            any folder with a film of full size a DICOM id, named by it.
        pixels: as ``displayed``, by modality, window and inversion; or as ``stored`` in DICOM
            files, over the film's maximum: the released code's reading (``docs/legacy.md``).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    root: Path
    layout: Literal["dicom", "jpg", "by_id"] = "dicom"
    pixels: Literal["displayed", "stored"] = "displayed"


class GazeReaderConfig(ReaderConfig):
    """What all gaze cohorts can be told.

    Attributes:
        images: where the films stand.
        gaze: ``fixations`` or raw ``samples``.
        detect: turns raw samples into fixations; None keeps them.
        outside: points off the image are dropped (and counted), kept, or refused as an ``error``.
        phase: points of the whole reading, of the ``search`` before the dictation's first word, or
            from then on (``dictation``).
        patient_namespace: of MIMIC-CXR, so that patients shared with other cohorts are seen.
    """

    images: FilmFolder
    gaze: Literal["samples", "fixations"] = "fixations"
    detect: DetectConfig | None = None
    outside: Literal["drop", "keep", "error"] = "drop"
    phase: Literal["all", "search", "dictation"] = "all"
    patient_namespace: str = "mimic"

    @model_validator(mode="after")
    def _detects_in_samples(self) -> "GazeReaderConfig":
        if self.detect is not None and self.gaze != "samples":
            raise ValueError("detect turns raw samples into fixations: set gaze to 'samples'")
        return self


class EgdCxrConfig(GazeReaderConfig):
    """EGD-CXR, "Eye Gaze Data for Chest X-rays" 1.0.0.

    Attributes:
        kind: tells cohorts apart in a config.
        gaze: ``samples`` of 60 Hz (eye_gaze.csv) or ``fixations`` of the tracker (fixations.csv).
        validity: points that count: ``all``, those the tracker calls a valid ``fixation`` (FPOGV),
            or those where an eye was seen (``best``: BPOGV).
        position: ``published`` (X_ORIGINAL, Y_ORIGINAL, whole pixels), or computed by the authors'
            rule from the screen position of the ``fixation`` (FPOGX, FPOGY) or of the ``best``
            point of gaze (BPOGX, BPOGY), which no fixation filter has touched.
        screen_pixels_per_degree: screen pixels that a degree of visual angle spans; not published.
        segmentation: whether ``audio_segmentation_transcripts`` was downloaded: organ masks, and
            the times that phases need.
    """

    kind: Literal["egd_cxr"] = "egd_cxr"
    gaze: Literal["samples", "fixations"] = "samples"
    validity: Literal["all", "fixation", "best"] = "all"
    position: Literal["published", "fixation", "best"] = "published"
    screen_pixels_per_degree: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    segmentation: bool = True

    @model_validator(mode="after")
    def _has_times(self) -> "EgdCxrConfig":
        if self.phase != "all" and not self.segmentation:
            raise ValueError(
                f"phase '{self.phase}' needs the transcripts of audio_segmentation_transcripts: "
                "set segmentation to true"
            )
        return self


class ReflacxConfig(GazeReaderConfig):
    """REFLACX, "Reports and eye-tracking data for localization of abnormalities".

    Attributes:
        kind: tells cohorts apart in a config.
        phases: of the study; 1 and 2 were read by five radiologists, 3 by one, and phase 1 has
            other labels.
        threshold: certainty, 0 to 5, from which a finding counts as present (3 is "possibly").
        agreement: a finding of a film with several readings is present if ``any`` reading, more
            than half of them (``majority``; NaN if just half), or ``all`` say so.
        split: ``official``, MIMIC-CXR's as published, or by ``patient`` with ``fractions``.
    """

    kind: Literal["reflacx"] = "reflacx"
    phases: tuple[Literal[1, 2, 3], ...] = Field(default=(1, 2, 3), min_length=1)
    threshold: float = Field(default=3.0, ge=0, le=5)
    agreement: Literal["any", "majority", "all"] = "majority"
    split: Literal["official", "patient"] = "official"

"""What a phantom cohort is made of."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from eye_gaze_data.cohort import SPLITS

FINDINGS = ("Cardiomegaly", "Effusion", "Consolidation", "Nodule", "Pneumothorax", "Edema")
CLASSES = ("Normal", "Heart failure", "Pneumonia")
# A film shown at full height on a 24 inch screen, seen from 65 cm, spans about 26 degrees.
FILM_DEGREES = 26.0


class PhantomConfig(BaseModel):
    """A phantom cohort, drawn from a seed.

    Attributes:
        kind: tells this cohort from those read from disk.
        n_patients: number of patients.
        images_per_patient: the most films a patient has; each beyond the first is taken with
            probability one half.
        height: film height in pixels.
        width: film width in pixels; the shorter side spans 36 cm.
        labels: ``multilabel``, six findings, or ``exclusive``, three classes as in EGD-CXR.
        readers: how many readers look at each film.
        gaze: ``fixations``, ``samples`` (60 Hz, with noise) or ``none``.
        with_labels: if false the label, severity and conspicuity columns are NaN and no box is
            known: films that somebody looked at and nobody reported.
        prevalence: share of films with a finding, for each finding (``multilabel`` only). The
            classes of ``exclusive`` are equally frequent.
        severity: range the severity of a finding is drawn from, uniformly.
        mimics: how frequent what merely looks like a finding is. For each finding, the probability
            that a film without it shows its twin, drawn as the finding is, and the probability
            that a film shows a lookalike, of another form. Neither has a label or a box.
        arm: ``dwell``, readers look at findings; ``shuffled``, each patient has the gaze of
            another of the same split; ``no_dwell``, readers survey the anatomy and no more.
        pixels_per_degree: original pixels per degree of visual angle; a film 26 degrees high if
            None.
        seed: draws another cohort.
        fractions: share of patients of each split.
        patient_namespace: see ``Cohort``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["phantom"] = "phantom"
    n_patients: int = Field(default=400, ge=1, le=1_000_000)
    images_per_patient: int = Field(default=1, ge=1, le=16)
    height: int = Field(default=256, ge=32, le=4096)
    width: int = Field(default=256, ge=32, le=4096)
    labels: Literal["multilabel", "exclusive"] = "multilabel"
    readers: int = Field(default=3, ge=1, le=100)
    gaze: Literal["fixations", "samples", "none"] = "fixations"
    with_labels: bool = True
    prevalence: float = Field(default=0.3, ge=0, le=1)
    severity: tuple[float, float] = (0.25, 1.0)
    mimics: float = Field(default=0.25, ge=0, le=1)
    arm: Literal["dwell", "shuffled", "no_dwell"] = "dwell"
    pixels_per_degree: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    seed: int = Field(default=0, ge=0)
    fractions: dict[str, float] = Field(
        default_factory=lambda: {"train": 0.7, "valid": 0.1, "test": 0.2}
    )
    patient_namespace: str = ""

    @field_validator("severity")
    @classmethod
    def _severity_is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 0 < low <= high <= 1:
            raise ValueError(f"severity must be a range (low, high) within (0, 1], got {value}")
        return value

    @field_validator("fractions")
    @classmethod
    def _fractions_are_shares(cls, value: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(value) - set(SPLITS))
        if unknown:
            raise ValueError(f"fractions know the splits {', '.join(SPLITS)}, got {unknown}")
        # Written so that NaN fails too.
        if not value or not all(0 <= share <= 1 for share in value.values()):
            raise ValueError(f"fractions must be shares in [0, 1], got {value}")
        if sum(value.values()) > 1 + 1e-9:
            raise ValueError(f"fractions must sum to at most 1, got {sum(value.values()):g}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "PhantomConfig":
        if self.gaze == "none" and self.arm != "dwell":
            raise ValueError(f"arm '{self.arm}' is a control of the gaze, but gaze is 'none'")
        if max(self.height, self.width) > 3 * min(self.height, self.width):
            raise ValueError(
                f"a film is at most three times as long as wide, got {self.height}x{self.width}"
            )
        return self

    @property
    def pathologies(self) -> tuple[str, ...]:
        """The label columns."""
        return FINDINGS if self.labels == "multilabel" else CLASSES

    @property
    def degree(self) -> float:
        """Original pixels per degree of visual angle."""
        return self.pixels_per_degree or self.height / FILM_DEGREES

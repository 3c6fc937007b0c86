"""What every reader of a published data set can be told; pydantic alone, quick to import."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class ReaderConfig(BaseModel):
    """Base of the data sets' configs.

    Attributes:
        root: the folder as downloaded.
        on_error: ``stop`` at the first file or row that is not as published, or ``skip`` it,
            which lists it among the cohort's problems.
        fractions: share of patients a split, where the data set has no official split or it is
            not asked for.
        split_seed: draws another split.
        patient_namespace: cohorts that share it share patients.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    root: Path
    on_error: Literal["stop", "skip"] = "stop"
    fractions: dict[str, float] = {"train": 0.7, "valid": 0.1, "test": 0.2}
    split_seed: int = 0
    patient_namespace: str = ""

"""What ``gazedx data prepare`` is told, and the prepared cohort; pydantic alone."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class PreparedConfig(BaseModel):
    """A cohort that ``gazedx data prepare`` wrote.

    Attributes:
        kind: tells cohorts apart in a config.
        root: the prepared folder; it may be moved.
        patient_namespace: cohorts that share it share patients; as it was prepared if empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["prepared"] = "prepared"
    root: Path
    patient_namespace: str = ""


class StoreConfig(BaseModel):
    """How films are stored.

    Attributes:
        size: long side of a stored film in pixels; a smaller film stays as it is, None keeps all.
        depth: bits of a stored grey level.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    size: int | None = Field(default=1024, ge=16)
    depth: Literal[8, 16] = 8

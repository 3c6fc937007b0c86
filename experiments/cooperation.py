"""What a config says of turns: rounds that end, tasks that mature, rows by what they know."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9][a-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME)]
Knows = Literal["both", "gaze", "labels"]


class Strict(BaseModel):
    """Frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MonitorConfig(Strict):
    """What the best epoch is chosen by, on the validation split."""

    metric: str
    mode: Literal["min", "max"]


class RoundConfig(Strict):
    """Where a stage stands in rounds; written when ``{rounds, until, stages}`` is read.

    Attributes:
        stage: its name before the rounds were written out.
        group: number of the rounds within the run, from 0.
        number: of the round, from 1.
        until: ``end``, or ``no_gain``: rounds after one in which no task gained are skipped.
        tolerance: a gain must be larger, in units of the monitored metric.
    """

    stage: Name
    group: int = Field(ge=0)
    number: int = Field(ge=1)
    until: Literal["end", "no_gain"] = "end"
    tolerance: float = Field(default=0.0, ge=0)


class TaskConfig(Strict):
    """One of several tasks of a stage, which may be done before the others.

    Attributes:
        losses: of the stage that are its own; they have no weight once it is mature.
        parameters: globs over the trained parameters that are its own; at rest once it is mature.
        monitor: what its own best epoch is chosen by.
        stop_after: epochs without a better value until it is mature; None for never.
        rate: of its own parameters, relative to the optimiser's.
    """

    losses: tuple[str, ...] = Field(min_length=1)
    parameters: tuple[str, ...] = Field(min_length=1)
    monitor: MonitorConfig
    stop_after: int | None = Field(default=None, ge=1)
    rate: float = Field(default=1.0, gt=0)

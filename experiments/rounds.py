"""Rounds that end when no task gains: which is the last to run, and whose weights stand for all.

All of it follows from the records of finished stages, so a run that was interrupted, or is only
looked at, decides as the one that trained did.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import RunConfig, StageConfig
from .record import read_stage, stage_folder


@dataclass(frozen=True)
class Value:
    """The best value of a task in a round, and which direction is better."""

    value: float
    mode: str


Round = Mapping[str, Value]


@dataclass(frozen=True)
class Outcome:
    """How far rounds have come.

    Attributes:
        best: number of the last finished round in which some task gained; 0 if none is finished.
        ended: number of the round that brought no gain; None if rounds go on.
        last: how many rounds are declared.
    """

    best: int
    ended: int | None
    last: int

    @property
    def decided(self) -> bool:
        """Whether no further round can change what is best."""
        return self.ended is not None or self.best == self.last


def gained(before: Round, after: Round, tolerance: float = 0.0) -> list[str]:
    """The tasks whose best value is better than a round before, by more than the tolerance."""
    found = []
    for task, new in after.items():
        old = before[task]
        gain = old.value - new.value if new.mode == "min" else new.value - old.value
        # Written so that what has no value yet counts as gained.
        if math.isnan(old.value) or gain > tolerance:
            found.append(task)
    return found


def outcome_of(rounds: Sequence[Round], last: int, tolerance: float = 0.0) -> Outcome:
    """What finished rounds decide.

    Args:
        rounds: of the rounds that are finished, in order; each has the same tasks.
        last: how many rounds are declared.
        tolerance: a gain must be larger.
    """
    for number in range(2, len(rounds) + 1):
        if not gained(rounds[number - 2], rounds[number - 1], tolerance):
            return Outcome(number - 1, number, last)
    return Outcome(len(rounds), None, last)


def outcome(config: RunConfig, run: Path, group: int) -> Outcome:
    """What the records of a run say of its rounds.

    Args:
        config: of the run.
        run: the run folder.
        group: number of the rounds within the run.
    """
    parts = _stages(config, group)
    tolerance = next(stage.round.tolerance for stage in parts if stage.round)
    last = last_round(config, group)
    finished: list[Round] = []
    for number in range(1, last + 1):
        values: dict[str, Value] | None = {}
        for stage in parts:
            if stage.round and stage.round.number == number and values is not None:
                found = _values(stage, read_stage(stage_folder(run, config, stage.name)))
                values = None if found is None else values | found
        if values is None:
            break
        finished.append(values)
    return outcome_of(finished, last, tolerance)


def skip_reason(config: RunConfig, run: Path, stage: StageConfig) -> tuple[str, str] | None:
    """Why a stage is not to be run, and the name of the one that stands in for it; None to run."""
    place = stage.round
    if place is None or place.until != "no_gain":
        return None
    found = outcome(config, run, place.group)
    if found.ended is None or place.number <= found.ended:
        return None
    reason = (
        f"no task gained more than {place.tolerance:g} in round {found.ended}; the weights of "
        f"round {found.best} stand in"
    )
    return reason, f"{place.stage}-r{found.best}"


def standing(config: RunConfig, run: Path, name: str) -> str:
    """The stage whose weights a name outside its rounds means.

    The last round, or one that was skipped, means the last round in which some task gained; all
    else means itself, as does what is not decided yet.
    """
    place = config.stage(name).round
    if place is None or place.until != "no_gain":
        return name
    found = outcome(config, run, place.group)
    skipped = found.ended is not None and place.number > found.ended
    if found.decided and (skipped or place.number == found.last):
        return f"{place.stage}-r{found.best}"
    return name


def source_of(config: RunConfig, run: Path, stage: StageConfig, name: str) -> str:
    """The stage that an ``init`` means: inside of its rounds as written, outside what stands."""
    return name if _inside(config, stage, name) else standing(config, run, name)


def means_best_round(config: RunConfig, stage: StageConfig, name: str) -> bool:
    """Whether an ``init`` means the best round, which only the run will tell."""
    place = config.stage(name).round
    if place is None or place.until != "no_gain" or _inside(config, stage, name):
        return False
    return place.number == last_round(config, place.group)


def last_round(config: RunConfig, group: int) -> int:
    """How many rounds are declared."""
    return max(stage.round.number for stage in _stages(config, group) if stage.round)


def result_stage(config: RunConfig, run: Path) -> str:
    """The stage whose weights are the run's result."""
    return standing(config, run, config.evaluate.stage or config.stages[-1].name)


def _inside(config: RunConfig, stage: StageConfig, name: str) -> bool:
    """Whether two stages stand in the same rounds."""
    place, own = config.stage(name).round, stage.round
    return place is not None and own is not None and own.group == place.group


def _stages(config: RunConfig, group: int) -> list[StageConfig]:
    return [stage for stage in config.stages if stage.round and stage.round.group == group]


def _values(stage: StageConfig, record: dict[str, Any] | None) -> dict[str, Value] | None:
    """The best value of each task of a finished stage, None if it is not finished."""
    if record is None or record["status"] != "complete" or stage.round is None:
        return None
    name = stage.round.stage
    tasks = record.get("tasks") or {}
    monitors = {f"{name}/{task}": facts for task, facts in tasks.items()}
    monitors = monitors or {name: record["monitor"]}
    return {task: Value(float(m["value"]), str(m["mode"])) for task, m in monitors.items()}

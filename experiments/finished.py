"""A finished stage of a run as its record tells it, without building its network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from eye_gaze_data.errors import ConfigError, StageError

from .config import RunConfig, StageConfig
from .load import load_config
from .record import read_stage, stage_folder
from .rounds import result_stage

SALIENCY_TASKS = frozenset({"saliency", "fuse", "joint"})
DIAGNOSIS_TASKS = frozenset({"classify", "fuse", "joint"})
DETECTION_TASKS = frozenset({"detect"})


@dataclass(frozen=True)
class FinishedStage:
    """What is known of a finished stage.

    Attributes:
        run: the run folder.
        config: of the run.
        stage: its config.
        classes: names of the logits.
        exclusive: whether exactly one class holds.
        weights_sha256: of its weights file.
    """

    run: Path
    config: RunConfig
    stage: StageConfig
    classes: list[str]
    exclusive: bool
    weights_sha256: str | None

    @classmethod
    def load(cls, run: Path, stage: str | None = None, overrides: Sequence[str] = ()) -> Self:
        """From a run folder.

        Args:
            run: the run folder.
            stage: name; the config's ``evaluate.stage``, else the last stage, if None. Of rounds
                that end by themselves that means the best round, as does a name that was skipped.
            overrides: ``a.b=c`` over the run's config.

        Raises:
            ConfigError: if the folder is no run, or has no such stage.
            StageError: if the stage is not finished.
        """
        if not (run / "config.yaml").is_file():
            raise ConfigError(f"{run}: no run folder (it has no config.yaml)")
        config = load_config(run / "config.yaml", overrides)
        name = stage or result_stage(config, run)
        if name not in [spec.name for spec in config.stages]:
            known = ", ".join(spec.name for spec in config.stages)
            raise ConfigError(f"{run}: no stage '{name}'; known: {known}")
        folder = stage_folder(run, config, name)
        record: dict[str, Any] | None = read_stage(folder)
        if record is not None and record["status"] == "skipped":
            return cls.load(run, record["stands_in"], overrides)
        if record is None or record["status"] != "complete":
            status = "was never run" if record is None else f"is {record['status']}"
            raise StageError(f"{folder}: the stage {status}; run it first: gazedx run CONFIG")
        return cls(
            run,
            config,
            config.stage(name),
            list(record["classes"]),
            bool(record["exclusive"]),
            record.get("weights_sha256"),
        )

    @property
    def weights(self) -> Path:
        """The stage's weights file."""
        return stage_folder(self.run, self.config, self.stage.name) / "weights.safetensors"

    @property
    def has_saliency(self) -> bool:
        """Whether the stage's task gives a gaze density."""
        return self.stage.task in SALIENCY_TASKS

    @property
    def has_diagnosis(self) -> bool:
        """Whether the stage's task gives findings."""
        return self.stage.task in DIAGNOSIS_TASKS and bool(self.classes)

    @property
    def has_detection(self) -> bool:
        """Whether the stage's task gives boxes."""
        return self.stage.task in DETECTION_TASKS

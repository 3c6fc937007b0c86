"""What can be wrong with the anatomy of a stage, found before training starts."""

from collections.abc import Sequence

import numpy as np

from eye_gaze_data.anatomy import annotated_rows
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, nearest

from .anatomy_source import cohort_anatomy
from .config import RunConfig, StageConfig


def check_anatomy(config: RunConfig, stage: StageConfig, earlier: Sequence[str]) -> None:
    """Check a stage's ``anatomy`` and ``teacher`` against the config alone.

    Args:
        config: of the run.
        stage: of it.
        earlier: names of the stages before it.

    Raises:
        ConfigError: naming the stage and the key.
    """
    where, anatomy = f"stage '{stage.name}'", stage.anatomy
    if stage.task == "segment":
        _check_segment(stage, where)
    if anatomy is None:
        return
    if anatomy.annotated is not None and anatomy.source != "cohort":
        raise ConfigError(
            f"{where}: anatomy.annotated goes with source 'cohort', not '{anatomy.source}'"
        )
    if (anatomy.stage is not None) != (anatomy.source == "stage"):
        raise ConfigError(
            f"{where}: expected anatomy.stage with source 'stage' and only there, found source "
            f"'{anatomy.source}' with stage {anatomy.stage!r}"
        )
    if anatomy.stage is not None:
        _check_source(config, stage, anatomy.stage, earlier)


def _check_segment(stage: StageConfig, where: str) -> None:
    if stage.anatomy is None or stage.anatomy.source != "cohort":
        raise ConfigError(
            f"{where}: task 'segment' learns from the cohort's masks; state anatomy: {{source: "
            "cohort, organs: [...]}"
        )
    if not stage.losses.get("dice_bce") or not stage.losses["dice_bce"].weight:
        raise ConfigError(
            f"{where}: task 'segment' needs the loss 'dice_bce' with a weight above 0; without it "
            "nothing ties the planes to organs"
        )
    views = 2 if "teacher_consistency" in stage.losses else 1
    if len(stage.data.training_views()) != views:
        raise ConfigError(
            f"{where}: expected data.views of {views}, found {len(stage.data.training_views())}; "
            "loss 'teacher_consistency' compares a weak view, the first, with a strong one, and "
            "without it one view is trained on"
        )
    if stage.data.fit not in {"pad", "stretch"}:
        raise ConfigError(
            f"{where}: a segmenter sees the whole film; set data.fit to pad or stretch, found "
            f"'{stage.data.fit}'"
        )
    if stage.teacher.annotated_share is not None and stage.data.weights is not None:
        raise ConfigError(
            f"{where}: teacher.annotated_share and the weights of data.cohorts are two mixes of an "
            "epoch; choose one"
        )


def _check_source(config: RunConfig, stage: StageConfig, name: str, earlier: Sequence[str]) -> None:
    where = f"stage '{stage.name}'"
    if name not in earlier:
        later = name in [one.name for one in config.stages]
        fault = "which comes no earlier" if later else "which does not exist"
        raise ConfigError(
            f"{where} takes organ masks from stage '{name}', {fault}; {nearest(name, earlier)}"
        )
    source = config.stage(name)
    if source.task != "segment":
        raise ConfigError(
            f"{where} takes organ masks from stage '{name}', whose task is '{source.task}'; masks "
            "come from a stage of task 'segment'"
        )
    known = getattr(config.models[source.model], "organs", ())
    for organ in stage.anatomy.organs if stage.anatomy else ():
        if organ not in known:
            raise ConfigError(
                f"{where}: stage '{name}' does not segment organ '{organ}'; {nearest(organ, known)}"
            )


def check_annotated(config: RunConfig, stage: StageConfig, cohort: Cohort) -> None:
    """Read every mask that a segment stage is going to use.

    Raises:
        ConfigError: if no film of the training or of the validation split has a mask.
        DataError: naming the film whose mask is of another size, or not in [0, 1].
    """
    if stage.anatomy is None or (stage.task != "segment" and stage.anatomy.annotated is None):
        return
    source = cohort_anatomy(config, stage, stage.anatomy, cohort)
    for split in (stage.data.train, stage.data.valid):
        rows = np.concatenate([cohort.rows_of(split, [name]) for name in stage.data.cohorts])
        if not len(annotated_rows(source, cohort, rows)):
            raise ConfigError(
                f"stage '{stage.name}': no film of split '{split}' has a mask of "
                f"{', '.join(stage.anatomy.organs)}"
            )

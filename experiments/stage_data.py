"""The data of a stage: its classes, its samples, and which rows an epoch draws."""

import numpy as np
import numpy.typing as npt

from eye_gaze_data.anatomy import AnatomySource, annotated_rows
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.datamodule import StageData as StageDataModule
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import ConfigError, nearest
from eye_gaze_data.sampler import Rows
from eye_gaze_data.unrendered import UnrenderedDataset
from saliency.config import GAZE_TASKS

from .config import RunConfig, StageConfig
from .execution import execution_here


def stage_classes(stage: StageConfig, cohort: Cohort) -> tuple[tuple[str, ...], bool]:
    """The label columns of a stage, and whether its logits are those of exclusive classes.

    Raises:
        ConfigError: if a class does not exist, or if cohorts with exclusive and with multiple
            labels meet in one stage.
    """
    classes = stage.classes or cohort.pathologies
    for name in classes:
        if name not in cohort.pathologies:
            hint = nearest(name, cohort.pathologies)
            raise ConfigError(f"stage '{stage.name}': class '{name}' does not exist; {hint}")
    if not classes:
        return (), False
    rows = cohort.table[cohort.table["cohort"].isin(list(stage.data.cohorts))]
    labelled = rows[rows[list(classes)].notna().any(axis=1)]
    kinds = set(labelled["exclusive"].astype(bool))
    if len(kinds) > 1:
        raise ConfigError(
            f"stage '{stage.name}': cohorts with exclusive and with multiple labels cannot meet in "
            "one stage; give each a stage of its own with its own 'classes'"
        )
    # A loss of single findings on exclusive classes means a sigmoid each, as the data's authors do.
    single = {"bce", "weighted_bce", "asymmetric_shift_focal"} & stage.losses.keys()
    return tuple(classes), kinds == {True} and not single


def stage_dataset(
    config: RunConfig,
    stage: StageConfig,
    cohort: Cohort,
    anatomy: AnatomySource | None = None,
    *,
    augment: bool = False,
    films: bool = True,
) -> GazeDataset:
    """The samples of a stage: of one fixed view or as trained on, with films or without."""
    data = stage.data
    kind = GazeDataset if films else UnrenderedDataset
    return kind(
        cohort,
        data.image_size,
        config.seed,
        fit=data.fit,
        stride=data.stride,
        gaze=data.gaze,
        classes=stage_classes(stage, cohort)[0],
        anatomy=anatomy,
        views=data.training_views() if augment else (None,),
        maps=stage.task in GAZE_TASKS,
        films=cohort.fitted,
    )


def split_rows(stage: StageConfig, cohort: Cohort) -> dict[str, dict[str, Rows]]:
    """The rows of each cohort of a stage, for its training and for its validation.

    Raises:
        ConfigError: if a cohort has no image in one of the two splits.
    """
    splits: tuple[str, ...] = (stage.data.train, stage.data.valid)
    rows = {s: {name: cohort.rows_of(s, [name]) for name in stage.data.cohorts} for s in splits}
    for split, parts in rows.items():
        for name, part in parts.items():
            if not len(part):
                raise ConfigError(
                    f"stage '{stage.name}': cohort '{name}' has no image in split '{split}', and a "
                    "stage needs both train and valid; change the splits of the cohort"
                )
    return rows


def build_data(
    config: RunConfig,
    stage: StageConfig,
    cohort: Cohort,
    anatomy: AnatomySource | None = None,
    *,
    films: bool = True,
) -> StageDataModule:
    """The loaders of a stage.

    Args:
        config: of the run.
        stage: of it.
        cohort: of the run.
        anatomy: where the stage's organ masks come from.
        films: false for a stage that reads only what was computed once.

    Raises:
        ConfigError: if a cohort has no image in the training or the validation split.
    """
    data = stage.data
    train = stage_dataset(config, stage, cohort, anatomy, augment=True, films=films)
    # A contrast of views has a validation loss only over views, too: those of one fixed draw.
    paired = stage.task == "contrast" and len(data.training_views()) > 1
    valid = stage_dataset(config, stage, cohort, anatomy, augment=paired, films=films)
    rows = split_rows(stage, cohort)
    cohort.fitted.forget_all_but(
        int(row) for parts in rows.values() for part in parts.values() for row in part
    )
    mix, weights = rows[data.train], data.weights
    if data.supervision is not None:
        mix, weights = supervised_rows(stage, cohort), dict(data.supervision.items())
    elif stage.teacher.annotated_share is not None and anatomy is not None:
        mix, weights = _by_annotation(anatomy, cohort, mix, stage.teacher.annotated_share)
    return StageDataModule(
        train,
        valid,
        mix,
        rows[data.valid],
        weights=weights,
        batch_size=stage.batch_size,
        workers=execution_here(config.trainer).workers,
    )


def _by_annotation(
    anatomy: AnatomySource, cohort: Cohort, parts: dict[str, Rows], share: float
) -> tuple[dict[str, Rows], dict[str, float] | None]:
    """A mix of films with and without a mask."""
    rows = np.concatenate(list(parts.values()))
    known = annotated_rows(anatomy, cohort, rows)
    rest = np.setdiff1d(rows, known)
    if not len(rest):
        return {"annotated": known}, None
    return {"annotated": known, "rest": rest}, {"annotated": share, "rest": 1 - share}


def supervised_rows(stage: StageConfig, cohort: Cohort) -> dict[str, npt.NDArray[np.int64]]:
    """The training rows of each kind of supervision with a share above 0, in the order declared.

    Raises:
        ConfigError: naming a kind of which there is no row.
    """
    rows = np.concatenate([cohort.rows_of("train", [name]) for name in stage.data.cohorts])
    columns = [cohort.pathologies.index(name) for name in stage_classes(stage, cohort)[0]]
    labelled = (~np.isnan(cohort.labels[rows][:, columns])).any(1)
    gaze = cohort.has_gaze[rows]
    kinds = {"both": gaze & labelled, "gaze": gaze & ~labelled, "labels": ~gaze & labelled}
    found: dict[str, npt.NDArray[np.int64]] = {}
    for kind, share in (stage.data.supervision or {}).items():
        if share and not kinds[kind].any():
            counts = ", ".join(f"{int(known.sum())} {name}" for name, known in kinds.items())
            raise ConfigError(
                f"stage '{stage.name}': data.supervision wants a share of {share:g} of '{kind}', "
                f"and no training image knows that; there are {counts}"
            )
        if share:
            found[kind] = rows[kinds[kind]]
    return found

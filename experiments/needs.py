"""What models, attention modules and losses need of the data, and whether it is there."""

import numpy as np

from eye_gaze_data.anatomy import CohortAnatomy
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, DataError
from saliency.attention import requirements
from saliency.config import AttentionConfig

from .config import ModelConfig, RunConfig, StageConfig
from .stage_data import stage_classes


def check_attention(stage: StageConfig, model: ModelConfig, cohort: Cohort) -> None:
    """Check the attention modules of a stage's model against the stage and its cohort.

    Raises:
        ConfigError: naming the stage, the module, and what it lacks.
    """
    classes = len(stage_classes(stage, cohort)[0])
    for entry in getattr(model, "attention", ()):
        where = f"stage '{stage.name}': attention '{entry.use}' at '{entry.at}'"
        needs = requirements([entry])[entry.use]
        if "paired_view" in needs and len(stage.data.training_views()) < 2:
            raise ConfigError(f"{where} needs data.views of at least 2")
        if "class_maps" in needs:
            raise ConfigError(
                f"{where} needs dense class maps, which a detector gives and a "
                f"'{model.kind}' does not; 'image_level_attention' does without"
            )
        if "labels" in needs and entry.options.get("classes") != classes:
            raise ConfigError(
                f"{where}: the stage has {classes} classes, its option 'classes' says "
                f"{entry.options.get('classes')}"
            )
        if "anatomy" in needs and stage.anatomy:
            _check_organs(where, entry, len(stage.anatomy.organs))


def check_boxes(stage: StageConfig, cohort: Cohort) -> None:
    """Check that there are boxes to learn from and films to choose the best epoch on.

    Raises:
        ConfigError: naming the stage and what the cohort lacks.
    """
    where = f"stage '{stage.name}'"
    if cohort.boxes is None:
        raise ConfigError(f"{where}: its model needs boxes, the cohort has none")
    data = stage.data
    for split in (data.train, data.valid):
        rows = np.concatenate([cohort.rows_of(split, [name]) for name in data.cohorts])
        if not cohort.boxes.known[rows].any():
            raise ConfigError(
                f"{where}: its model learns from films whose list of boxes is complete, and no "
                f"film of split '{split}' has one; 'complete' of a csv cohort's boxes, or "
                "'box_negatives' of nih_chestxray14, can say so"
            )
        if not sum(box_counts(stage, cohort, split).values()):
            raise ConfigError(
                f"{where}: no film of split '{split}' with a complete list has a box of "
                f"{', '.join(stage_classes(stage, cohort)[0])}"
            )


def box_counts(stage: StageConfig, cohort: Cohort, split: str) -> dict[str, int]:
    """Boxes of each class of a stage on the films of a split whose list is complete."""
    classes, counts = stage_classes(stage, cohort)[0], dict[str, int]()
    if cohort.boxes is None:
        return counts
    rows = np.concatenate([cohort.rows_of(split, [name]) for name in stage.data.cohorts])
    frame = cohort.boxes.frame()
    labels = frame["label"][frame["row"].isin(rows[cohort.boxes.known[rows]])]
    return {name: int((labels == cohort.pathologies.index(name)).sum()) for name in classes}


def without_boxes(config: RunConfig, cohort: Cohort) -> list[str]:
    """One line for each detecting stage with classes that no training film has a box of."""
    lines = []
    for stage in config.stages:
        if stage.task == "detect":
            counts = box_counts(stage, cohort, stage.data.train)
            absent = [name for name, count in counts.items() if not count]
            if absent:
                lines.append(
                    f"stage {stage.name}: no training film with a complete list has a box of "
                    f"{', '.join(absent)}; they cannot be detected"
                )
    return lines


def check_masks(where: str, stage: StageConfig, cohort: Cohort) -> None:
    """Read the masks of the first training film of each of a stage's cohorts.

    Raises:
        ConfigError: if they are not of the film's size, or out of range.
    """
    for name in stage.data.cohorts:
        for row in cohort.rows_of("train", [name])[:1]:
            try:
                CohortAnatomy(cohort, cohort.organs)(int(row), cohort.film_size(int(row)))
            except DataError as error:
                raise ConfigError(f"{where}: {error}") from error


def _check_organs(where: str, entry: AttentionConfig, organs: int) -> None:
    stated = entry.options.get("organs", 1)
    if stated != organs:
        raise ConfigError(
            f"{where}: 'anatomy' gives {organs} organ(s), its option 'organs' says {stated}"
        )


def needs_met(config: RunConfig, cohort: Cohort) -> list[str]:
    """One line for each thing that asks for more than films, with where it comes from.

    Args:
        config: checked against the cohort: what is listed is there.
        cohort: of the run.
    """
    lines = []
    for stage in config.stages:
        model = config.models[stage.model]
        wanted = {f"model '{model.kind}'": frozenset(getattr(model, "requires", ()))}
        for entry in getattr(model, "attention", ()):
            wanted[f"attention '{entry.use}' at '{entry.at}'"] = requirements([entry])[entry.use]
        lines += [
            f"stage {stage.name}: {what} needs {_source(need, stage, cohort)}"
            for what, needs in wanted.items()
            for need in sorted(needs)
        ]
        if "attention_consistency" in stage.losses:
            views = len(stage.data.training_views())
            lines.append(
                f"stage {stage.name}: loss 'attention_consistency' needs pairs of views: "
                f"{views} views an image"
            )
    return lines


def without_positives(config: RunConfig, cohort: Cohort) -> list[str]:
    """One line for each stage with classes of which no training image is positive."""
    lines = []
    for stage in config.stages:
        classes = () if stage.task in {"saliency", "segment"} else stage_classes(stage, cohort)[0]
        labels = _training_labels(stage, cohort, classes)
        absent = [c for c, column in zip(classes, labels.T, strict=True) if not (column == 1).any()]
        if absent:
            lines.append(
                f"stage {stage.name}: no training image is positive for {', '.join(absent)}; "
                "nothing can be learned of it"
            )
    return lines


def _source(need: str, stage: StageConfig, cohort: Cohort) -> str:
    if need == "anatomy" and stage.anatomy:
        organs = ", ".join(stage.anatomy.organs)
        return f"organ masks ({organs}): from source '{stage.anatomy.source}'"
    if need == "labels":
        labels = _training_labels(stage, cohort, stage_classes(stage, cohort)[0])
        stated = int((~np.isnan(labels)).any(1).sum())
        return f"labels: {stated} of {len(labels)} training images state some"
    if need == "boxes":
        counts = box_counts(stage, cohort, stage.data.train)
        drawn = ", ".join(f"{name} {count}" for name, count in counts.items())
        return f"boxes: on training films with a complete list {drawn}"
    return "several maps at once: the site has them"


def _training_labels(
    stage: StageConfig, cohort: Cohort, classes: tuple[str, ...]
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    rows = np.concatenate([cohort.rows_of("train", [name]) for name in stage.data.cohorts])
    columns = [cohort.pathologies.index(name) for name in classes]
    found: np.ndarray[tuple[int, int], np.dtype[np.float32]] = cohort.labels[rows][:, columns]
    return found

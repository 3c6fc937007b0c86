"""What a contrast stage may ask for, and whether its data can give it: refused before training."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.config import AugmentConfig
from eye_gaze_data.errors import ConfigError, nearest
from pretrain.config import OPTIONS, POSITIVES
from pretrain.positives import label_pairs
from pretrain.watch import WATCHED

from .config import ModelConfig, StageConfig
from .stage_data import stage_classes

# Losses of the first view with the second.
TWO_VIEWS = frozenset(name for name, kinds in POSITIVES.items() if kinds == ("augmentation",))
Rows = npt.NDArray[np.int64]


def check_contrast(stage: StageConfig, model: ModelConfig) -> None:
    """Check methods, options, positives and views of a contrast stage.

    Raises:
        ConfigError: naming the stage and the key.
    """
    where, contrast = f"stage '{stage.name}'", stage.contrast
    known = getattr(model, "encoders", ())
    for encoder in contrast.encoders:
        if encoder not in known:
            raise ConfigError(
                f"{where}: contrast.encoder '{encoder}' does not exist; {nearest(encoder, known)}"
            )
    _check_looks(stage, where)
    for loss, spec in stage.losses.items():
        _check_options(where, loss, spec.options)
        wanted = contrast.positives_of(loss)
        if wanted not in POSITIVES[loss]:
            raise ConfigError(
                f"{where}: loss '{loss}' compares the two views of a film; contrast.positives "
                f"'{wanted}' goes with {', '.join(n for n, k in POSITIVES.items() if wanted in k)}"
            )
        _check_views(stage, where, loss)
    if stage.legacy.unpooled_triplet:
        options = stage.losses.get("triplet")
        plain = set(stage.losses) == {"triplet"} and contrast.encoder != "both"
        plain = plain and contrast.positives in (None, "label")
        if not plain or options is None or options.options.keys() - {"margin"}:
            raise ConfigError(
                f"{where}: legacy.unpooled_triplet is the loss 'triplet' of one encoder with "
                "positives by label; it has no option but 'margin'"
            )
    if stage.batch_size < 2:
        raise ConfigError(f"{where}: a contrast needs a batch_size of at least 2")


def check_trained(stage: StageConfig, names: Sequence[str]) -> None:
    """Check that every encoder that is embedded is trained.

    Args:
        stage: of any task.
        names: of the parameters that train.

    Raises:
        ConfigError: naming the encoder.
    """
    for encoder in stage.contrast.encoders if stage.task == "contrast" else ():
        if not any(name.startswith(f"{encoder}.") for name in names):
            raise ConfigError(
                f"stage '{stage.name}': contrast.encoder '{encoder}' is not trained, train names "
                f"{', '.join(stage.train)}; add '{encoder}.*', or embed another encoder"
            )


def _check_looks(stage: StageConfig, where: str) -> None:
    """An epoch without a look at the embeddings has no value that could be better."""
    every = stage.contrast.watch.every
    if stage.monitor.metric.removeprefix("valid/") not in WATCHED or every == 1:
        return
    waits = {"stop_after": stage.stop_after}
    if stage.schedule.name == "plateau":
        waits["schedule.patience"] = stage.schedule.patience
    for key, epochs in waits.items():
        if epochs is not None and epochs < every:
            raise ConfigError(
                f"{where}: {stage.monitor.metric} is looked at every {every} epochs "
                f"(contrast.watch.every), {key} is {epochs}; let it be at least {every}"
            )


def _check_options(where: str, loss: str, options: dict[str, object]) -> None:
    try:
        OPTIONS[loss].model_validate(options)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            known = OPTIONS[loss].model_fields
            raise ConfigError(
                f"{where}: option of loss '{loss}' '{name}' does not exist; {nearest(name, known)}"
            ) from error
        raise ConfigError(
            f"{where}: option '{name}' of loss '{loss}': {fault['msg']}, found {fault['input']!r}"
        ) from error


def _check_views(stage: StageConfig, where: str, loss: str) -> None:
    views = stage.data.training_views()
    if loss in TWO_VIEWS and len(views) != 2:
        raise ConfigError(
            f"{where}: loss '{loss}' compares two views of each film; set data.views: 2 and "
            f"data.augment, found {len(views)} view(s)"
        )
    if stage.contrast.positives_of(loss) != "augmentation":
        return
    if len(views) < 2:
        raise ConfigError(
            f"{where}: positives of loss '{loss}' are the views of a film; set data.views to at "
            f"least 2, found {len(views)}"
        )
    if all(view is None or view == AugmentConfig() for view in views):
        raise ConfigError(
            f"{where}: without augmentation the views of a film are one picture; set data.augment, "
            "e.g. 'radiograph'"
        )


def check_positives(stage: StageConfig, cohort: Cohort, rows: Rows) -> None:
    """Check that the training films can give positives and negatives.

    Args:
        stage: of task ``contrast``.
        cohort: of the run.
        rows: the training rows.

    Raises:
        ConfigError: naming the stage and what the films lack.
    """
    where = f"stage '{stage.name}'"
    if len(rows) < 2:
        raise ConfigError(f"{where}: a contrast needs at least 2 training films, found {len(rows)}")
    checks = {"label": _check_labels, "patient": _check_patients, "gaze": _check_gaze}
    for kind in dict.fromkeys(stage.contrast.positives_of(loss) for loss in stage.losses):
        if kind in checks:
            checks[kind](where, stage, cohort, rows)
    if stage.monitor.metric in {"valid/knn", "valid/probe"} and not _scored(stage, cohort, rows):
        raise ConfigError(
            f"{where}: {stage.monitor.metric} needs films with and without a finding, in training "
            "and in validation; choose 'classes' that have both, or another monitor"
        )


def _check_labels(where: str, stage: StageConfig, cohort: Cohort, rows: Rows) -> None:
    classes = stage_classes(stage, cohort)[0]
    labels = _labels(stage, cohort, rows)
    if not classes or np.isnan(labels).any(1).all():
        raise ConfigError(
            f"{where}: no training image states every label, so there are no pairs to contrast; "
            "choose 'classes' that are stated, or contrast.positives: augmentation"
        )
    stated = labels[~np.isnan(labels).any(1)]
    kinds, counts = np.unique(stated, axis=0, return_counts=True)
    alike, unlike = label_pairs(torch.from_numpy(kinds).float(), jaccard=stage.contrast.jaccard)
    views = len(stage.data.training_views())
    if not (alike.any() or (counts > 1).any() or views > 1):
        raise ConfigError(
            f"{where}: no two training films have alike findings, so there are no positives; "
            "lower contrast.jaccard, or set contrast.positives: augmentation"
        )
    if not unlike.any():
        raise ConfigError(
            f"{where}: no two training films have unlike findings ({', '.join(classes)}), so there "
            "are no negatives: one class only; choose other 'classes', or contrast.positives: "
            "augmentation"
        )


def _check_patients(where: str, stage: StageConfig, cohort: Cohort, rows: Rows) -> None:
    films = cohort.table["patient_id"].iloc[rows].value_counts().to_numpy()
    if films.max() < 2 or len(films) < 2:
        raise ConfigError(
            f"{where}: contrast.positives 'patient' needs a patient with two training films and a "
            f"second patient; found {len(films)} patient(s) with at most {films.max()} film(s)"
        )
    # A random batch of n of the N films holds each pair with probability n (n - 1) / N (N - 1).
    size = min(stage.batch_size, len(rows))
    share = size * (size - 1) / (len(rows) * (len(rows) - 1))
    expected = (films * (films - 1)).sum() / 2 * share
    if expected < 1 and len(stage.data.training_views()) < 2:
        raise ConfigError(
            f"{where}: a batch of {stage.batch_size} films holds {expected:.2g} pairs of films of "
            "one patient on average: too few to learn from; raise batch_size, or set data.views: 2"
        )


def _check_gaze(where: str, stage: StageConfig, cohort: Cohort, rows: Rows) -> None:
    del stage
    known = int(cohort.has_gaze[rows].sum())
    if known < 2:
        raise ConfigError(
            f"{where}: contrast.positives 'gaze' compares films that were looked at; "
            f"{known} training image(s) of its cohorts have gaze"
        )


def _scored(stage: StageConfig, cohort: Cohort, rows: Rows) -> bool:
    """Whether some finding has both kinds in training and in validation."""
    valid = np.concatenate([cohort.rows_of("valid", [name]) for name in stage.data.cohorts])
    both = [
        (part == 1).any(0) & (part == 0).any(0)
        for part in (_labels(stage, cohort, rows), _labels(stage, cohort, valid))
    ]
    return bool((both[0] & both[1]).any())


def _labels(stage: StageConfig, cohort: Cohort, rows: Rows) -> npt.NDArray[np.float32]:
    columns = [cohort.pathologies.index(name) for name in stage_classes(stage, cohort)[0]]
    found: npt.NDArray[np.float32] = cohort.labels[rows][:, columns]
    return found

"""From a config to the things it names: the merged cohort, networks, task modules, stage data."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from diagnosis.config import DualEncoderConfig, MTUNetConfig, SmpUNetConfig
from diagnosis.dual_encoder import DualEncoderUNet
from diagnosis.losses import balanced_weights, positive_ratios
from diagnosis.module import CooperativeModule
from diagnosis.mt_unet import MTUNet
from diagnosis.published.anatomy_xnet import AnatomyXNet
from diagnosis.published.config import AnatomyXNetConfig, MSAIMNetConfig, MSANetConfig
from diagnosis.published.msaimnet import MSAIMNet
from diagnosis.published.msanet import MSANet
from diagnosis.smp_unet import SmpUNet
from eye_gaze_data.anatomy import AnatomySource, CohortAnatomy, OnesAnatomy
from eye_gaze_data.cohort import Cohort, merge, with_splits
from eye_gaze_data.datamodule import StageData as StageDataModule
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import ConfigError, DataError, nearest
from eye_gaze_data.open_cohort import CohortConfig, open_cohort
from eye_gaze_data.splits import check_splits, legacy_split
from eye_gaze_data.unrendered import UnrenderedDataset
from pretrain.module import ContrastModule
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network

from .config import AnatomyConfig, ModelConfig, RunConfig, StageConfig

NETWORKS: dict[type[BaseModel], Callable[..., Network]] = {
    DualEncoderConfig: DualEncoderUNet,
    MTUNetConfig: MTUNet,
    SmpUNetConfig: SmpUNet,
    AnatomyXNetConfig: AnatomyXNet,
    MSANetConfig: MSANet,
    MSAIMNetConfig: MSAIMNet,
}


def build_cohort(config: CohortConfig, name: str) -> Cohort:
    """One cohort of a config."""
    return open_cohort(config, name)


def build_cohorts(config: RunConfig) -> Cohort:
    """All cohorts of a run as one, with its splits checked by patient.

    Raises:
        DataError: if a patient stands in two splits, or a file or a row is not as declared.
    """
    parts = [build_cohort(cohort, name) for name, cohort in config.cohorts.items()]
    parts = [_split_by_image(p) if p.name in config.legacy_split else p for p in parts]
    for part in parts:
        check_splits(part)
    merged = merge(parts, config.classes)
    check_splits(merged)
    return merged


def _split_by_image(cohort: Cohort) -> Cohort:
    """The released code's split, with a note of the patients that it tears."""
    if not cohort.exclusive:
        raise ConfigError(
            f"legacy_split counts images of exclusive classes; cohort '{cohort.name}' has several "
            "labels an image"
        )
    known = (cohort.labels == 1).any(1)
    classes = np.where(known, (cohort.labels == 1).argmax(1), -1)
    split = with_splits(cohort, legacy_split(classes.tolist()))
    used = split.table[split.table["split"] != ""].groupby("patient_id")["split"].nunique()
    note = f"split by image: {int((used > 1).sum())} patient(s) stand in more than one split"
    return replace(
        split, table=split.table.assign(split_by_image=True), notes=(*cohort.notes, note)
    )


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


def build_network(config: ModelConfig, classes: int, seed: int) -> Network:
    """A network with fresh weights, which depend on the seed alone.

    Raises:
        ConfigError: if the system is declared but not built yet, or its options do not fit.
    """
    build = NETWORKS.get(type(config))
    if build is None:
        built = ", ".join(sorted(str(kind.model_fields["kind"].default) for kind in NETWORKS))
        raise ConfigError(
            f"the model '{config.kind}' can be declared and checked, but its network is not built "
            f"yet; so far {built} train"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {name: getattr(config, name) for name in type(config).model_fields}
        del options["kind"]
        network: Network = build(max(1, classes), **options)
        return network


def build_module(config: RunConfig, stage: StageConfig, cohort: Cohort) -> TaskModule:
    """The task module of a stage with a fresh network."""
    classes, exclusive = stage_classes(stage, cohort)
    network = build_network(config.models[stage.model], len(classes), config.seed)
    settings = TaskSettings(
        stage=stage.name,
        task=stage.task,
        losses={name: loss.weight for name, loss in stage.losses.items()},
        weighting=None if stage.weighting == "fixed" else stage.weighting,
        class_weights=_class_weights(stage, cohort, classes),
        options=_loss_options(stage, cohort, classes),
        legacy=stage.legacy,
        optimiser=stage.optimiser,
        schedule=stage.schedule,
        seed=config.seed,
        organs=stage.anatomy.organs if stage.anatomy else (),
        exclusive=exclusive,
    )
    if stage.task == "contrast":
        return ContrastModule(network, settings, stage.contrast)
    return CooperativeModule(network, settings)


def _class_weights(
    stage: StageConfig, cohort: Cohort, classes: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """The weights that losses of the stage give classes, by loss."""
    found = {}
    for name, loss in stage.losses.items():
        given = loss.options.get("class_weights")
        if given == "balanced":
            weights = balanced_weights(_training_labels(stage, cohort, classes))
            if not weights.isfinite().all():
                absent = [c for c, w in zip(classes, weights, strict=True) if not w.isfinite()]
                raise ConfigError(
                    f"stage '{stage.name}': class_weights 'balanced' needs a training image of "
                    f"every class; there is none of {', '.join(absent)}"
                )
            found[name] = weights
        elif given is not None:
            if len(given) != len(classes):
                raise ConfigError(
                    f"stage '{stage.name}': expected {len(classes)} class_weights for loss "
                    f"'{name}' ({', '.join(classes)}), found {len(given)}"
                )
            found[name] = torch.tensor(given, dtype=torch.float32)
    return found


def _loss_options(
    stage: StageConfig, cohort: Cohort, classes: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """The options of each loss but the class weights, those that the data decide filled in.

    Raises:
        ConfigError: if a list has another length than the classes, or a class has no positive.
    """
    found = {
        name: {key: value for key, value in loss.options.items() if key != "class_weights"}
        for name, loss in stage.losses.items()
    }
    weighted = found.get("weighted_bce")
    if weighted is not None and "positive_ratio" not in weighted:
        weighted["positive_ratio"] = _training_ratio(stage, cohort, classes)
    for name in {"weighted_bce", "asymmetric_shift_focal"} & found.keys():
        for key, value in found[name].items():
            if isinstance(value, list | tuple) and len(value) != len(classes):
                raise ConfigError(
                    f"stage '{stage.name}': expected one {key} of loss '{name}' for each of the "
                    f"{len(classes)} classes ({', '.join(classes)}), found {len(value)}"
                )
    return found


def _training_ratio(stage: StageConfig, cohort: Cohort, classes: tuple[str, ...]) -> torch.Tensor:
    ratio = positive_ratios(_training_labels(stage, cohort, classes))
    absent = [name for name, r in zip(classes, ratio, strict=True) if not r > 0]
    if absent:
        raise ConfigError(
            f"stage '{stage.name}': loss 'weighted_bce' weighs by the share of positives, and no "
            f"training image is positive for {', '.join(absent)}; choose 'classes' without, or "
            "state its option 'positive_ratio'"
        )
    return ratio


def _training_labels(stage: StageConfig, cohort: Cohort, classes: tuple[str, ...]) -> torch.Tensor:
    """1, 0 or NaN, (rows, classes)."""
    rows = np.concatenate([cohort.rows_of("train", [part]) for part in stage.data.cohorts])
    columns = [cohort.pathologies.index(label) for label in classes]
    return torch.from_numpy(cohort.labels[rows][:, columns]).float()


def stage_dataset(
    config: RunConfig,
    stage: StageConfig,
    cohort: Cohort,
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
        anatomy=build_anatomy(stage.anatomy, cohort),
        views=data.training_views() if augment else (None,),
    )


def build_anatomy(config: AnatomyConfig | None, cohort: Cohort) -> AnatomySource | None:
    """Where a stage's organ masks come from; None for a stage without."""
    if config is None:
        return None
    if config.source == "ones":
        return OnesAnatomy(config.organs)
    return CohortAnatomy(cohort, config.organs)


def build_data(
    config: RunConfig, stage: StageConfig, cohort: Cohort, *, films: bool = True
) -> StageDataModule:
    """The loaders of a stage.

    Args:
        config: of the run.
        stage: of it.
        cohort: of the run.
        films: false for a stage that reads only what was computed once.

    Raises:
        DataError: if a cohort has no image in the training or the validation split.
    """
    data = stage.data
    train = stage_dataset(config, stage, cohort, augment=True, films=films)
    valid = stage_dataset(config, stage, cohort, films=films)
    rows = {
        split: {name: cohort.rows_of(split, [name]) for name in data.cohorts}
        for split in (data.train, data.valid)
    }
    for split, parts in rows.items():
        for name, part in parts.items():
            if not len(part):
                raise DataError(f"stage '{stage.name}': cohort '{name}' has no image in '{split}'")
    return StageDataModule(
        train,
        valid,
        rows[data.train],
        rows[data.valid],
        weights=data.weights,
        batch_size=stage.batch_size,
        workers=config.trainer.workers,
    )

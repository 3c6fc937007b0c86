"""From a config to the things it names: the merged cohort, networks, task modules."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel

from diagnosis.anatomy.config import AnatomySegmenterConfig
from diagnosis.anatomy.module import SegmentationModule
from diagnosis.anatomy.segmenter import AnatomySegmenter
from diagnosis.config import DualEncoderConfig, MTUNetConfig, SmpUNetConfig
from diagnosis.detection_module import DetectionModule
from diagnosis.dual_encoder import DualEncoderUNet
from diagnosis.losses import balanced_weights, positive_ratios
from diagnosis.module import CooperativeModule
from diagnosis.mt_unet import MTUNet
from diagnosis.published.anatomy_xnet import AnatomyXNet
from diagnosis.published.config import (
    AnatomyXNetConfig,
    DualAttNetConfig,
    MSAIMNetConfig,
    MSANetConfig,
)
from diagnosis.published.dualattnet import DualAttNet
from diagnosis.published.msaimnet import MSAIMNet
from diagnosis.published.msanet import MSANet
from diagnosis.smp_unet import SmpUNet
from eye_gaze_data.cohort import Cohort, merge, with_splits
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.open_cohort import CohortConfig, open_cohort
from eye_gaze_data.splits import check_splits, legacy_split
from pretrain.gaze import film_gaze
from pretrain.module import ContrastModule
from saliency.cooperation import Cooperation, TaskPart
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network

from .config import ModelConfig, RunConfig, StageConfig
from .execution import execution_here
from .stage_data import stage_classes, stage_dataset

NETWORKS: dict[type[BaseModel], Callable[..., Network]] = {
    DualEncoderConfig: DualEncoderUNet,
    MTUNetConfig: MTUNet,
    SmpUNetConfig: SmpUNet,
    AnatomyXNetConfig: AnatomyXNet,
    MSANetConfig: MSANet,
    MSAIMNetConfig: MSAIMNet,
    DualAttNetConfig: DualAttNet,
    AnatomySegmenterConfig: AnatomySegmenter,
}


def build_cohort(config: CohortConfig, name: str) -> Cohort:
    """One cohort of a config."""
    return open_cohort(config, name)


def build_cohorts(config: RunConfig) -> Cohort:
    """All cohorts of a run as one, with its splits checked by patient.

    Raises:
        DataError: if a patient stands in two splits, or a file or a row is not as declared.
    """
    return join_cohorts(
        config, [build_cohort(cohort, name) for name, cohort in config.cohorts.items()]
    )


def join_cohorts(config: RunConfig, cohorts: Sequence[Cohort]) -> Cohort:
    """``build_cohorts`` of cohorts that were built already.

    Args:
        config: of the run.
        cohorts: all of its cohorts, in its order.
    """
    parts = [_split_by_image(p) if p.name in config.legacy_split else p for p in cohorts]
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


def shapes_of(config: ModelConfig, classes: int) -> Network:
    """A network of names and shapes alone: filling 60 million weights would take seconds."""
    fresh = config.model_copy(update={"pretrained": False})
    try:
        with torch.device("meta"):
            network = build_network(fresh, classes, seed=0)
    except (RuntimeError, NotImplementedError, ConfigError):
        # Some of smp's and timm's encoders compute their own settings by tensors.
        network = build_network(fresh, classes, seed=0)
    return network.to("meta")


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
        cooperation=stage_cooperation(stage),
        seed=config.seed,
        organs=stage.anatomy.organs if stage.anatomy else (),
        exclusive=exclusive,
        fused=execution_here(config.trainer).fused,
    )
    if stage.task == "contrast":
        return ContrastModule(network, settings, stage.contrast, _film_gaze(config, stage, cohort))
    if stage.task == "detect":
        return DetectionModule(network, settings)
    if stage.task == "segment":
        return SegmentationModule(network, settings, stage.teacher)
    return CooperativeModule(network, settings)


def stage_cooperation(stage: StageConfig) -> Cooperation:
    """Who moves when in a stage."""
    parts = {
        name: TaskPart(frozenset(task.losses), task.parameters, task.rate)
        for name, task in stage.tasks.items()
    }
    return Cooperation(parts, stage.unfreeze, stage.optimiser.rates)


def _film_gaze(
    config: RunConfig, stage: StageConfig, cohort: Cohort
) -> dict[int, torch.Tensor] | None:
    """What positives by gaze compare; None for a stage without such."""
    if "gaze" not in {stage.contrast.positives_of(loss) for loss in stage.losses}:
        return None
    names = list(stage.data.cohorts)
    rows = [cohort.rows_of(split, names) for split in (stage.data.train, stage.data.valid)]
    return film_gaze(stage_dataset(config, stage, cohort), np.concatenate(rows))


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

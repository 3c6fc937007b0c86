"""From a config to the things it names: the merged cohort, networks, task modules, stage data."""

import torch

from diagnosis.config import DualEncoderConfig
from diagnosis.dual_encoder import DualEncoderUNet
from diagnosis.module import CooperativeModule
from eye_gaze_data.cohort import Cohort, merge
from eye_gaze_data.csv_config import CsvConfig
from eye_gaze_data.datamodule import StageData as StageDataModule
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.phantom import phantom_cohort
from eye_gaze_data.splits import check_splits
from eye_gaze_data.tabular import csv_cohort
from pretrain.module import ContrastModule
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network

from .config import CohortConfig, ModelConfig, RunConfig, StageConfig


def build_cohort(config: CohortConfig, name: str) -> Cohort:
    """One cohort of a config."""
    if isinstance(config, CsvConfig):
        return csv_cohort(config, name)
    return phantom_cohort(config, name)


def build_cohorts(config: RunConfig) -> Cohort:
    """All cohorts of a run as one, with its splits checked by patient.

    Raises:
        DataError: if a patient stands in two splits, or a file or a row is not as declared.
    """
    parts = [build_cohort(cohort, name) for name, cohort in config.cohorts.items()]
    for part in parts:
        check_splits(part)
    merged = merge(parts, config.classes)
    check_splits(merged)
    return merged


def build_network(config: ModelConfig, classes: int, seed: int) -> Network:
    """A network with fresh weights, which depend on the seed alone.

    Raises:
        ConfigError: if the system is declared but not built yet, or its options do not fit.
    """
    if not isinstance(config, DualEncoderConfig):
        raise ConfigError(
            f"the model '{config.kind}' can be declared and checked, but its network is not built "
            "yet; so far 'dual_encoder' trains"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {name: getattr(config, name) for name in type(config).model_fields}
        del options["kind"]
        return DualEncoderUNet(max(1, classes), **options)


def build_module(config: RunConfig, stage: StageConfig, cohort: Cohort) -> TaskModule:
    """The task module of a stage with a fresh network."""
    network = build_network(config.models[stage.model], len(cohort.pathologies), config.seed)
    settings = TaskSettings(
        stage=stage.name,
        task=stage.task,
        losses={name: loss.weight for name, loss in stage.losses.items()},
        optimiser=stage.optimiser,
        schedule=stage.schedule,
        seed=config.seed,
        organs=stage.anatomy.organs if stage.anatomy else (),
        exclusive=cohort.exclusive,
    )
    if stage.task == "contrast":
        return ContrastModule(network, settings, stage.contrast)
    return CooperativeModule(network, settings)


def build_data(config: RunConfig, stage: StageConfig, cohort: Cohort) -> StageDataModule:
    """The loaders of a stage.

    Raises:
        DataError: if a cohort has no image in the training or the validation split.
    """
    data = stage.data
    train = GazeDataset(
        cohort,
        data.image_size,
        config.seed,
        fit=data.fit,
        gaze=data.gaze,
        augment=data.augment,
        views=data.views,
    )
    valid = GazeDataset(cohort, data.image_size, config.seed, fit=data.fit, gaze=data.gaze)
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

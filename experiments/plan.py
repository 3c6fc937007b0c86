"""What a run is going to do, without doing it."""

from pathlib import Path
from typing import Any

import numpy as np

from diagnosis.consistency import linear_head
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, DataError, GazedxError
from saliency.network import Network

from .build import build_cohorts, build_network, stage_classes
from .check import check_against_cohort, check_config, not_built
from .config import ModelConfig, RunConfig, StageConfig
from .estimate import estimate_lines
from .needs import needs_met, without_positives
from .record import read_stage, stage_folder
from .weights import freeze, hand_over


def plan(config: RunConfig, folder: Path) -> list[dict[str, Any]]:
    """One row a stage: images, trained and frozen parameters, where weights come from.

    Raises:
        ConfigError: if the run cannot work.
    """
    check_config(config)
    cohort = build_cohorts(config)
    check_against_cohort(config, cohort)
    return [_row(config, stage, cohort, folder) for stage in config.stages]


def check_everything(config: RunConfig) -> list[str]:
    """All checks that can be made here, as lines for the user.

    Raises:
        ConfigError: at the first thing that is wrong.
    """
    check_config(config)
    lines = [f"{config.name}: {len(config.stages)} stages, keys and order are right"]
    try:
        cohort = build_cohorts(config)
    except DataError as error:
        lines.append(f"data not checked: {error}")
        return [*lines, *(f"not there yet: {line}" for line in not_built(config))]
    check_against_cohort(config, cohort)
    lines.append(f"data: {len(cohort)} images, {len(cohort.pathologies)} classes")
    lines += needs_met(config, cohort) + without_positives(config, cohort)
    for stage in config.stages:
        row = _row(config, stage, cohort, Path("runs") / config.name)
        lines.append(
            f"stage {stage.name}: {row['images']} training images, {row['trained']} parameters "
            f"trained, {row['frozen']} frozen"
        )
    lines += estimate_lines(config, cohort, Path("runs") / config.name)
    lines += [
        f"model {name}: attention sites {', '.join(_untrained(model, 1).sites)}"
        for name, model in config.models.items()
        if model.built
    ]
    return [*lines, *(f"not there yet: {line}" for line in not_built(config))]


def check_networks(config: RunConfig, cohort: Cohort) -> None:
    """Build every network, try globs, image sizes and hand-overs: all that needs no training.

    Raises:
        ConfigError: naming the stage and what does not fit.
    """
    for stage in config.stages:
        if config.models[stage.model].built:
            _parameters(config, stage, cohort)


def _row(config: RunConfig, stage: StageConfig, cohort: Cohort, folder: Path) -> dict[str, Any]:
    rows = [cohort.rows_of("train", [name]) for name in stage.data.cohorts]
    record = read_stage(stage_folder(folder, config, stage.name)) or {}
    row: dict[str, Any] = {
        "stage": stage.name,
        "kind": stage.kind,
        "task": stage.task,
        "images": int(np.concatenate(rows).size),
        "trained": "-",
        "frozen": "-",
        "from": ", ".join(init.stage or str(init.file) for init in stage.init) or "scratch",
        "epochs": stage.epochs,
        "then": record.get("status", "to run"),
    }
    if config.models[stage.model].built:
        row |= _parameters(config, stage, cohort)
    return row


def _parameters(config: RunConfig, stage: StageConfig, cohort: Cohort) -> dict[str, Any]:
    """Counts, having tried the globs, the image size and the hand-over on networks without data."""
    network = _bare_network(config, stage, cohort)
    height, width = stage.data.image_size
    if (height % network.multiple or width % network.multiple) and not network.pad:
        raise ConfigError(
            f"stage '{stage.name}': image_size must be multiples of {network.multiple}, found "
            f"{height}x{width}; the next is {-(-height // network.multiple) * network.multiple}x"
            f"{-(-width // network.multiple) * network.multiple}, or set pad: true in the model"
        )
    if (consistency := stage.losses.get("attention_consistency")) is not None:
        linear_head(network, stage.task, consistency.options.get("maps", ["class"]))
    for init in stage.init:
        if init.stage is not None:
            source = config.stage(init.stage)
            if not config.models[source.model].built:
                continue
            state = _bare_network(config, source, cohort).state_dict()
            if source.task == "contrast":
                prefix = f"{source.contrast.encoder}."
                state = {name: v for name, v in state.items() if name.startswith(prefix)}
            try:
                hand_over(network, state, init.prefixes, f"init from '{init.stage}'")
            except GazedxError as error:
                raise ConfigError(f"stage '{stage.name}': {error}") from error
    trained, frozen = freeze(network, stage.train, stage.name)
    return {"trained": trained, "frozen": frozen}


def _bare_network(config: RunConfig, stage: StageConfig, cohort: Cohort) -> Network:
    return _untrained(config.models[stage.model], len(stage_classes(stage, cohort)[0]))


def _untrained(model: ModelConfig, classes: int) -> Network:
    """A network without pretrained weights: only names and shapes matter here."""
    return build_network(model.model_copy(update={"pretrained": False}), classes, seed=0)

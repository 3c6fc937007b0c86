"""What a run is going to do, without doing it."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diagnosis.consistency import check_maps, linear_head
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, DataError, GazedxError
from saliency.attention import AttentionContext
from saliency.frozen import freeze
from saliency.network import Network

from .build import build_cohorts, build_network, shapes_of, stage_cooperation
from .check import check_against_cohort, check_config, not_built
from .config import InitConfig, RunConfig, StageConfig
from .contrast_check import check_trained
from .estimate import estimate_lines
from .needs import needs_met, without_boxes, without_positives
from .record import read_stage, stage_folder
from .rounds import last_round, means_best_round
from .stage_data import stage_classes, supervised_rows
from .weights import check_classes, hand_over, read_weights


def plan(config: RunConfig, folder: Path) -> list[dict[str, Any]]:
    """One row a stage: what it sees, trains, leaves frozen, takes over, and in which turns.

    Raises:
        ConfigError: if the run cannot work.
    """
    check_config(config)
    cohort = build_cohorts(config)
    check_against_cohort(config, cohort)
    return [_row(config, stage, cohort, folder) for stage in config.stages]


def declared(config: RunConfig, folder: Path) -> list[dict[str, Any]]:
    """The plan as far as it can be told without the data: nothing is counted.

    Raises:
        ConfigError: if the run cannot work.
    """
    check_config(config)
    return [_row(config, stage, None, folder) for stage in config.stages]


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
    lines += without_boxes(config, cohort)
    for stage in config.stages:
        row = _row(config, stage, cohort, Path("runs") / config.name)
        lines.append(
            f"stage {stage.name}: {row['images']} training images, {row['trained']} parameters "
            f"trained, {row['frozen']} frozen"
        )
    lines += estimate_lines(config, cohort, Path("runs") / config.name)
    lines += [
        f"model {name}: attention sites {', '.join(shapes_of(model, 1).sites) or 'none'}"
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


def _row(
    config: RunConfig, stage: StageConfig, cohort: Cohort | None, folder: Path
) -> dict[str, Any]:
    record = read_stage(stage_folder(folder, config, stage.name)) or {}
    row: dict[str, Any] = {
        "stage": stage.name,
        "kind": stage.kind,
        "task": stage.task,
        "images": "-",
        "trained": "-",
        "frozen": "-",
        "from": ", ".join(init.stage or str(init.file) for init in stage.init) or "scratch",
        "epochs": stage.epochs,
        "then": record.get("status", "to run"),
        "trains": dict.fromkeys(stage.train, "-"),
        "handed_over": [],
        "losses": {name: loss.weight for name, loss in stage.losses.items()},
    }
    row |= stage.model_dump(
        mode="json",
        include={
            "weighting", "tasks", "unfreeze", "optimiser", "schedule", "batch_size", "monitor",
            "stop_after", "round",
        },
    )  # fmt: skip
    if stage.data.supervision is not None:
        row["supervision"] = {
            name: {"share": share, "images": "-"} for name, share in stage.data.supervision.items()
        }
    if stage.round is not None:
        row["round"]["of"] = last_round(config, stage.round.group)
    if cohort is None:
        return row
    row["images"] = len(np.concatenate([cohort.rows_of("train", [c]) for c in stage.data.cohorts]))
    for name, part in supervised_rows(stage, cohort).items():
        row["supervision"][name]["images"] = len(part)
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
    _check_padding(stage, network)
    _check_consistency(config, stage, len(stage_classes(stage, cohort)[0]))
    handed_over = [_handed_over(config, stage, init, network, cohort) for init in stage.init]
    trained, frozen = freeze(network, stage.train, stage.name)
    sizes = {name: p.numel() for name, p in network.named_parameters() if p.requires_grad}
    check_trained(stage, list(sizes))
    stage_cooperation(stage).check(list(sizes), stage.name)
    return {
        "trained": trained,
        "frozen": frozen,
        "trains": {
            glob: sum(size for name, size in sizes.items() if fnmatchcase(name, glob))
            for glob in stage.train
        },
        "handed_over": [report for report in handed_over if report],
    }


def _handed_over(
    config: RunConfig, stage: StageConfig, init: InitConfig, network: Network, cohort: Cohort
) -> dict[str, Any] | None:
    """Which tensors come from where; None from a model that is not built yet."""
    name = init.stage or str(init.file)
    try:
        if init.stage is None:
            state = read_weights(Path(name))
        else:
            source = config.stage(init.stage)
            if not config.models[source.model].built:
                return None
            state = _bare_network(config, source, cohort).state_dict()
            if source.task == "contrast":
                parts = tuple(f"{encoder}." for encoder in source.contrast.encoders)
                state = {part: v for part, v in state.items() if part.startswith(parts)}
        report = hand_over(network, state, init.prefixes, f"init from '{name}'")
        if init.file is not None:
            classes = stage_classes(stage, cohort)[0]
            check_classes(network, report.loaded, classes, init.file, f"init from '{name}'")
    except GazedxError as error:
        raise ConfigError(f"stage '{stage.name}': {error}") from error
    counts = {key: len(getattr(report, key)) for key in ("loaded", "fresh", "ignored")}
    best = init.stage is not None and means_best_round(config, stage, init.stage)
    return {"from": name, "best_round": best, "prefixes": init.prefixes, **counts}


def _check_padding(stage: StageConfig, network: Network) -> None:
    """Only the image is padded, so nothing else may have to lie on its grid."""
    height, width = stage.data.image_size
    if not (height % network.multiple or width % network.multiple):
        return
    beside = ["organ masks"] if stage.anatomy else []
    if set(_compared(stage)) - {"saliency"}:
        beside.append("the maps of loss 'attention_consistency'")
    if beside:
        raise ConfigError(
            f"stage '{stage.name}': image_size {height}x{width} is padded by 'pad: true', but "
            f"{' and '.join(beside)} are not; choose multiples of {network.multiple}"
        )


def _check_consistency(config: RunConfig, stage: StageConfig, classes: int) -> None:
    """Look for the maps to compare in what the network gives for an empty image."""
    maps = _compared(stage)
    if not maps:
        return
    model = config.models[stage.model].model_copy(update={"pretrained": False})
    network = build_network(model, classes, seed=0)
    linear_head(network, stage.task, maps)
    size, organs = stage.data.image_size, stage.anatomy.organs if stage.anatomy else ()
    anatomy = torch.ones(1, len(organs), *size) if organs else None
    context = AttentionContext(anatomy=anatomy, organs=organs)
    with torch.no_grad():
        outputs = network.eval()(torch.zeros(1, 1, *size), stage.task, context)
    try:
        check_maps(outputs, maps)
    except ConfigError as error:
        raise ConfigError(f"stage '{stage.name}': {error}") from error


def _compared(stage: StageConfig) -> list[str]:
    """The maps that loss ``attention_consistency`` compares."""
    loss = stage.losses.get("attention_consistency")
    return [] if loss is None else list(loss.options.get("maps", ["class"]))


def _bare_network(config: RunConfig, stage: StageConfig, cohort: Cohort) -> Network:
    return shapes_of(config.models[stage.model], len(stage_classes(stage, cohort)[0]))

"""What can be wrong with a run beyond its keys, found before training starts."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, nearest
from eye_gaze_data.sampler import Rows
from pretrain.config import OPTIONS as METHODS
from saliency.attention import provided_losses, requirements
from saliency.config import GAZE_TASKS

from .anatomy_check import check_anatomy, check_annotated
from .check_cooperation import GAZE_LOSSES, check_cooperation
from .config import ModelConfig, RunConfig, StageConfig, TrainerConfig
from .contrast_check import check_contrast, check_positives
from .loss_options import check_options
from .needs import check_attention, check_boxes, check_masks
from .stage_data import split_rows, stage_classes, supervised_rows

TASKS_OF_KIND = {
    "pretrain": {"contrast", "classify", "segment"},
    "cooperative": {"classify", "saliency", "fuse", "joint", "segment", "detect"},
    "finetune": {"classify", "saliency", "fuse", "joint", "segment", "detect"},
}
# Each loss: the tasks that can use it, and whether it is built yet.
LOSSES: dict[str, tuple[frozenset[str], bool]] = {
    **dict.fromkeys(METHODS, (frozenset({"contrast"}), True)),
    "bce": (frozenset({"classify", "fuse", "joint"}), True),
    "cross_entropy": (frozenset({"classify", "fuse", "joint"}), True),
    "weighted_bce": (frozenset({"classify", "fuse", "joint"}), True),
    "asymmetric_shift_focal": (frozenset({"classify", "fuse", "joint"}), True),
    "kld": (GAZE_TASKS, True),
    "correlation": (GAZE_TASKS, True),
    "scanpath": (GAZE_TASKS, True),
    "map_cross_entropy": (GAZE_TASKS, True),
    "attention_consistency": (frozenset({"classify", "saliency", "fuse", "joint"}), True),
    "detection": (frozenset({"detect"}), True),
    "image_attention": (frozenset({"detect"}), True),
    "dice_bce": (frozenset({"segment"}), True),
    "teacher_consistency": (frozenset({"segment"}), True),
}
# Losses that read each class logit by itself.
FINDING_LOSSES = {"bce", "weighted_bce", "asymmetric_shift_focal"}
METRICS = {
    "contrast": {"ordered", "knn", "probe", "deviation", "rank"},
    "classify": {"auroc"},
    "fuse": {"auroc"},
    "saliency": {"cc", "nss"},
    "joint": {"auroc", "cc", "nss"},
    "segment": {"dice"},
    "detect": {"map", "ap50"},
}


def check_config(config: RunConfig) -> None:
    """Check what needs neither data nor torch: names, order, losses, monitors.

    Raises:
        ConfigError: naming the stage and the key.
    """
    earlier: list[str] = []
    for stage in config.stages:
        where = f"stage '{stage.name}'"
        if stage.task not in TASKS_OF_KIND[stage.kind]:
            raise ConfigError(f"{where}: task '{stage.task}' does not go with kind '{stage.kind}'")
        _known(where, "model", [stage.model], config.models)
        _known(where, "data.cohorts", stage.data.cohorts, config.cohorts)
        model = config.models[stage.model]
        if stage.task not in model.tasks:
            raise ConfigError(
                f"{where}: a '{model.kind}' cannot do task '{stage.task}', it does "
                f"{', '.join(model.tasks)}"
            )
        _check_losses(stage, model, where)
        if stage.task == "contrast":
            check_contrast(stage, model)
        _check_fit(stage, model, where)
        check_anatomy(config, stage, earlier)
        for source in [init.stage for init in stage.init if init.stage]:
            if source not in earlier:
                raise ConfigError(
                    f"{where} starts from '{source}', which is no earlier stage; "
                    f"{nearest(source, earlier)}"
                )
        for init in stage.init:
            if (init.stage is None) == (init.file is None):
                raise ConfigError(f"{where}: an init needs either a stage or a file")
        earlier.append(stage.name)
    if config.evaluate.stage:
        _known("evaluate", "stage", [config.evaluate.stage], earlier)
    _known("evaluate", "cohorts", config.evaluate.cohorts or (), config.cohorts)
    _known("the run", "legacy_split", config.legacy_split, config.cohorts)


def _check_fit(stage: StageConfig, model: ModelConfig, where: str) -> None:
    """What a stage asks of its model beyond the task."""
    if getattr(model, "in_channels", 1) != 1:
        raise ConfigError(
            f"{where}: films have 1 channel, model '{stage.model}' expects "
            f"{model.in_channels}; set in_channels: 1"  # type: ignore[union-attr]
        )
    if stage.task in GAZE_TASKS and getattr(model, "gaze_branch", "") == "none":
        raise ConfigError(
            f"{where}: task '{stage.task}' predicts gaze; set gaze_branch of model '{stage.model}' "
            "to class_map or decoder"
        )
    organs = getattr(model, "organs", None)
    if stage.anatomy and organs is not None and organs != stage.anatomy.organs:
        raise ConfigError(
            f"{where}: model '{stage.model}' attends to organs {', '.join(organs)}, but 'anatomy' "
            f"gives {', '.join(stage.anatomy.organs)}; state the same names in the same order"
        )
    _check_supervision(stage, model, where)
    sigmoid = getattr(model, "map", "softmax") == "sigmoid"
    if "map_cross_entropy" in stage.losses and not sigmoid:
        raise ConfigError(
            f"{where}: loss 'map_cross_entropy' reads probabilities of pixels; it goes with a "
            "'smp_unet' whose map is 'sigmoid'"
        )
    if stage.data.stride != 1 and stage.data.fit != "strided":
        raise ConfigError(f"{where}: data.stride goes with fit 'strided', not '{stage.data.fit}'")
    legacy = {name for name, on in stage.legacy if on}
    if "unpooled_triplet" in legacy and stage.task != "contrast":
        raise ConfigError(f"{where}: legacy.unpooled_triplet is for task 'contrast'")
    if "unmasked_softmax" in legacy and stage.task not in GAZE_TASKS:
        raise ConfigError(f"{where}: legacy.unmasked_softmax is for tasks 'saliency' and 'joint'")
    if stage.weighting != "fixed" and stage.task != "joint":
        raise ConfigError(f"{where}: weighting '{stage.weighting}' is for task 'joint'")
    if stage.weighting != "fixed" and not all(loss.weight for loss in stage.losses.values()):
        raise ConfigError(f"{where}: a learned weighting needs weights above 0")


def _check_supervision(stage: StageConfig, model: ModelConfig, where: str) -> None:
    """A detector's attention: whether it goes with the detector, and its loss with it."""
    supervision = getattr(model, "supervision", None)
    if supervision == "ila_fgda" and getattr(model, "detector", "") == "faster_rcnn":
        raise ConfigError(
            f"{where}: model '{stage.model}' has supervision 'ila_fgda', which weighs by dense "
            "class maps, and 'faster_rcnn' proposes boxes without classes; set supervision: ila, "
            "or detector: retinanet"
        )
    if supervision == "none" and "image_attention" in stage.losses:
        raise ConfigError(
            f"{where}: loss 'image_attention' is that of the attention, and model '{stage.model}' "
            "has supervision 'none'; leave the loss out, or set supervision: ila"
        )


def not_built(config: RunConfig) -> list[str]:
    """What the run declares that gazedx cannot do yet, one sentence each."""
    missing = []
    for stage in config.stages:
        model = config.models[stage.model]
        if not model.built:
            missing.append(f"stage '{stage.name}': the model '{model.kind}' is not built yet")
        given = provided_losses(getattr(model, "attention", ()))
        missing += [
            f"stage '{stage.name}': the loss '{loss}' is not built yet"
            for loss in stage.losses
            if loss not in given and loss in LOSSES and not LOSSES[loss][1]
        ]
    return missing


def check_against_cohort(config: RunConfig, cohort: Cohort) -> None:
    """Check what needs the data: labels, gaze, masks and boxes that a stage relies on.

    Raises:
        ConfigError: naming the stage and what the cohort lacks.
    """
    for stage in config.stages:
        where, splits = f"stage '{stage.name}'", split_rows(stage, cohort)
        rows = np.concatenate(list(splits[stage.data.train].values()))
        _check_shared(where, config.trainer, splits)
        if stage.task == "contrast":
            check_positives(stage, cohort, rows)
        _check_labels(stage, cohort, rows)
        supervised_rows(stage, cohort)
        looked = sorted(GAZE_LOSSES & stage.losses.keys())
        if looked and not cohort.has_gaze[rows].any():
            raise ConfigError(
                f"{where}: no training image of its cohorts has gaze, and loss '{looked[0]}' needs "
                "it; choose other cohorts or losses"
            )
        model = config.models[stage.model]
        needs = set(getattr(model, "requires", ()))
        needs |= frozenset().union(*requirements(getattr(model, "attention", ())).values())
        if "anatomy" in needs and stage.anatomy is None:
            raise ConfigError(f"{where}: its model needs organ masks; state 'anatomy'")
        if stage.anatomy and stage.anatomy.source == "cohort":
            _known(where, "anatomy.organs", stage.anatomy.organs, cohort.organs)
            check_masks(where, stage, cohort)
            check_annotated(config, stage, cohort)
        if "boxes" in needs:
            check_boxes(stage, cohort)
        check_attention(stage, model, cohort)


def _check_shared(
    where: str, trainer: TrainerConfig, splits: Mapping[str, Mapping[str, Rows]]
) -> None:
    processes = trainer.devices * trainer.nodes
    for split, parts in splits.items():
        images = sum(len(rows) for rows in parts.values())
        if images < processes:
            raise ConfigError(
                f"{where}: {images} image(s) in split '{split}' cannot be shared by {processes} "
                "processes (trainer.devices x trainer.nodes); use fewer, or other splits"
            )


def _check_labels(stage: StageConfig, cohort: Cohort, rows: npt.NDArray[np.int64]) -> None:
    where = f"stage '{stage.name}'"
    if stage.task not in {"classify", "fuse"} and not (
        {*FINDING_LOSSES, "cross_entropy"} & stage.losses.keys()
    ):
        return
    classes, exclusive = stage_classes(stage, cohort)
    labels = cohort.labels[rows][:, [cohort.pathologies.index(name) for name in classes]]
    if labels.size == 0 or np.isnan(labels).all():
        raise ConfigError(
            f"{where}: no training image of its cohorts has a stated label; choose other 'classes' "
            "or cohorts"
        )
    both = (labels == 1).any(0) & (labels == 0).any(0)
    if stage.task != "contrast" and not both.any():
        raise ConfigError(
            f"{where}: no class has both a positive and a negative training image, so there is "
            "nothing to tell apart; choose other 'classes' or cohorts"
        )
    single = sorted(FINDING_LOSSES & stage.losses.keys())
    if single and "cross_entropy" in stage.losses:
        raise ConfigError(
            f"{where}: '{single[0]}' and 'cross_entropy' read the same logits; choose one"
        )
    if not exclusive and "cross_entropy" in stage.losses:
        raise ConfigError(f"{where}: several labels may hold at once; use 'bce'")


def _check_losses(stage: StageConfig, model: ModelConfig, where: str) -> None:
    given = provided_losses(getattr(model, "attention", ()))
    _known(where, "losses", stage.losses, [*LOSSES, *given])
    for loss, spec in stage.losses.items():
        if loss in given and stage.task != "contrast":
            continue
        if loss not in LOSSES:
            raise ConfigError(f"{where}: a contrast stage has no loss '{loss}' of its attention")
        tasks, _ = LOSSES[loss]
        if stage.task not in tasks:
            raise ConfigError(
                f"{where}: loss '{loss}' is not for task '{stage.task}' but for {sorted(tasks)}"
            )
        if LOSSES[loss][1] and loss not in METHODS:
            check_options(where, loss, spec.options)
    if "attention_consistency" in stage.losses and len(stage.data.training_views()) < 2:
        raise ConfigError(f"{where}: loss 'attention_consistency' needs data.views of at least 2")
    # In validation there is one view: nothing to be consistent with.
    paired = {"attention_consistency", "teacher_consistency"}
    monitored = {"loss", *stage.losses, *METRICS[stage.task]} - paired
    names = {f"valid/{m}" for m in monitored}
    _known(where, "monitor.metric", [stage.monitor.metric], names)
    check_cooperation(stage, names)


def _known(
    where: str, key: str, names: Mapping[str, object] | tuple[str, ...] | list[str], known: object
) -> None:
    options = list(known)  # type: ignore[call-overload]
    for name in names:
        if name not in options:
            raise ConfigError(f"{where}: {key} '{name}' does not exist; {nearest(name, options)}")

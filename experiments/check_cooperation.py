"""What can be wrong with the turns that a stage declares; neither data nor torch is needed."""

from eye_gaze_data.errors import ConfigError, nearest

from .config import StageConfig

GAZE_LOSSES = {"kld", "correlation", "scanpath", "map_cross_entropy"}
LABEL_LOSSES = {"bce", "cross_entropy", "weighted_bce", "asymmetric_shift_focal"}


def check_cooperation(stage: StageConfig, monitors: set[str]) -> None:
    """Check alternation, tasks, unfreezing and supervision of a stage.

    Args:
        stage: to check.
        monitors: what it can be monitored by.

    Raises:
        ConfigError: naming the stage, the key, and what to do.
    """
    where = f"stage '{stage.name}'"
    _check_alternation(stage, where)
    _check_tasks(stage, where, monitors)
    for glob, epoch in stage.unfreeze.items():
        if epoch >= stage.epochs:
            raise ConfigError(
                f"{where}: unfreeze '{glob}' begins with epoch {epoch}, and the stage ends after "
                f"epoch {stage.epochs - 1}; leave it out of 'train' instead"
            )
    if (stage.unfreeze or stage.tasks) and stage.legacy.drifting_statistics:
        raise ConfigError(
            f"{where}: legacy.drifting_statistics lets norms of resting parts change; it does not "
            "go with 'unfreeze' or 'tasks'"
        )
    _check_supervision(stage, where)


def _check_alternation(stage: StageConfig, where: str) -> None:
    weights = {name: loss.weight for name, loss in stage.losses.items()}
    cycles = {name: w if isinstance(w, tuple) else (w,) for name, w in weights.items()}
    for epoch in range(stage.epochs):
        if not any(cycle[epoch % len(cycle)] for cycle in cycles.values()):
            raise ConfigError(
                f"{where}: expected at least one loss with a weight above 0 in every epoch, found "
                f"none in epoch {epoch}"
            )
    turns = sorted(name for name, weight in weights.items() if isinstance(weight, tuple))
    if turns and stage.weighting != "fixed":
        raise ConfigError(
            f"{where}: loss '{turns[0]}' has a weight an epoch, which goes with weighting 'fixed', "
            f"not '{stage.weighting}'"
        )
    if turns and stage.tasks:
        raise ConfigError(
            f"{where}: loss '{turns[0]}' has a weight an epoch, which does not go with 'tasks': "
            "a mature task would leave epochs without a loss"
        )


def _check_tasks(stage: StageConfig, where: str, monitors: set[str]) -> None:
    owners: dict[str, str] = {}
    for name, task in stage.tasks.items():
        for loss in task.losses:
            if loss not in stage.losses:
                raise ConfigError(
                    f"{where}: tasks.{name}.losses '{loss}' is no loss of the stage; "
                    f"{nearest(loss, stage.losses)}"
                )
            if owners.setdefault(loss, name) != name:
                raise ConfigError(
                    f"{where}: tasks '{owners[loss]}' and '{name}' both have the loss '{loss}'"
                )
        metric = task.monitor.metric
        if metric not in monitors:
            raise ConfigError(
                f"{where}: tasks.{name}.monitor.metric '{metric}' does not exist; "
                f"{nearest(metric, monitors)}"
            )
    if stage.tasks and stage.schedule.reload_best:
        raise ConfigError(
            f"{where}: schedule.reload_best would bring back what a mature task is done with; it "
            "does not go with 'tasks'"
        )


def _check_supervision(stage: StageConfig, where: str) -> None:
    if stage.data.supervision is None:
        return
    shares = {str(kind): share for kind, share in stage.data.supervision.items()}
    if stage.data.weights is not None:
        raise ConfigError(
            f"{where}: an epoch is drawn either by the weights of data.cohorts or by "
            "data.supervision; list the cohorts without weights"
        )
    for kind, losses in (("gaze", GAZE_LOSSES), ("labels", LABEL_LOSSES)):
        used = sorted(losses & stage.losses.keys())
        if used and not shares.get("both", 0) + shares.get(kind, 0):
            raise ConfigError(
                f"{where}: loss '{used[0]}' needs {kind}, and data.supervision draws no row that "
                f"knows it; give 'both' or '{kind}' a share"
            )
    if not sum(shares.values()):
        raise ConfigError(f"{where}: data.supervision needs a share above 0")

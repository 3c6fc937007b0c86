"""``gazedx data prepare``: cohorts of a config, or of a folder, as image stores."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import TypeAdapter, ValidationError

from eye_gaze_data.cohort import Cohort, merge
from eye_gaze_data.errors import ConfigError, nearest
from eye_gaze_data.open_cohort import CohortConfig, open_cohort
from eye_gaze_data.splits import check_splits
from eye_gaze_data.store.config import StoreConfig
from eye_gaze_data.store.prepare import prepare

from .load import load_config
from .recognise import recognise

OnError = Literal["stop", "skip"]
Bar = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


def cohorts_of(
    source: Path, names: list[str] | None = None, overrides: list[str] | None = None
) -> dict[str, CohortConfig]:
    """The cohorts of a config file, or the one data set of a folder.

    Args:
        source: a config, or a folder as downloaded.
        names: which of the config's cohorts; all if none is named.
        overrides: of the config.

    Raises:
        ConfigError: if a name is unknown, or the folder holds nothing known.
    """
    if source.is_dir():
        found = recognise(source.resolve())
        if found.cohort["kind"] == "csv" and not Path(found.cohort["images"]["csv"]).is_absolute():
            raise ConfigError(
                f"{source}: films without a table; gazedx init {source} writes one with a config"
            )
        try:
            cohort = TypeAdapter(CohortConfig).validate_python(found.cohort)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
            )
            raise ConfigError(
                f"{source}: {found.title} needs settings of yours ({faults}); gazedx init {source}"
            ) from error
        return {found.name: cohort}
    known = load_config(source, overrides or []).cohorts
    for name in names or ():
        if name not in known:
            raise ConfigError(f"no cohort '{name}'; {nearest(name, known)}")
    return {name: known[name] for name in names or known}


def options(size: int, depth: int, on_error: str | None) -> tuple[StoreConfig, OnError | None]:
    """What the command line says, checked.

    Raises:
        ConfigError: naming what can be said.
    """
    if on_error not in (None, "stop", "skip"):
        raise ConfigError(f"--on-error must be stop or skip, got '{on_error}'")
    try:
        store = StoreConfig.model_validate({"size": size or None, "depth": depth})
    except ValidationError as error:
        raise ConfigError(
            f"--size must be 0 (all pixels) or at least 16 and --depth 8 or 16, got {size}, {depth}"
        ) from error
    return store, cast(OnError | None, on_error)


def prepare_data(
    configs: Mapping[str, CohortConfig],
    out: Path,
    store: StoreConfig,
    *,
    workers: int = 1,
    on_error: OnError | None = None,
    bar: Bar,
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Prepare cohorts: one into ``out`` itself, several into a folder each.

    Args:
        configs: by name.
        out: the folder to write.
        store: how films are stored.
        workers: processes.
        on_error: instead of what the configs say.
        bar: makes a progress bar of a name and a number of films.
        say: tells where the work is.

    Returns:
        where each cohort was written, and its summary.

    Raises:
        DataError: for a file or row that is not as published or declared, or a patient in two
            splits, within a cohort or across them.
    """
    cohorts: dict[str, Cohort] = {}
    for name, config in configs.items():
        say(f"{name}: reading tables and the headers of films")
        cohorts[name] = open_cohort(_with_policy(config, on_error), name)
    if len(cohorts) > 1:
        check_splits(merge(list(cohorts.values())))
    prepared = {}
    for name, cohort in cohorts.items():
        folder = out / name if len(cohorts) > 1 else out
        policy = on_error or cast(OnError, getattr(configs[name], "on_error", "stop"))
        with bar(name, len(cohort)) as step:
            summary = prepare(cohort, folder, store, workers=workers, on_error=policy, step=step)
        prepared[name] = {"folder": str(folder), "summary": summary}
    return prepared


def usable_cores() -> int:
    """The cores that this process may use, which a container or a batch system may have cut."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_policy(config: CohortConfig, on_error: OnError | None) -> CohortConfig:
    if on_error is None or "on_error" not in type(config).model_fields:
        return config
    return config.model_copy(update={"on_error": on_error})

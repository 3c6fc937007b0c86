"""A study as data: one base config, cells that change it, seeds that repeat it."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from eye_gaze_data.errors import ConfigError

from .config import RunConfig
from .cooperation import NAME, Name, Strict
from .load import apply_overrides, explain, find_config, parse_config, read_tree

_Key = Annotated[str, Field(pattern=NAME)]


class CellConfig(Strict):
    """One arm of a study.

    Attributes:
        about: one line for the table.
        replace: top-level keys of the base config that this cell has of its own, e.g. ``stages``.
        set: overrides after that, as ``--set`` takes them.
    """

    about: str = ""
    replace: dict[str, Any] = Field(default_factory=dict)
    set: tuple[str, ...] = ()


class StudyConfig(Strict):
    """Cells times seeds.

    Attributes:
        name: of the study's folder.
        base: path of a run config, relative to the study's file, or the name of a shipped one.
        seeds: each cell runs once with each; the cohort's own seed stays, so all see one cohort.
        set: overrides for all cells.
        cells: by name; the first is the one that others are compared with.
    """

    name: Name
    base: Path
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    set: tuple[str, ...] = ()
    cells: dict[_Key, CellConfig] = Field(min_length=1)


def load_study(path: Path) -> tuple[StudyConfig, dict[str, RunConfig]]:
    """A study and the run config of each cell, checked.

    Args:
        path: a YAML file, or the name of a shipped study such as ``study/baselines``.

    Raises:
        ConfigError: naming the file, the cell and the key.
    """
    path = find_config(path)
    try:
        study = StudyConfig.model_validate(read_tree(path))
    except ValidationError as error:
        raise ConfigError(explain(error, path, StudyConfig)) from error
    beside = path.parent / study.base
    base = find_config(beside if beside.is_file() else study.base)
    configs = {}
    for name, cell in study.cells.items():
        # Read afresh for each cell, as overrides change the tree in place.
        tree = yaml.safe_load(yaml.safe_dump(read_tree(base) | cell.replace))
        apply_overrides(tree, (*study.set, *cell.set, f"name={study.name}-{name}"))
        try:
            configs[name] = parse_config(tree, base)
        except ConfigError as error:
            raise ConfigError(f"{path}, cell '{name}': {error}") from error
    return study, configs

"""From a YAML file to a ``RunConfig``: overrides, defaults, rounds, and errors that help."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from eye_gaze_data.errors import ConfigError, nearest
from eye_gaze_data.files import write_text

from .config import RunConfig

CONFIGS = Path(__file__).parent / "configs"


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """The config of a file, checked.

    Args:
        path: a YAML file, or the name of a shipped config such as ``demo``.
        overrides: ``a.b=c`` each; a part may be a name or a number in a list, and stages, too, go
            by their name: ``stages.fusion.epochs=3``.

    Raises:
        ConfigError: naming the file, the key and the nearest valid one.
    """
    path = find_config(Path(path))
    tree = read_tree(path)
    apply_overrides(tree, overrides)
    return parse_config(tree, path)


def read_tree(path: Path) -> dict[str, Any]:
    """The plain values of a YAML file.

    Raises:
        ConfigError: if it is no YAML, or no mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected YAML, cannot read it: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, found {type(tree).__name__}")
    return tree


def apply_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> None:
    """Change plain values in place, see ``load_config``."""
    for override in overrides:
        _override(tree, override)


def find_config(path: Path) -> Path:
    """The file itself, or the shipped config of that name.

    Raises:
        ConfigError: if there is neither.
    """
    if path.is_file():
        return path
    shipped = {
        file.relative_to(CONFIGS).with_suffix("").as_posix(): file
        for file in CONFIGS.rglob("*.yaml")
    }
    name = path.as_posix().removesuffix(".yaml")
    if name in shipped:
        return shipped[name]
    raise ConfigError(f"{path}: no such config file; {nearest(name, shipped)}")


def parse_config(tree: dict[str, Any], path: Path) -> RunConfig:
    """A config from a tree of plain values; relative paths are taken from the file's folder.

    Raises:
        ConfigError: naming the key.
    """
    tree = dict(tree)
    defaults = tree.pop("defaults", {})
    stages = tree.get("stages")
    if isinstance(stages, list):
        tree["stages"] = [_filled(stage, defaults) for stage in expand_rounds(stages, path)]
    try:
        config = RunConfig.model_validate(_absolute(tree, path.parent))
    except ValidationError as error:
        raise ConfigError(explain(error, path, RunConfig)) from error
    names = [stage.name for stage in config.stages]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two stages are called '{name}'")
    return config


def expand_rounds(stages: Sequence[Any], path: Path) -> list[Any]:
    """Stages with every ``{rounds: n, until: ..., stages: [...]}`` written out.

    Round r of stage ``x`` is called ``x-r<r>``. An ``init`` from ``x`` inside the rounds means the
    latest ``x`` before it: of the same round, or of the round before, or the stage ``x`` itself
    before the rounds begin; an ``init`` after the rounds means the last one.
    """
    expanded: list[Any] = []
    latest: dict[str, str] = {}
    groups = 0
    for entry in stages:
        if not (isinstance(entry, dict) and "rounds" in entry):
            expanded.append(_renamed(entry, None, latest))
            continue
        rounds, inner = entry.get("rounds"), entry.get("stages")
        unknown = entry.keys() - {"rounds", "until", "tolerance", "stages"}
        if unknown or not inner or not isinstance(rounds, int) or rounds < 1:
            raise ConfigError(
                f"{path}: expected {{rounds: n >= 1, until: no_gain, tolerance: 0, stages: [...]}}"
                f", found keys {sorted(entry)} with rounds {rounds}"
            )
        place = {key: entry[key] for key in ("until", "tolerance") if key in entry}
        for number in range(1, rounds + 1):
            here = {"group": groups, "number": number, **place}
            expanded += [_renamed(stage, here, latest) for stage in inner]
        groups += 1
    return expanded


def save_config(config: RunConfig, path: Path) -> None:
    """Write the resolved config; it is sufficient to repeat the run."""
    write_text(path, dump_config(config))


def dump_config(config: BaseModel) -> str:
    """A config as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, width=100)


def _renamed(stage: Any, place: dict[str, Any] | None, latest: dict[str, str]) -> Any:  # noqa: ANN401
    if not isinstance(stage, dict):
        return stage
    stage = dict(stage)
    inits = stage.get("init", [])
    inits = [inits] if isinstance(inits, dict) else inits
    if isinstance(inits, list) and inits:
        stage["init"] = [
            {**init, "stage": latest.get(init["stage"], init["stage"])}
            if isinstance(init, dict) and isinstance(init.get("stage"), str)
            else init
            for init in inits
        ]
    anatomy = stage.get("anatomy")
    if isinstance(anatomy, dict) and isinstance(anatomy.get("stage"), str):
        stage["anatomy"] = {**anatomy, "stage": latest.get(anatomy["stage"], anatomy["stage"])}
    name = stage.get("name")
    if isinstance(name, str):
        if place is not None:
            stage["name"] = f"{name}-r{place['number']}"
            stage["round"] = {"stage": name, **place}
        latest[name] = stage["name"]
    return stage


def _filled(stage: Any, defaults: Any) -> Any:  # noqa: ANN401
    """A stage over the defaults; mappings are filled key by key, all else is replaced."""
    if not (isinstance(stage, dict) and isinstance(defaults, dict)):
        return stage
    merged = dict(defaults)
    for key, value in stage.items():
        # Losses, globs and weights are wholes: only these sections have keys to fill in.
        sections = {"data", "optimiser", "schedule", "contrast", "teacher", "gaze", "augment"}
        merged[key] = _filled(value, defaults[key]) if key in defaults.keys() & sections else value
    return merged


def _override(tree: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected key.key=value")
    place: Any = tree
    parts = key.split(".")
    for part in parts[:-1]:
        place = _step(place, part, text)
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is no YAML: {error}") from error
    last = parts[-1]
    if isinstance(place, list):
        place[_position(place, last, text)] = parsed
    else:
        place[last] = parsed


def _step(place: Any, part: str, text: str) -> Any:  # noqa: ANN401
    if isinstance(place, list):
        return place[_position(place, part, text)]
    child = place.setdefault(part, {})
    if child is None or not isinstance(child, dict | list):
        child = place[part] = {}
    return child


def _position(place: list[Any], part: str, text: str) -> int:
    names = [str(entry.get("name", "")) if isinstance(entry, dict) else "" for entry in place]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(place):
        return int(part)
    raise ConfigError(f"--set {text}: no entry '{part}'; {nearest(part, filter(None, names))}")


_PATH_KEYS = {"csv", "root", "file", "image_root", "predictions", "leave_out"}


def _absolute(tree: Any, folder: Path, *, is_path: bool = False) -> Any:  # noqa: ANN401
    """Relative paths become absolute, so that a saved config works from anywhere."""
    if isinstance(tree, list):
        return [_absolute(item, folder, is_path=is_path) for item in tree]
    if isinstance(tree, dict):
        return {
            key: _absolute(value, folder, is_path=key in _PATH_KEYS) for key, value in tree.items()
        }
    if is_path and isinstance(tree, str):
        return str((folder / Path(tree).expanduser()).resolve())
    return tree


def explain(error: ValidationError, path: Path, model: type[BaseModel]) -> str:
    """What pydantic found, a line each, with the nearest valid key.

    Args:
        error: of the validation.
        path: of the file.
        model: what the file was to be.
    """
    lines, schema = [], model.model_json_schema()
    faults = error.errors(include_url=False)
    places = [fault["loc"] for fault in faults]
    for fault in faults[:10]:
        here = fault["loc"]
        inside = any(other[: len(here)] == here and other != here for other in places)
        if fault["type"] == "too_short" and inside:
            # Pydantic does not count an item that is wrong in itself.
            continue
        parts, siblings = _place(schema, here)
        where = ".".join(parts) or "(top)"
        if fault["type"] == "extra_forbidden":
            lines.append(f"{path}: unknown key '{where}'; {nearest(parts[-1], siblings)}")
        elif fault["type"] == "missing":
            lines.append(f"{path}: the key '{where}' is missing")
        else:
            found = repr(fault.get("input"))
            found = found if len(found) < 80 else found[:77] + "..."
            lines.append(f"{path}: '{where}': {fault['msg']}, found {found}")
    return "\n".join(lines)


def _place(schema: dict[str, Any], location: Sequence[int | str]) -> tuple[list[str], list[str]]:
    """A location as the file has it, and the keys that are valid there.

    Pydantic names the kind of a cohort or a model, too, which is no key of the file.
    """
    node, parts = schema, []
    for part in location[:-1]:
        if part not in _kinds(schema, node):
            parts.append(str(part))
        node = _child(schema, node, part)
    options = (_resolve(schema, option) for option in _options(schema, node))
    keys = {key for option in options for key in option.get("properties", {})}
    return [*parts, *map(str, location[-1:])], sorted(keys)


def _options(schema: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    node = _resolve(schema, node)
    return [node, *node.get("anyOf", []), *node.get("oneOf", [])]


def _kinds(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, str]:
    """The schemas of a tagged union by their tags."""
    kinds: dict[str, str] = _resolve(schema, node).get("discriminator", {}).get("mapping", {})
    return kinds


def _child(schema: dict[str, Any], node: dict[str, Any], part: int | str) -> dict[str, Any]:
    for option in _options(schema, node):
        found = _resolve(schema, option)
        if isinstance(part, str) and part in found.get("properties", {}):
            return dict(found["properties"][part])
        if isinstance(part, int) and "items" in found:
            return dict(found["items"])
        if part in _kinds(schema, found):
            return _resolve(schema, {"$ref": _kinds(schema, found)[str(part)]})
        for values in (
            found.get("additionalProperties"),
            *found.get("patternProperties", {}).values(),
        ):
            if isinstance(values, dict):
                return dict(values)
    return {}


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node

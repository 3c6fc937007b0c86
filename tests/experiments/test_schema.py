"""The schema that editors get: it takes every shipped config, and refuses what gazedx refuses."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.load import CONFIGS
from experiments.schema import file_schema

SCHEMA = file_schema()
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def faults(value: Any, schema: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401
    """What is wrong with a value by the part of JSON schema that ours uses."""
    if "$ref" in schema:
        yield from faults(value, SCHEMA["$defs"][schema["$ref"].rsplit("/", 1)[-1]], at)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices and all(any(faults(value, choice, at)) for choice in choices):
        yield f"{at}: fits no choice"
    kind = schema.get("type")
    wrong_bool = isinstance(value, bool) and kind in {"integer", "number"}
    if kind and (wrong_bool or not isinstance(value, TYPES[kind])):
        yield f"{at}: no {kind}"
        return
    if ("enum" in schema and value not in schema["enum"]) or value != schema.get("const", value):
        yield f"{at}: not one of the values"
    if isinstance(value, dict):
        yield from _object_faults(value, schema, at)
    if isinstance(value, list):
        parts = schema.get("prefixItems", [])
        for number, item in enumerate(value):
            part = parts[number] if number < len(parts) else schema.get("items", {})
            yield from faults(item, part, f"{at}.{number}")


def _object_faults(value: dict[str, Any], schema: Any, at: str) -> Iterator[str]:  # noqa: ANN401
    yield from (f"{at}.{name}: missing" for name in schema.get("required", []) if name not in value)
    for name, item in value.items():
        patterns = [p for k, p in schema.get("patternProperties", {}).items() if re.search(k, name)]
        part = schema.get("properties", {}).get(name, patterns[0] if patterns else None)
        if part is None:
            part = schema.get("additionalProperties", True)
        if part is False:
            yield f"{at}.{name}: unknown key"
        elif part is not True:
            yield from faults(item, part, f"{at}.{name}")


def shipped() -> list[Path]:
    found = (path for path in CONFIGS.rglob("*.yaml") if path.parent == CONFIGS)
    return sorted(found)


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_every_shipped_config_fits(path: Path) -> None:
    assert list(faults(yaml.safe_load(path.read_text()), SCHEMA)) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sead", 3, ".sead: unknown key"),
        ("seed", "three", ".seed: no integer"),
        ("stages", {"name": "x"}, ".stages: no array"),
        ("defaults", {"epochs": 3, "epoch": 3}, ".defaults.epoch: unknown key"),
    ],
)
def test_what_is_wrong_is_found(key: str, value: object, message: str) -> None:
    tree = yaml.safe_load((CONFIGS / "demo.yaml").read_text())
    assert message in list(faults(tree | {key: value}, SCHEMA))


def test_rounds_and_short_forms_fit_and_misspelt_ones_do_not() -> None:
    tree = yaml.safe_load((CONFIGS / "demo.yaml").read_text())
    tree["stages"] = [{"rounds": 2, "stages": tree["stages"]}]
    assert list(faults(tree, SCHEMA)) == []
    tree["stages"][0] |= {"until": "no_gain", "tolerance": 0.01}
    tree["stages"][0]["stages"][0]["losses"] = {"bce": [1, 0], "kld": 2}
    assert list(faults(tree, SCHEMA)) == []
    for key, wrong in {"until": "never", "tolerance": "much", "round": 2}.items():
        bad = {**tree, "stages": [{**tree["stages"][0], key: wrong}]}
        assert list(faults(bad, SCHEMA)) == [".stages.0: fits no choice"]
    tree["stages"][0]["stages"][0]["losses"]["bce"] = ["1"]
    assert list(faults(tree, SCHEMA)) == [".stages.0: fits no choice"]

"""The JSON schema of a config file as it is written, for editors.

A file may say more briefly what ``RunConfig`` holds: ``defaults`` for stages, rounds, one ``init``
without a list, a weight or a list of weights for a loss, a name for a mix of cohorts.
"""

from typing import Any

from .config import RunConfig

Schema = dict[str, Any]


def file_schema() -> Schema:
    """JSON schema, draft 2020-12."""
    schema = RunConfig.model_json_schema()
    parts: Schema = schema["$defs"]
    stage, data = parts["StageConfig"], parts["StageData"]
    _or(stage["properties"], "init", {"$ref": "#/$defs/InitConfig"})
    weights = parts["LossConfig"]["properties"]["weight"]["anyOf"]
    _or(stage["properties"]["losses"], "additionalProperties", *weights)
    names = {"type": "array", "items": {"type": "string"}}
    _or(data["properties"], "cohorts", {"type": "string"}, names)
    # What a stage leaves out may stand in the defaults, its data key by key.
    parts["StageDefaults"] = {**stage, "required": [], "title": "StageDefaults"}
    stage["required"], data["required"] = ["name"], []
    stages = {"type": "array", "items": {"$ref": "#/$defs/StageConfig"}, "minItems": 1}
    written = parts["RoundConfig"]["properties"]
    turns = {key: written[key] for key in ("until", "tolerance")}
    parts["Rounds"] = {
        "type": "object",
        "properties": {"rounds": {"type": "integer", "minimum": 1}, "stages": stages, **turns},
        "required": ["rounds", "stages"],
        "additionalProperties": False,
    }
    _or(schema["properties"]["stages"], "items", {"$ref": "#/$defs/Rounds"})
    schema["properties"]["defaults"] = {"$ref": "#/$defs/StageDefaults"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _or(place: Schema, key: str, *others: Schema) -> None:
    """Let something else stand there, too."""
    place[key] = {"anyOf": [place[key], *others]}

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from eye_gaze_data.readers.label_config import (
    ChexpertConfig,
    LabelConfig,
    MimicCxrConfig,
    NihConfig,
    SiimConfig,
    VindrConfig,
)

CONFIGS: tuple[type[LabelConfig], ...] = (
    NihConfig,
    ChexpertConfig,
    MimicCxrConfig,
    VindrConfig,
    SiimConfig,
)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_root_is_enough_and_survives_json(kind: type[LabelConfig]) -> None:
    config = kind(root=Path("data"))
    assert config.on_error == "stop"
    assert config.vocabulary == "published"
    assert kind.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="colour"):
        kind.model_validate({"root": "data", "colour": 1})


def test_kinds_differ_and_mimic_shares_its_patients() -> None:
    kinds = [kind(root=Path()).model_dump()["kind"] for kind in CONFIGS]
    assert kinds == ["nih_chestxray14", "chexpert", "mimic_cxr", "vindr_cxr", "siim_covid19"]
    assert [kind(root=Path()).patient_namespace for kind in CONFIGS] == ["", "", "mimic", "", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uncertain_of": {"Oedema": "ones"}}, "no label is called 'Oedema'; did you mean 'Edema'"),
        ({"uncertain": "maybe"}, "ignore"),
        ({"uncertain": "self_trained"}, "uncertain 'self_trained' and 'predictions' go together"),
        ({"uncertain_of": {"Edema": "self_trained"}}, "go together"),
        ({"predictions": "p.csv"}, "go together"),
        ({"valid_share": 1.0}, "less than 1"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ChexpertConfig.model_validate({"root": "data", **options})

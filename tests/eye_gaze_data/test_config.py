import math
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from eye_gaze_data.config import (
    PRESETS,
    AugmentConfig,
    DetectConfig,
    GazeConfig,
    Preset,
    Recipe,
)
from eye_gaze_data.csv_config import BoxesCsv, CsvConfig, GazeCsv, ImagesCsv, MasksCsv


def test_presets_are_the_published_recipes() -> None:
    paper = PRESETS["paper"]
    # OpenCV's automatic sigma for 501 taps: 0.3 * ((501 - 1) / 2 - 1) + 0.8 pixels of 3056.
    assert paper.sigma * 3056 == pytest.approx(0.3 * (500 / 2 - 1) + 0.8)
    assert paper.cut is not None
    assert paper.cut * 75.5 == pytest.approx(250)
    assert (paper.unit, paper.weight, paper.border) == ("height", "count", "reflect")
    degree = PRESETS["degree"]
    assert (degree.sigma, degree.unit, degree.weight, degree.border) == (
        1.0,
        "degree",
        "duration",
        "cut",
    )
    assert PRESETS["fixation"] == Recipe(sigma=paper.sigma, weight="duration")
    authors = PRESETS["egd_authors"]
    # scipy's gaussian_filter: sigma 150 pixels, half-sample symmetric border, 4 sigma by default.
    assert (authors.sigma, authors.unit, authors.weight) == (150, "pixel", "count")
    assert (authors.border, authors.cut) == ("symmetric", 4.0)
    reflacx = PRESETS["reflacx"]
    assert (reflacx.sigma, reflacx.unit, reflacx.weight) == (1.0, "point", "duration")
    assert (reflacx.border, reflacx.cut, reflacx.window) == ("cut", None, True)
    assert (PRESETS["gazegnn"].sigma, PRESETS["gazegnn"].weight) == (0, "log_interval")
    assert tuple(PRESETS) == get_args(Preset)
    for name in get_args(Preset):
        assert GazeConfig(preset=name).resolved() is PRESETS[name]


def test_a_recipe_of_ones_own_precedes_the_preset() -> None:
    assert GazeConfig().resolved() is PRESETS["paper"]
    assert GazeConfig(preset="degree").resolved() is PRESETS["degree"]
    own = Recipe(sigma=0.05)
    assert GazeConfig(preset="degree", recipe=own).resolved() == own
    assert GazeConfig().readers == "pool"


@pytest.mark.parametrize(
    ("model", "values", "key"),
    [
        (Recipe, {"sigma": -1}, "sigma"),
        (Recipe, {"sigma": 0.3, "border": "symmetric"}, "border 'symmetric'"),
        (Recipe, {"sigma": math.inf, "unit": "degree"}, "sigma"),
        (Recipe, {"sigma": math.nan}, "sigma"),
        (Recipe, {"sigma": 0.3}, "at most 0.25 of the height"),
        (Recipe, {"sigma": 0.1, "cut": 0}, "cut"),
        (Recipe, {"sigma": 0.1, "cut": math.inf}, "cut"),
        (Recipe, {"sigma": 0.1, "unit": "inch"}, "unit"),
        (DetectConfig, {}, "method"),
        (DetectConfig, {"method": "ivd"}, "method"),
        (DetectConfig, {"method": "ivt", "velocity": 0}, "velocity"),
        (DetectConfig, {"method": "idt", "dispersion": math.inf}, "dispersion"),
        (DetectConfig, {"method": "idt", "max_gap": -1}, "max_gap"),
        (Recipe, {"sigma": 0.1, "kernel": 501}, "kernel"),
        (AugmentConfig, {"degrees": -1}, "degrees"),
        (AugmentConfig, {"degrees": 181}, "degrees"),
        (AugmentConfig, {"scale": [0, 1]}, "scale"),
        (AugmentConfig, {"scale": [1.2, 0.8]}, "the smaller first"),
        (AugmentConfig, {"scale": [-1, 1]}, "above 0"),
        (AugmentConfig, {"scale": [1, math.inf]}, "scale"),
        (AugmentConfig, {"scale": [math.nan, 1]}, "scale"),
        (AugmentConfig, {"shift": 0.6}, "shift"),
        (AugmentConfig, {"contrast": 1}, "contrast"),
        (AugmentConfig, {"noise": -0.1}, "noise"),
        (AugmentConfig, {"flips": "never"}, "flips"),
        (AugmentConfig, {"flip": "sometimes"}, "flip"),
        (GazeConfig, {"preset": "papers"}, "preset"),
        (GazeConfig, {"readers": "median"}, "readers"),
        (ImagesCsv, {"csv": "a.csv", "lable": ["x"]}, "lable"),
        (ImagesCsv, {}, "csv"),
        (GazeCsv, {"csv": "a.csv", "units": "cm"}, "units"),
        (GazeCsv, {"csv": "a.csv", "pixels_per_degree": 0}, "pixels_per_degree"),
        (GazeCsv, {"csv": "a.csv", "duration_unit": "min"}, "duration_unit"),
        (BoxesCsv, {"csv": "a.csv", "corners": ["x", "y", "w"]}, "corners"),
        (MasksCsv, {"csv": "a.csv", "label": "x"}, "label"),
        (CsvConfig, {"kind": "dicom", "images": {"csv": "a.csv"}}, "kind"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    model: type[BaseModel], values: dict[str, object], key: str
) -> None:
    with pytest.raises(ValidationError, match=key):
        model.model_validate(values)


def test_by_default_nothing_is_augmented_and_nothing_flipped() -> None:
    off = {"degrees": 0, "scale": (1, 1), "shift": 0, "flip": "never"}
    off |= {"brightness": 0, "contrast": 0, "noise": 0, "crop": 1, "gamma": 0, "blur": 0}
    assert AugmentConfig().model_dump() == off


def test_degrees_may_reflect_any_sigma_and_a_cut_border_too() -> None:
    assert Recipe(sigma=2.0, unit="degree").border == "reflect"
    assert Recipe(sigma=0.3, border="cut").sigma == 0.3


@pytest.mark.parametrize(
    "config",
    [
        GazeConfig(recipe=Recipe(sigma=0.1, cut=3.0), readers="mean"),
        AugmentConfig(degrees=5, scale=(0.9, 1.1)),
        CsvConfig(
            images=ImagesCsv(csv=Path("a.csv"), labels=("Mass",), where={"view": ("PA",)}),
            gaze=GazeCsv(csv=Path("g.csv"), duration="d", duration_unit="ms"),
            boxes=BoxesCsv(csv=Path("b.csv"), rename={"a": ""}),
        ),
    ],
)
def test_a_config_survives_json_and_is_frozen(config: BaseModel) -> None:
    assert type(config).model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, next(iter(type(config).model_fields)), None)

import pytest
from pydantic import ValidationError

from eye_gaze_data.phantom import CLASSES, FINDINGS, PhantomConfig

RANGE = r"severity must be a range \(low, high\) within \(0, 1\], got"


def test_defaults_are_four_hundred_films_with_three_readers() -> None:
    config = PhantomConfig()
    assert (config.kind, config.n_patients, config.readers) == ("phantom", 400, 3)
    assert (config.height, config.width) == (256, 256)
    assert config.fractions == {"train": 0.7, "valid": 0.1, "test": 0.2}
    assert config.severity == (0.25, 1.0)
    assert config.mimics == 0.25


def test_pathologies_follow_the_labels() -> None:
    assert PhantomConfig().pathologies == FINDINGS
    assert PhantomConfig(labels="exclusive").pathologies == CLASSES


def test_a_degree_is_a_share_of_the_height_unless_stated() -> None:
    assert PhantomConfig(height=260).degree == pytest.approx(10.0)
    assert PhantomConfig(pixels_per_degree=17.0).degree == 17.0


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("n_patients", 0, "greater than or equal to 1"),
        ("images_per_patient", 0, "greater than or equal to 1"),
        ("height", 8, "greater than or equal to 32"),
        ("readers", 0, "greater than or equal to 1"),
        ("prevalence", 1.5, "less than or equal to 1"),
        ("prevalence", float("nan"), "should be a finite number"),
        ("severity", (0.5, 0.2), RANGE),
        ("severity", (0.0, 0.5), RANGE),
        ("severity", (0.5, 1.2), RANGE),
        (
            "severity",
            (0.5, float("nan")),
            "should be a finite number",
        ),
        ("mimics", 1.2, "less than or equal to 1"),
        ("mimics", float("nan"), "should be a finite number"),
        ("fractions", {"train": 0.9, "test": 0.2}, "fractions must sum to at most 1, got 1.1"),
        ("fractions", {"training": 0.9}, "fractions know the splits train, valid, test, got"),
        (
            "fractions",
            {"train": -0.1},
            r"fractions must be shares in \[0, 1\], got {",
        ),
        ("fractions", {"train": float("nan")}, "should be a finite number"),
        ("fractions", {}, "shares"),
        ("pixels_per_degree", 0, "greater than 0"),
        ("pixels_per_degree", float("inf"), "finite"),
        ("seed", -1, "greater than or equal to 0"),
        ("labels", "binary", "multilabel"),
        ("gaze", "heat", "fixations"),
        ("arm", "random", "shuffled"),
        ("kind", "csv", "phantom"),
        ("n_patient", 10, "Extra inputs"),
    ],
)
def test_nonsense_is_refused(field: str, value: object, says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        PhantomConfig.model_validate({field: value})
    assert caught.value.errors()[0]["loc"][0] == field


def test_a_control_arm_needs_gaze() -> None:
    with pytest.raises(ValidationError, match="arm 'shuffled' is a control of the gaze, but"):
        PhantomConfig(gaze="none", arm="shuffled")


def test_a_ribbon_is_not_a_film() -> None:
    with pytest.raises(ValidationError, match="three times as long"):
        PhantomConfig(height=1000, width=100)


def test_a_config_is_frozen_and_survives_a_round_trip() -> None:
    config = PhantomConfig(severity=(0.2, 0.4), fractions={"test": 1.0})
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, "seed", 2)  # noqa: B010
    assert PhantomConfig.model_validate_json(config.model_dump_json()) == config

"""What modules need, and what is refused before training when it is not there."""

from dataclasses import replace
from typing import Any

import pytest

from experiments.build import build_cohorts, build_module
from experiments.check import check_against_cohort, check_config
from experiments.config import RunConfig
from experiments.needs import needs_met, without_positives
from experiments.plan import check_everything, check_networks
from eye_gaze_data.errors import ConfigError

from .small import MODEL, small_config, small_stage, small_tree

ORGANS = ["left_lung", "heart"]
PUBLISHED = {"backbone_options": {"growth_rate": 4, "block_config": [1, 1]}}


def attended(use: str, at: str = "encoder_a.4", **options: object) -> dict[str, Any]:
    entry = {"use": use, "at": at, "options": options}
    return {"network": MODEL | {"attention": [entry]}}


def make(models: dict[str, Any], **stage: Any) -> RunConfig:  # noqa: ANN401
    task = stage.pop("task", "joint")
    return small_config(models=models, stages=[small_stage("one", "cooperative", task, **stage)])


def check(config: RunConfig) -> list[str]:
    """All that a run checks before it trains."""
    check_config(config)
    cohort = build_cohorts(config)
    check_against_cohort(config, cohort)
    check_networks(config, cohort)
    return needs_met(config, cohort)


PADDED = {"cohorts": "phantom", "image_size": [40, 32]}
VIEWS = {"cohorts": "phantom", "image_size": [32, 32], "views": 2}


def consistent(*maps: str, **data: Any) -> dict[str, Any]:  # noqa: ANN401
    """A stage whose loss compares these maps."""
    loss = {"weight": 1, "options": {"maps": list(maps)}}
    return {"losses": {"bce": 1, "attention_consistency": loss}, "data": VIEWS | data}


def test_what_is_needed_is_listed_with_where_it_comes_from() -> None:
    anatomy = {"source": "cohort", "organs": ORGANS}
    lines = check(make(attended("anatomy_aware", organs=2), anatomy=anatomy))
    assert lines == [
        "stage one: attention 'anatomy_aware' at 'encoder_a.4' needs organ masks "
        "(left_lung, heart): from source 'cohort'"
    ]
    (line,) = check(make(attended("probabilistic_pooling", "fusion", classes=6)))
    assert line.startswith("stage one: attention 'probabilistic_pooling' at 'fusion' needs labels:")
    (line,) = check(make(attended("pyramid_integration", "fusion")))
    assert line.endswith("needs several maps at once: the site has them")
    assert check(make(attended("se"))) == []


def test_a_system_lists_its_needs_too() -> None:
    model = {"kind": "anatomy_xnet", "organs": ORGANS, "gaze_branch": "class_map"}
    anatomy = {"source": "ones", "organs": ORGANS}
    lines = check(make({"network": model | PUBLISHED}, anatomy=anatomy))
    assert lines == [
        "stage one: model 'anatomy_xnet' needs organ masks (left_lung, heart): from source 'ones'"
    ]
    data = {"cohorts": "phantom", "image_size": [32, 32], "views": [{}, {"shift": 0.1}]}
    losses = {"bce": 1, "kld": 1, "attention_consistency": 1}
    model = {"kind": "msanet", "gaze_branch": "decoder"}
    (line,) = check(make({"network": model | PUBLISHED}, data=data, losses=losses))
    assert line.endswith("loss 'attention_consistency' needs pairs of views: 2 views an image")


@pytest.mark.parametrize(
    ("models", "stage", "message"),
    [
        (attended("anatomy_aware"), {}, "its model needs organ masks; state 'anatomy'"),
        (
            attended("anatomy_aware"),
            {"anatomy": {"source": "cohort", "organs": ORGANS}},
            r"'anatomy' gives 2 organ\(s\), its option 'organs' says 1",
        ),
        (
            attended("dual_attention", "fusion", classes=6),
            {},
            "needs dense class maps, which a detector gives and a 'dual_encoder' does not",
        ),
        (
            attended("probabilistic_pooling", classes=4),
            {},
            "the stage has 6 classes, its option 'classes' says 4",
        ),
        (
            {"network": {"kind": "anatomy_xnet", "organs": ORGANS, "gaze_branch": "decoder"}},
            {"anatomy": {"source": "cohort", "organs": ["heart"]}},
            "attends to organs left_lung, heart, but 'anatomy' gives heart",
        ),
        (
            {"network": {"kind": "msanet"}},
            {},
            "task 'joint' predicts gaze; set gaze_branch of model 'network'",
        ),
        (
            {"network": MODEL},
            {"losses": {"bce": 1, "attention_consistency": 1}},
            "loss 'attention_consistency' needs data.views of at least 2",
        ),
        (
            {"network": MODEL},
            {"losses": {"weighted_bce": 1, "cross_entropy": 1}},
            "'weighted_bce' and 'cross_entropy' read the same logits; choose one",
        ),
        (
            attended("se", "encoder_a.9"),
            {},
            "attention 'se' at 'encoder_a.9': no such site; this network has encoder_a.1, ",
        ),
        (
            attended("iterative_fusion"),
            {},
            "attention 'iterative_fusion' needs a pyramid; site 'encoder_a.4' has one map",
        ),
        (
            attended("se"),
            consistent("encoder_a.4.magnitud"),
            "'one': loss 'attention_consistency': the network exports no map "
            "'encoder_a.4.magnitud'; did you mean 'encoder_a.4.magnitude'",
        ),
        (
            {"network": MODEL | {"pad": True}},
            {"data": PADDED, "anatomy": {"source": "cohort", "organs": ORGANS}},
            "image_size 40x32 is padded by 'pad: true', but organ masks are not; choose multiples",
        ),
        (
            attended("se") | {"network": attended("se")["network"] | {"pad": True}},
            consistent("encoder_a.4.magnitude", image_size=[40, 32]),
            "but the maps of loss 'attention_consistency' are not; choose multiples of 32",
        ),
    ],
)
def test_what_is_missing_is_named_before_training(
    models: dict[str, Any], stage: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check(make(models, **stage))


def test_maps_that_are_there_and_gaze_on_a_padded_grid_can_be_compared() -> None:
    model = attended("se")
    check(make(model, **consistent("encoder_a.4.magnitude", "saliency")))
    anatomy = {"source": "cohort", "organs": ORGANS}
    stage = consistent("encoder_a.4.heart") | {"anatomy": anatomy}
    check(make(attended("anatomy_aware", organs=2), **stage))
    padded = {"network": MODEL | {"pad": True}}
    check(make(padded, **consistent("saliency", image_size=[40, 32])))


def test_masks_of_another_film_are_refused_before_training() -> None:
    anatomy = {"source": "cohort", "organs": ORGANS}
    config = make(attended("anatomy_aware", organs=2), anatomy=anatomy)
    cohort = build_cohorts(config)
    read = cohort.masks
    assert read is not None
    for change, message in ((2.0, r"must lie in \[0, 1\]"), (None, "masks of another film")):
        broken = replace(
            cohort, masks=lambda row, c=change: read(row)[:, 1:] if c is None else read(row) * c
        )
        with pytest.raises(ConfigError, match=f"stage 'one': image .*{message}"):
            check_against_cohort(config, broken)


def test_the_check_lists_sites_and_needs() -> None:
    anatomy = {"source": "cohort", "organs": ORGANS}
    lines = check_everything(make(attended("anatomy_aware", organs=2), anatomy=anatomy))
    (sites,) = [line for line in lines if "attention sites" in line]
    assert sites.startswith("model network: attention sites encoder_a.1, ")
    assert sites.endswith("fusion")
    assert any("'anatomy_aware' at 'encoder_a.4' needs organ masks" in line for line in lines)
    model = {"kind": "msanet", "gaze_branch": "decoder"} | PUBLISHED
    lines = check_everything(make({"network": model}))
    assert "model network: attention sites none" in lines


def test_consistency_is_nothing_to_choose_an_epoch_by() -> None:
    data = {"cohorts": "phantom", "image_size": [32, 32], "views": 2}
    losses = {"bce": 1, "attention_consistency": 1}
    monitor = {"metric": "valid/attention_consistency", "mode": "min"}
    config = make({"network": MODEL}, task="classify", data=data, losses=losses, monitor=monitor)
    with pytest.raises(ConfigError, match="monitor.metric 'valid/attention_consistency'"):
        check_config(config)


def scarce(**stage: Any) -> RunConfig:  # noqa: ANN401
    """A run whose cohort has no positive training film of one class."""
    tree = small_tree()
    tree["cohorts"]["phantom"] |= {"n_patients": 6, "seed": 5}
    stages = [small_stage("one", "finetune", "classify", **stage)]
    return small_config(cohorts=tree["cohorts"], stages=stages)


def test_a_class_without_a_positive_is_named_or_refused_where_it_is_weighed_by() -> None:
    config = scarce()
    cohort = build_cohorts(config)
    rows = cohort.rows_of("train", ["phantom"])
    absent = [
        name
        for name, column in zip(cohort.pathologies, cohort.labels[rows].T, strict=True)
        if not (column == 1).any()
    ]
    assert absent
    (line,) = without_positives(config, cohort)
    assert f"no training image is positive for {', '.join(absent)};" in line
    weighted = scarce(losses={"weighted_bce": 1})
    with pytest.raises(ConfigError, match=f"training image is positive for {absent[0]}"):
        build_module(weighted, weighted.stages[0], cohort)
    stated = {"weight": 1, "options": {"positive_ratio": 0.2}}
    config = scarce(losses={"weighted_bce": stated})
    module = build_module(config, config.stages[0], cohort)
    assert module.settings.options["weighted_bce"] == {"positive_ratio": 0.2}


def test_the_ratio_is_that_of_the_training_split() -> None:
    config = make({"network": MODEL}, task="classify", losses={"weighted_bce": 1})
    cohort = build_cohorts(config)
    module = build_module(config, config.stages[0], cohort)
    labels = cohort.labels[cohort.rows_of("train", ["phantom"])]
    ratio = module.settings.options["weighted_bce"]["positive_ratio"]
    assert ratio.tolist() == pytest.approx((labels == 1).mean(0).tolist())
    bad = {"weight": 1, "options": {"alpha_positive": [1, 2]}}
    config = make({"network": MODEL}, task="classify", losses={"asymmetric_shift_focal": bad})
    with pytest.raises(ConfigError, match="expected one alpha_positive of loss .* 6 classes"):
        build_module(config, config.stages[0], cohort)

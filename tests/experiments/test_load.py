from pathlib import Path
from typing import Any

import pytest
import yaml

from diagnosis.published.config import DualAttNetConfig
from experiments.check import check_config, not_built
from experiments.load import CONFIGS, dump_config, expand_rounds, load_config, parse_config
from eye_gaze_data.errors import ConfigError

SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def tree(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    stage = {
        "name": "saliency",
        "kind": "cooperative",
        "task": "saliency",
        "model": "network",
        "data": {"cohorts": "phantom", "image_size": [64, 64]},
        "losses": {"kld": 1},
        "epochs": 1,
        "batch_size": 4,
        "monitor": {"metric": "valid/kld", "mode": "min"},
    }
    whole = {
        "name": "test",
        "cohorts": {"phantom": {"kind": "phantom"}},
        "models": {"network": {"kind": "dual_encoder"}},
        "stages": [stage],
    }
    return whole | changes


def with_stage(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    whole = tree()
    whole["stages"][0] |= changes
    return whole


def test_these_configs_are_shipped() -> None:
    runs = {
        "demo",
        "real",
        "mixed",
        "joint",
        "cooperative",
        "egd_paper",
        "egd_paper_legacy",
        "egd_unet",
        "mt_unet",
        "anatomy_xnet",
        "msanet",
        "msaimnet",
        "dualattnet",
        "real_attention",
    }
    assert set(SHIPPED) == runs
    studies = {path.stem for path in (CONFIGS / "study").glob("*.yaml")}
    assert studies == {"attention", "baselines", "cooperative", "detection", "real_attention"}


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads_and_repeats_itself(name: str) -> None:
    config = load_config(Path(name))
    check_config(config)
    again = parse_config(yaml.safe_load(dump_config(config)), Path("elsewhere/config.yaml"))
    assert again == config


def test_systems_that_are_not_built_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not_built(load_config(Path("demo"))) == []
    for name in ("anatomy_xnet", "msanet", "msaimnet", "dualattnet"):
        assert not_built(load_config(Path(name))) == []
    monkeypatch.setattr(DualAttNetConfig, "built", False)
    missing = not_built(load_config(Path("dualattnet")))
    assert any("the model 'dualattnet' is not built yet" in line for line in missing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epocs": 3}, "unknown key 'stages.0.epocs'; did you mean 'epochs'?"),
        ({"epochs": 0}, "'stages.0.epochs': Input should be greater than or equal to 1, found 0"),
        ({"task": "sailency"}, "'stages.0.task'"),
        ({"optimiser": {"lr": float("inf")}}, "should be a finite number, found inf"),
        ({"losses": {"bce": float("inf")}}, "'stages.0.losses.bce"),
        (
            {"schedule": {"name": "plateau", "warmup": 0.3}},
            "a plateau starts at the full rate, found warmup: 0.3; leave it out, or take name: con",
        ),
        (
            {"init": [{"stage": "a", "prefixes": {}}]},
            "'stages.0.init.0.prefixes': Value error, must map at least one prefix, found {}",
        ),
        ({"data": {"cohorts": "phantom"}}, "the key 'stages.0.data.image_size' is missing"),
        (
            {"data": {"cohorts": "phantom", "image_size": [64, 64], "gaze": {"presett": "paper"}}},
            "unknown key 'stages.0.data.gaze.presett'; did you mean 'preset'?",
        ),
        ({"data": {"cohorts": "phantom", "image_size": [64, 64], "train": "test"}}, "data.train"),
        ({"data": {"cohorts": "phantom", "image_size": [64, 64], "valid": "test"}}, "data.valid"),
    ],
)
def test_a_wrong_key_or_value_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_stage(**change), Path("run.yaml"))
    assert message in str(caught.value)
    assert str(caught.value).startswith("run.yaml")


def test_only_what_is_wrong_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(with_stage(epocs=3), Path("run.yaml"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_wrong_key_of_a_cohort_is_named_as_the_file_has_it() -> None:
    own = {"kind": "csv", "images": {"csv": "i.csv", "image": "file"}}
    gaze = {"csv": "g.csv", "image": "file", "durration": "ms"}
    with pytest.raises(ConfigError) as caught:
        parse_config(tree(cohorts={"ours": own | {"gaze": gaze}}), Path("run.yaml"))
    said = str(caught.value)
    assert "unknown key 'cohorts.ours.gaze.durration'; did you mean 'duration'?" in said


def test_an_unknown_key_of_a_model_names_the_nearest() -> None:
    models = {"network": {"kind": "dual_encoder", "backbonne": "resnet18"}}
    with pytest.raises(ConfigError, match="did you mean 'backbone'"):
        parse_config(tree(models=models), Path("run.yaml"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "netwrk"}, "model 'netwrk' does not exist; did you mean 'network'?"),
        ({"data": {"cohorts": "phantm", "image_size": [64, 64]}}, "did you mean 'phantom'?"),
        ({"losses": {"klld": 1}}, "losses 'klld' does not exist; did you mean 'kld'?"),
        ({"losses": {"bce": 1}}, "loss 'bce' is not for task 'saliency'"),
        ({"losses": {"kld": 0}}, "at least one loss with a weight above 0"),
        ({"kind": "pretrain"}, "task 'saliency' does not go with kind 'pretrain'"),
        ({"monitor": {"metric": "valid/auroc", "mode": "max"}}, "'valid/auroc' does not exist"),
        ({"monitor": {"metric": "train/kld", "mode": "min"}}, "'train/kld' does not exist"),
        ({"init": [{"stage": "contrast"}]}, "starts from 'contrast', which is no earlier stage"),
        ({"init": [{"stage": "saliency"}]}, "which is no earlier stage"),
        ({"init": [{}]}, "an init needs either a stage or a file"),
        ({"task": "segment", "losses": {"dice_bce": 1}}, "cannot do task 'segment'"),
    ],
)
def test_a_run_that_cannot_work_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(parse_config(with_stage(**change), Path("run.yaml")))
    assert message in str(caught.value)


def test_overrides_reach_stages_by_name_and_number() -> None:
    values = ["seed=7", "stages.fuse.epochs=2", "stages.0.batch_size=3", "evaluate.grid=32"]
    config = load_config(Path("demo"), values)
    assert (config.seed, config.stage("fuse").epochs, config.evaluate.grid) == (7, 2, 32)
    assert config.stages[0].batch_size == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed", "expected key.key=value"),
        ("stages.fusee.epochs=1", "epochs=1: no entry 'fusee'; did you mean 'fuse'?"),
        ("stages.fuse.epoch=1", "unknown key 'stages.3.epoch'"),
        ("cohorts.phantom.readers=[", "the value is no YAML"),
        ("seed=-1", "greater than or equal to 0"),
    ],
)
def test_a_wrong_override_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(Path("demo"), [text])
    assert message in str(caught.value)


def test_a_missing_config_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="dmeo: no such config file; did you mean 'demo'"):
        load_config(Path("dmeo"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected a mapping of keys, found list"),
        ("just words", "expected a mapping of keys, found str"),
        ("a: [", "expected YAML, cannot read it: while parsing a flow node"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"run.yaml: {message}"):
        load_config(path)


def test_defaults_fill_sections_key_by_key_and_nothing_else() -> None:
    defaults = {
        "data": {"image_size": [32, 32], "fit": "crop", "augment": {"degrees": 3, "shift": 0.1}},
        "optimiser": {"name": "sgd", "lr": 0.5},
        "losses": {"correlation": 1},
    }
    whole = with_stage(
        data={"cohorts": "phantom", "image_size": [64, 64], "augment": {"degrees": 9}},
        optimiser={"lr": 0.1},
    )
    stage = parse_config(whole | {"defaults": defaults}, Path("run.yaml")).stages[0]
    assert stage.data.image_size == (64, 64)
    assert stage.data.fit == "crop"
    assert stage.data.augment is not None
    assert (stage.data.augment.degrees, stage.data.augment.shift) == (9, 0.1)
    assert (stage.optimiser.name, stage.optimiser.lr) == ("sgd", 0.1)
    assert list(stage.losses) == ["kld"]


def test_rounds_are_written_out_and_start_from_the_latest() -> None:
    stages = [
        {"name": "warm"},
        {
            "rounds": 2,
            "stages": [
                {"name": "a", "init": {"stage": "warm"}},
                {"name": "b", "init": {"stage": "a"}},
                {"name": "c", "init": [{"stage": "b"}, {"stage": "c"}]},
            ],
        },
        {"name": "end", "init": {"stage": "b"}},
    ]
    found = expand_rounds(stages, Path("run.yaml"))
    starts = [[init["stage"] for init in stage.get("init", [])] for stage in found]
    assert [stage["name"] for stage in found] == [
        "warm", "a-r1", "b-r1", "c-r1", "a-r2", "b-r2", "c-r2", "end",
    ]  # fmt: skip
    assert starts == [
        [], ["warm"], ["a-r1"], ["b-r1", "c"], ["warm"], ["a-r2"], ["b-r2", "c-r1"], ["b-r2"],
    ]  # fmt: skip


@pytest.mark.parametrize("entry", [{"rounds": 0, "stages": []}, {"rounds": 2, "stage": []}])
def test_wrong_rounds_are_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected {rounds: n >= 1"):
        expand_rounds([entry], Path("run.yaml"))


def test_two_stages_of_one_name_are_refused() -> None:
    whole = tree()
    whole["stages"] = whole["stages"] * 2
    with pytest.raises(ConfigError, match="two stages are called 'saliency'"):
        parse_config(whole, Path("run.yaml"))


def test_relative_paths_are_taken_from_the_config(tmp_path: Path) -> None:
    cohorts = {"films": {"kind": "csv", "images": {"csv": "films.csv", "root": "../pixels"}}}
    whole = with_stage(data={"cohorts": "films", "image_size": [64, 64]}) | {"cohorts": cohorts}
    config = parse_config(whole, tmp_path / "run.yaml")
    images = config.model_dump(mode="json")["cohorts"]["films"]["images"]
    assert images["csv"] == str(tmp_path / "films.csv")
    assert images["root"] == str(tmp_path.parent / "pixels")


def test_a_mix_is_a_name_a_list_or_weights() -> None:
    mixes: list[Any] = ["phantom", ["phantom"], {"phantom": 2.0}]
    found = []
    for mix in mixes:
        whole = with_stage(data={"cohorts": mix, "image_size": [64, 64]})
        found.append(parse_config(whole, Path("run.yaml")).stages[0].data.weights)
    assert found == [None, None, {"phantom": 2.0}]


def test_every_path_of_a_list_is_taken_from_the_config(tmp_path: Path) -> None:
    whole = tree()
    whole["cohorts"]["mimic"] = {
        "kind": "mimic_cxr",
        "root": "mimic",
        "leave_out": ["gaze/master_sheet.csv", "/else/metadata.csv"],
        "uncertain": "self_trained",
        "predictions": "p.csv",
    }
    cohort = parse_config(whole, tmp_path / "run.yaml").cohorts["mimic"].model_dump()
    assert cohort["root"] == tmp_path / "mimic"
    assert cohort["predictions"] == tmp_path / "p.csv"
    assert cohort["leave_out"] == (tmp_path / "gaze/master_sheet.csv", Path("/else/metadata.csv"))

"""The plan: every count and turn by value, and the table that people read."""

from pathlib import Path
from typing import Any

import pytest

from experiments.build import build_network
from experiments.load import load_config
from experiments.plan import declared, plan
from experiments.plan_table import print_plan
from tests.experiments.small import small_config, small_stage

# Of the small network of tests.experiments.small: 12 pooled features, 64 hidden, 6 classes.
FUSION = (8 + 4) * 64 + 64 + 64 * 6 + 6
TASK = {
    "losses": ["bce"],
    "parameters": ["fusion.*"],
    "monitor": {"metric": "valid/auroc", "mode": "max"},
    "stop_after": 3,
    "rate": 0.5,
}


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Any]]:
    fuse = small_stage("fuse", "cooperative", "fuse", init={"stage": "fuse"}, train=["fusion.*"])
    group = {"rounds": 2, "until": "no_gain", "tolerance": 0.25, "stages": [fuse]}
    mixed = {"cohorts": "phantom", "image_size": [32, 32], "supervision": {"both": 1, "gaze": 0}}
    first = small_stage(
        "fuse", "cooperative", "joint", losses={"bce": [1, 0], "kld": [0, 1]}, data=mixed
    )
    last = small_stage(
        "end", "finetune", "joint",
        init={"stage": "fuse", "prefixes": {"encoder_a.": "encoder_a.", "decoder.": "decoder."}},
        train=["encoder_a.*", "fusion.*"], unfreeze={"encoder_a.*": 1}, tasks={"findings": TASK},
        weighting="kendall", schedule={"name": "cosine", "warmup": 0.25}, stop_after=4,
        optimiser={"lr": 1e-3, "rates": {"encoder_a.*": 0.1}},
    )  # fmt: skip
    config = small_config(stages=[first, group, last])
    return {row["stage"]: row for row in plan(config, Path("nowhere"))}


def test_what_trains_and_what_is_frozen_is_counted(rows: dict[str, dict[str, Any]]) -> None:
    network = build_network(small_config().models["network"], 6, 0)
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    encoder = sum(size for name, size in sizes.items() if name.startswith("encoder_a."))
    end = rows["end"]
    assert end["trains"] == {"encoder_a.*": encoder, "fusion.*": FUSION}
    assert (end["trained"], end["frozen"]) == (
        encoder + FUSION,
        sum(sizes.values()) - encoder - FUSION,
    )
    assert rows["fuse"]["trains"] == {"*": sum(sizes.values())}
    assert end["unfreeze"] == {"encoder_a.*": 1}


def test_what_is_handed_over_is_counted_by_tensor(rows: dict[str, dict[str, Any]]) -> None:
    state = build_network(small_config().models["network"], 6, 0).state_dict()
    taken = [name for name in state if name.startswith(("encoder_a.", "decoder."))]
    left = len(state) - len(taken)
    prefixes = {"encoder_a.": "encoder_a.", "decoder.": "decoder."}
    assert rows["end"]["handed_over"] == [
        {"from": "fuse-r2", "best_round": True, "prefixes": prefixes,
         "loaded": len(taken), "fresh": left, "ignored": left},
    ]  # fmt: skip
    inside = rows["fuse-r2"]["handed_over"][0]
    assert (inside["from"], inside["best_round"], inside["loaded"]) == (
        "fuse-r1",
        False,
        len(state),
    )
    assert rows["fuse"]["handed_over"] == []


def test_turns_are_told(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["fuse"]["losses"] == {"bce": (1.0, 0.0), "kld": (0.0, 1.0)}
    assert rows["fuse"]["supervision"] == {
        "both": {"share": 1.0, "images": 24}, "gaze": {"share": 0.0, "images": "-"},
    }  # fmt: skip
    assert rows["fuse-r2"]["round"] == {
        "stage": "fuse", "group": 0, "number": 2, "of": 2, "until": "no_gain", "tolerance": 0.25,
    }  # fmt: skip
    assert rows["end"]["tasks"]["findings"]["rate"] == 0.5
    assert rows["end"]["optimiser"]["rates"] == {"encoder_a.*": 0.1}


def test_the_table_says_all_of_it(
    rows: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    print_plan(list(rows.values()))
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in (
        "bce 1, 0, by epoch", "1 both (of 24)", "round 2 of 2", "until no gain > 0.25",
        f"fusion.* {FUSION:,}", "from epoch 1: encoder_a.*", "or the best round",
        "weighting: kendall", "task findings: bce; fusion.*", "warm-up 25%", "x0.1 encoder_a.*",
        "best min valid/loss", "ends after 4 without gain", "24 images", "from scratch",
    ):  # fmt: skip
        assert text in shown, text
    for text in ("mature after 3 without", "max valid/auroc; rate", "0 gaze (of -)"):
        assert text in shown, text


def test_without_data_nothing_is_counted() -> None:
    config = load_config(Path("cooperative"))
    rows = declared(config, Path("nowhere"))
    assert [row["stage"] for row in rows] == [stage.name for stage in config.stages]
    assert {row["images"] for row in rows} == {"-"}
    assert rows[-1]["supervision"]["both"] == {"share": 0.5, "images": "-"}

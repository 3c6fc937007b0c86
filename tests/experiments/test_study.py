"""Studies: a base, cells and seeds; a table that says what the metrics say; nothing twice."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from experiments.load import CONFIGS
from experiments.study import StudyConfig, load_study
from experiments.sweep import study_table, sweep
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.files import read_json
from tests.experiments.small import small_stage, small_tree

COLUMNS = [
    ("saliency", "cc"), ("saliency", "nss"), ("saliency", "kld"), ("diagnosis", "auroc"),
    ("localisation", "lift"),
]  # fmt: skip


def write(folder: Path, cells: dict[str, Any], **changes: Any) -> Path:  # noqa: ANN401
    """A study beside its base."""
    base = small_tree(stages=[small_stage("joint", "cooperative", "joint", epochs=1)])
    base["evaluate"] |= {"resamples": 100, "cases": 1}
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    study = {"name": "tiny", "base": "base.yaml", "seeds": [0, 3], "cells": cells} | changes
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


SALIENCY = small_stage("saliency", "cooperative", "saliency", epochs=1)
CELLS: dict[str, Any] = {
    "both": {"about": "both tasks"},
    "maps": {"about": "maps alone", "replace": {"stages": [SALIENCY]},
             "set": ["stages.saliency.batch_size=6"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("study")
    path = write(folder, CELLS)
    study, configs = load_study(path)
    return path, folder / "out", sweep(study, configs, folder / "out", say=lambda _: None)


def rows_of(table: str) -> dict[str, list[str]]:
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in table.splitlines()]
    return {line[0]: line[1:] for line in lines}


def value_of(folder: Path, cell: str, seed: int, part: str, name: str, row: str = "model") -> float:
    metrics = read_json(folder / cell / f"seed-{seed}" / "evaluate" / "metrics.json")
    if part not in metrics or "phantom" not in metrics[part]:
        return math.nan
    group = metrics[part]["phantom"]
    if part == "localisation":
        located = group["rows"].get("class_activation" if row == "model" else row)
        return float(located["overall"][name]["value"]) if located else math.nan
    found = group["macro_auroc"] if part == "diagnosis" else group["rows"][row][name]
    return float(found["value"])


def test_the_table_is_mean_and_deviation_of_the_metrics(swept: tuple[Path, Path, str]) -> None:
    _, out, table = swept
    rows = rows_of(table.split("\n\n")[0])
    assert list(rows) == ["cell", "---", "both", "maps", "centre bias"]
    assert rows["cell"] == [
        "CC ↑", "NSS ↑", "KLD ↓", "mean AUROC ↑", "evidence in boxes ↑",
        "seeds", "",
    ]  # fmt: skip
    for cell in ("both", "maps"):
        for shown, (part, name) in zip(rows[cell], COLUMNS, strict=False):
            values = [value_of(out, cell, seed, part, name) for seed in (0, 3)]
            if cell == "maps" and part in {"diagnosis", "localisation"}:
                assert shown == ""
                continue
            expected = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
            assert shown == expected
        assert rows[cell][5:] == ["2", CELLS[cell]["about"]]
    for shown, (part, name) in zip(rows["centre bias"][:3], COLUMNS, strict=False):
        assert shown == f"{value_of(out, 'both', 0, part, name, 'centre_bias'):.3f}"
    assert rows["centre bias"][3] == ""
    floor = value_of(out, "both", 0, "localisation", "lift", "centre_bias")
    assert rows["centre bias"][4] == f"{floor:.3f}"
    assert "times the share of the film that the boxes cover" in table
    assert (out / "table.md").read_text() == table
    results = read_json(out / "study.json")["results"]
    assert {cell: set(runs) for cell, runs in results.items()} == {
        "both": {"0", "3"},
        "maps": {"0", "3"},
    }


def test_differences_are_paired_over_seeds(swept: tuple[Path, Path, str]) -> None:
    _, out, table = swept
    _, differences = table.split("Differences from both", 1)
    rows = {
        line.split("|")[2].strip(): line for line in differences.splitlines() if "| maps" in line
    }
    assert list(rows) == ["CC ↑", "NSS ↑", "KLD ↓"]  # the cell of maps has no diagnosis
    for shown, name in zip(rows.values(), ("cc", "nss", "kld"), strict=True):
        gaps = [
            value_of(out, "maps", seed, "saliency", name)
            - value_of(out, "both", seed, "saliency", name)
            for seed in (0, 3)
        ]
        assert float(shown.split("|")[3]) == pytest.approx(np.mean(gaps), abs=6e-4)


def test_seeds_change_the_network_and_not_the_films(swept: tuple[Path, Path, str]) -> None:
    _, out, _ = swept
    facts = [(out / "both" / f"seed-{seed}" / "splits.csv").read_bytes() for seed in (0, 3)]
    assert facts[0] == facts[1]
    values = [value_of(out, "both", seed, "saliency", "cc") for seed in (0, 3)]
    assert values[0] != values[1]


def test_running_it_again_trains_nothing_and_says_the_same(swept: tuple[Path, Path, str]) -> None:
    path, out, table = swept
    weights = sorted(out.rglob("weights.safetensors")) + sorted(out.rglob("metrics.json"))
    assert len(weights) == 8
    before = [file.stat().st_mtime_ns for file in weights]
    study, configs = load_study(path)
    lines: list[str] = []
    assert sweep(study, configs, out, say=lines.append) == table
    assert [file.stat().st_mtime_ns for file in weights] == before
    assert lines[:2] == ["tiny: both, seed 0", "tiny: maps, seed 0"]


def test_a_study_that_is_stopped_goes_on_and_ends_alike(
    swept: tuple[Path, Path, str], tmp_path: Path
) -> None:
    path, out, table = swept
    copied = tmp_path / "out"
    shutil.copytree(out, copied)
    shutil.rmtree(copied / "both" / "seed-3")
    (copied / "maps" / "seed-3" / "evaluate" / "metrics.json").unlink()
    (copied / "table.md").unlink()
    kept = sorted(copied.rglob("seed-0/**/weights.safetensors"))
    before = [file.stat().st_mtime_ns for file in kept]
    study, configs = load_study(path)

    def stop(line: str) -> None:
        if line == "tiny: maps, seed 3":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(study, configs, copied, say=stop)
    assert not (copied / "table.md").exists()
    trained = copied / "both" / "seed-3" / "01-joint" / "weights.safetensors"
    moment = trained.stat().st_mtime_ns
    assert sweep(study, configs, copied, say=lambda _: None) == table
    assert trained.stat().st_mtime_ns == moment
    assert [file.stat().st_mtime_ns for file in kept] == before


def test_a_cell_is_its_base_with_its_own_keys(tmp_path: Path) -> None:
    path = write(tmp_path, CELLS, set=["evaluate.grid=48"])
    study, configs = load_study(path)
    assert study.seeds == (0, 3)
    assert [config.name for config in configs.values()] == ["tiny-both", "tiny-maps"]
    assert configs["both"].stages[0].task == "joint"
    assert configs["both"].stages[0].batch_size == 8
    (only,) = configs["maps"].stages
    assert (only.task, only.batch_size) == ("saliency", 6)
    assert {config.evaluate.grid for config in configs.values()} == {48}
    assert configs["both"].cohorts == configs["maps"].cohorts


def test_a_shipped_study_loads_by_its_name() -> None:
    study, configs = load_study(Path("study/baselines"))
    assert list(configs) == list(study.cells) == ["staged", "joint", "mt_unet", "smp_unet"]
    assert (CONFIGS / "study" / "baselines.yaml").is_file()
    epochs = {name: sum(s.epochs for s in config.stages) for name, config in configs.items()}
    assert set(epochs.values()) == {30}


@pytest.mark.parametrize(
    ("cells", "changes", "message"),
    [
        (CELLS, {"sedes": [1]}, "unknown key 'sedes'; did you mean 'seeds'"),
        ({"a": {"abuot": "x"}}, {}, "unknown key 'cells.a.abuot'; did you mean 'about'"),
        ({"a": {"replace": {"stagse": []}}}, {}, "unknown key 'stagse'; did you mean 'stages'"),
        ({"a": {"set": ["evaluate.gird=3"]}}, {}, "gird"),
        ({}, {}, "cells"),
        ({"A b": {}}, {}, "cells"),
        (CELLS, {"seeds": []}, "seeds"),
        (CELLS, {"base": "nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_key_is_named(
    tmp_path: Path, cells: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    path = write(tmp_path, cells, **changes)
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    assert message in str(caught.value)
    if message.startswith("unknown key 'stagse'"):
        assert str(caught.value).startswith(f"{path}, cell 'a': ")


def test_a_table_without_results_has_its_cells() -> None:
    study = StudyConfig.model_validate({"name": "s", "base": "b", "cells": {"a": {}}})
    rows = rows_of(study_table(study, {"a": {}}))
    assert (rows["cell"], rows["a"]) == (["seeds", ""], ["0", ""])


def test_a_table_has_the_columns_that_have_a_value() -> None:
    study = StudyConfig.model_validate({"name": "s", "base": "b", "cells": {"a": {}, "b": {}}})
    scores = {"map": {"value": 0.25}, "ap50": {"value": None}}
    metrics = {"saliency": {}, "diagnosis": {}, "detection": {"films": scores}}
    rows = rows_of(study_table(study, {"a": {"0": metrics}, "b": {}}))
    assert rows["cell"] == ["mAP ↑", "seeds", ""]
    assert (rows["a"], rows["b"]) == (["0.250", "1", ""], ["", "0", ""])
    assert "centre bias" not in rows


def test_another_evaluation_is_evaluated_again(
    swept: tuple[Path, Path, str], tmp_path: Path
) -> None:
    _, out, _ = swept
    copied = tmp_path / "out"
    shutil.copytree(out, copied)
    study, configs = load_study(write(tmp_path, CELLS, set=["evaluate.grid=48"]))
    sweep(study, configs, copied, say=lambda _: None)
    metrics = read_json(copied / "both" / "seed-0" / "evaluate" / "metrics.json")
    assert metrics["grid"] == 48

"""Studies: a base, cells and seeds; a table that says what the metrics say; nothing twice."""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from experiments.cli import app
from experiments.compare_diagnosis import MACRO
from experiments.load import CONFIGS
from experiments.study import StudyConfig, load_study
from experiments.study_results import read_results, result_differences, result_rows
from experiments.sweep import read_study, study_table, sweep
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.files import read_json
from tests.experiments.small import small_stage, small_tree
from tests.experiments.test_report import Page, words

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


def test_the_page_has_tables_plots_and_links_and_loads_nothing(
    swept: tuple[Path, Path, str],
) -> None:
    _, out, table = swept
    html = (out / "study.html").read_text()
    page = Page(html)
    text = words(html)
    links = {f"{cell}/seed-{seed}/evaluate/report.html" for cell in CELLS for seed in (0, 3)}
    assert links <= set(page.addresses)
    assert all((out / link).is_file() for link in links)
    assert all(a in links or a.startswith(("#", "data:")) for a in page.addresses)
    assert not re.search(r"https?:(?!//www.w3.org)|//cdn|@import|url\((?!#)", html)
    assert "Runs evaluated 4 of 4" in text
    assert "not finished" not in text
    rows = rows_of(table.split("\n\n")[0])
    assert f"both {' '.join(rows['both'])}" in text
    # What a cell does not predict has a dash.
    assert f"maps {' '.join(value or '–' for value in rows['maps'])}" in text
    assert html.count('<svg class="panel"') == 2
    assert html.count('<svg class="forest"') == 1
    for name in ("curves.svg", "differences.svg"):
        tree = ElementTree.parse(out / name)  # noqa: S314 - our own file
        assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
    drawn = (out / "differences.svg").read_text()
    assert drawn.count('<g class="difference') == 3  # CC, NSS and KLD of the cell of maps


def test_the_page_of_a_study_can_be_written_before_it_is_finished(
    swept: tuple[Path, Path, str], tmp_path: Path
) -> None:
    path, out, table = swept
    copied = tmp_path / "out"
    shutil.copytree(out, copied)
    for name in ("study.html", "table.md", "curves.svg"):
        (copied / name).unlink()
    shutil.rmtree(copied / "maps" / "seed-3" / "evaluate")
    result = CliRunner().invoke(app, ["report", str(copied)])
    assert (result.exit_code, result.output.strip()) == (0, str(copied / "study.html"))
    text = words((copied / "study.html").read_text())
    assert "Runs evaluated 3 of 4" in text
    assert "The study is not finished" in text
    rows = rows_of((copied / "table.md").read_text().split("\n\n")[0])
    assert (rows["both"][5], rows["maps"][5]) == ("2", "1")
    assert rows["both"] == rows_of(table.split("\n\n")[0])["both"]
    assert (copied / "curves.svg").is_file()
    assert read_study(copied) == load_study(path)[0]


def test_a_cell_is_compared_by_what_it_shares_with_the_first(
    swept: tuple[Path, Path, str], tmp_path: Path
) -> None:
    path, out, _ = swept
    study, _ = load_study(path)
    copied = tmp_path / "out"
    shutil.copytree(out, copied)
    # The same films with other gaze: what is left is the diagnosis, which the cell has not.
    for seed in (0, 3):
        file = copied / "maps" / f"seed-{seed}" / "evaluate" / "metrics.json"
        metrics = read_json(file)
        metrics["identity"]["data"] = "other gaze"
        file.write_text(json.dumps(metrics))
    results = read_results(study, copied)
    found = result_differences(study, copied, results, resamples=200)
    assert found["groups"] == {}
    assert found["left_out"] == {"maps": "gaze scores are against another truth"}
    table = copied / "maps" / "seed-0" / "evaluate" / "per_image.csv"
    table.write_text(table.read_text().replace("p00", "q00"))
    found = result_differences(study, copied, results, resamples=200)
    assert found["left_out"] == {"maps": "scored on other films or other labels"}
    # The first cell's AUROC and evidence stay comparable with a cell that has no gaze.
    named: dict[str, Any] = {"a": {}, "b": {}}
    pair = StudyConfig.model_validate({"name": "s", "base": "b", "seeds": [0], "cells": named})
    for name in named:
        shutil.copytree(out / "both" / "seed-0", copied / name / "seed-0")
    bare = copied / "b" / "seed-0" / "evaluate" / "per_image.csv"
    frame = pd.read_csv(bare).drop(columns=["cc", "nss", "kld", "sim", "auc", "sauc", "ig"])
    frame.to_csv(bare, index=False)
    found = result_differences(pair, copied, read_results(pair, copied), resamples=200)
    compared = {one["metric"]: one for one in found["groups"]["phantom"]["comparisons"]}
    assert MACRO in compared
    assert not {"cc", "nss", "kld"} & set(compared)
    assert compared[MACRO]["difference"]["value"] == 0


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
    rows = rows_of(study_table(result_rows(study, {"a": {}}), {"a": {}}))
    assert (rows["cell"], rows["a"]) == (["seeds", ""], ["0", ""])


def test_a_table_has_the_columns_that_have_a_value() -> None:
    study = StudyConfig.model_validate({"name": "s", "base": "b", "cells": {"a": {}, "b": {}}})
    scores = {"map": {"value": 0.25}, "ap50": {"value": None}}
    metrics = {"saliency": {}, "diagnosis": {}, "detection": {"films": scores}}
    results: dict[str, dict[str, Any]] = {"a": {"0": metrics}, "b": {}}
    rows = rows_of(study_table(result_rows(study, results), results))
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

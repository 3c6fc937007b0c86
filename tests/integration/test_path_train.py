"""Training on a gaze cohort: from the download to an evaluated run, by commands alone."""

import csv
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import load_file

from eye_gaze_data.files import read_json, sha256_of_file
from tests.integration.commands import gazedx
from tests.integration.conftest import PATIENTS, Walk, overrides

CLASSES = ("Normal", "CHF", "pneumonia")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_init_recognises_the_download(walk: Walk) -> None:
    assert walk.said["init"].startswith("EGD-CXR: wrote ")
    tree = yaml.safe_load((walk.folder / "egd.yaml").read_text())
    assert tree["cohorts"]["egd"]["kind"] == "egd_cxr"
    assert tree["cohorts"]["egd"]["images"] == {
        "root": str(walk.folder / "mimic"), "layout": "dicom",
    }  # fmt: skip
    assert [stage["task"] for stage in tree["stages"]] == ["classify", "saliency", "fuse"]


def test_data_check_counts_what_the_files_hold(walk: Walk) -> None:
    """Against the published tables, read without gazedx."""
    said = walk.said["data check"]
    gaze = [row for row in rows_of(walk.data / "eye_gaze.csv") if len(row["DICOM_ID"]) == 44]
    on_film = [row for row in gaze if min(int(row["X_ORIGINAL"]), int(row["Y_ORIGINAL"])) >= 0]
    assert f"points: {len(on_film)}\n" in said
    assert f"{len(gaze) - len(on_film)} of " in said
    sheet = rows_of(walk.data / "master_sheet.csv")
    assert f"images: {PATIENTS}\n" in said
    for name in CLASSES:
        part = re.search(rf"    {name}\n((?: {{6}}.+\n)+)", said)
        assert part is not None
        found = sum(int(count) for count in re.findall(r"positive (\d+)", part[1]))
        assert found == sum(int(row[name]) for row in sheet), name


def test_config_check_counts_what_trains(walk: Walk) -> None:
    """The bias and weights of one linear layer; everything else of the fuse stage is frozen."""
    said = walk.said["config check"]
    n_train = Counter(row["split"] for row in rows_of(walk.run / "splits.csv"))["train"]
    weights = load_file(walk.run / "03-fuse" / "weights.safetensors")
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    sizes = {k: v.size for k, v in weights.items() if not k.endswith(statistics)}
    trained = sum(size for name, size in sizes.items() if name.startswith("fusion."))
    frozen = sum(sizes.values()) - trained
    line = f"stage fuse: {n_train} training images, {trained} parameters trained, {frozen} frozen"
    assert line in said


def test_splits_are_by_patient(walk: Walk) -> None:
    rows = rows_of(walk.run / "splits.csv")
    assert len(rows) == PATIENTS
    assert len({(row["patient_id"], row["split"]) for row in rows}) == PATIENTS
    assert {row["split"] for row in rows} == {"train", "valid", "test"}


def test_each_stage_ends_at_its_own_best_epoch(walk: Walk) -> None:
    for folder, metric in (
        ("01-classify", "valid/loss"), ("02-saliency", "valid/kld"), ("03-fuse", "valid/loss"),
    ):  # fmt: skip
        record = read_json(walk.run / folder / "stage.json")
        values = [float(row[metric]) for row in rows_of(walk.run / folder / "metrics.csv")]
        assert len(values) == record["epochs"] == 2
        assert record["best_epoch"] == int(np.argmin(values))
        assert abs(record["monitor"]["value"] - min(values)) < 1e-6
        assert record["weights_sha256"] == sha256_of_file(walk.run / folder / "weights.safetensors")


def test_a_stage_moves_what_it_trains_and_nothing_else(walk: Walk) -> None:
    before = load_file(walk.run / "02-saliency" / "weights.safetensors")
    after = load_file(walk.run / "03-fuse" / "weights.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved
    assert all(name.startswith("fusion.") for name in moved)


def test_the_gaze_stage_learns(walk: Walk) -> None:
    """Two epochs are enough to leave the uniform map behind, and a random ranking."""
    metrics = read_json(walk.run / "evaluate" / "metrics.json")["saliency"]["egd"]["rows"]
    assert metrics["model"]["kld"]["value"] < metrics["uniform"]["kld"]["value"]
    assert metrics["model"]["nss"]["low"] > 0


def test_the_same_command_again_trains_nothing(walk: Walk, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(walk.run, run)
    before = {p: (p.stat().st_mtime_ns, sha256_of_file(p)) for p in run.glob("*/*.safetensors")}
    said = gazedx("run --until fuse", walk.folder / "egd.yaml", "--out", run, *overrides())
    assert "epoch" not in said
    after = {p: (p.stat().st_mtime_ns, sha256_of_file(p)) for p in run.glob("*/*.safetensors")}
    assert before == after
    status = gazedx("status", run).splitlines()
    assert [line.split()[3] for line in status[1:]] == ["complete"] * 3


def test_films_that_were_prepared_train_the_same(walk: Walk, tmp_path: Path) -> None:
    """Films of 8 bits in a store, otherwise the same stage: its losses differ by rounding."""
    store, config = tmp_path / "store", tmp_path / "prepared.yaml"
    said = gazedx("data prepare --workers 1", walk.folder / "egd.yaml", "--out", store)
    assert f"use it as: egd: {{kind: prepared, root: {store}}}" in said
    assert "a folder that gazedx data prepare wrote" in gazedx("init", store, "--out", config)
    gazedx("run --until classify --quiet", config, "--out", tmp_path / "run", *overrides())
    name = "01-classify/metrics.csv"
    for ours, theirs in zip(
        rows_of(walk.run / name), rows_of(tmp_path / "run" / name), strict=True
    ):
        for key in ("train/loss", "valid/loss"):
            assert abs(float(ours[key]) - float(theirs[key])) < 0.02, key
    assert (tmp_path / "run" / "splits.csv").read_text() == (walk.run / "splits.csv").read_text()

"""What a contrast stage leaves: scores, a projector, an encoder that timm loads; resume."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from diagnosis.config import DualEncoderConfig
from experiments.build import build_cohorts, build_module, build_network
from experiments.config import RunConfig
from experiments.embeddings import embed, save_encoder, watched_rows
from experiments.load import dump_config
from experiments.runner import run
from experiments.stage_data import stage_dataset
from eye_gaze_data.files import read_json
from pretrain.watch import watch
from saliency.module import TaskModule
from tests.experiments.small import MODEL, small_config, small_stage

EPOCHS = 3


def contrast_config(loss: str, **changes: Any) -> RunConfig:  # noqa: ANN401
    stage = small_stage("contrast", "pretrain", "contrast", epochs=EPOCHS)
    data = {**stage["data"], "views": 2, "augment": "radiograph"}
    losses = {loss: {"options": {"hidden": 16, "out": 8}}}
    stage |= {"data": data, "train": ["encoder_a.*"], "losses": losses}
    stage["monitor"] = {"metric": "valid/knn", "mode": "max"}
    return small_config(stages=[stage | changes])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contrast") / "run"
    watched = {"watch": {"every": 2, "films": 12, "neighbours": 3}}
    run(contrast_config("byol", contrast=watched), folder, say=lambda _: None)
    return folder / "01-contrast"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_scores_are_those_of_the_best_weights_on_films_as_they_are(finished: Path) -> None:
    table = rows_of(finished / "metrics.csv")
    assert len(table) == EPOCHS
    record = read_json(finished / "stage.json")
    assert record["best_epoch"] in {1, 2}
    names = ("knn", "probe", "deviation", "rank")
    assert all(table[0][f"valid/{name}"] == "" for name in names), (
        "every second epoch, and the last"
    )
    config = contrast_config("byol", contrast={"watch": {"films": 12, "neighbours": 3}})
    stage, cohort = config.stages[0], build_cohorts(config)
    module = build_module(config, stage, cohort)
    module.network.load_state_dict(load_file(finished / "weights.safetensors"), strict=False)
    dataset = stage_dataset(config, stage, cohort)
    parts = []
    for split in ("train", "valid"):
        rows = watched_rows(stage, dataset, split)
        assert len(rows) == min(12, int((cohort.table["split"] == split).sum()))
        assert set(cohort.table["split"].iloc[rows]) == {split}
        parts.append(embed(module, dataset, rows, 5))
    expected = watch(parts[0].vectors, parts[0].labels, parts[1].vectors, parts[1].labels, 3)
    best = table[record["best_epoch"]]
    for name in names:
        assert float(best[f"valid/{name}"]) == pytest.approx(expected[name], rel=1e-4)
    assert record["monitor"]["value"] == pytest.approx(expected["knn"], rel=1e-4)
    assert float(best["valid/byol"]) < 0.9
    assert module.training, "embedding leaves the mode as it was"


def test_the_projector_shows_every_film_of_validation(finished: Path) -> None:
    folder = finished / "tensorboard" / "projector"
    text = (folder / "projector_config.pbtxt").read_text()
    assert text.count("embeddings {") == 1
    for file in ("tensors.tsv", "metadata.tsv", "sprite.png"):
        assert f"00000/contrast/{file}" in text
        assert (folder / "00000" / "contrast" / file).is_file()
    vectors = np.loadtxt(folder / "00000" / "contrast" / "tensors.tsv", delimiter="\t")
    lines = (folder / "00000" / "contrast" / "metadata.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["image", "cohort", "findings"]
    config = contrast_config("byol", contrast={"watch": {"films": 12}})
    stage, cohort = config.stages[0], build_cohorts(config)
    module = build_module(config, stage, cohort)
    module.network.load_state_dict(load_file(finished / "weights.safetensors"), strict=False)
    dataset = stage_dataset(config, stage, cohort)
    expected = embed(module, dataset, watched_rows(stage, dataset, "valid"), 8)
    np.testing.assert_allclose(vectors, expected.vectors, rtol=1e-4, atol=1e-5)
    for row, line, labels in zip(expected.rows, lines[1:], expected.labels, strict=True):
        names = [n for n, v in zip(cohort.pathologies, labels, strict=True) if v == 1]
        findings = ", ".join(names) or "none"
        assert line.split("\t") == [cohort.table["image_id"].iat[row], "phantom", findings]


def test_timm_loads_the_encoder_and_gives_the_same_features(finished: Path) -> None:
    path = finished / "encoder.safetensors"
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    assert (facts["timm"], facts["in_chans"]) == ("densenet121", "3")
    model: Any = timm.create_model(
        facts["timm"], in_chans=int(facts["in_chans"]), num_classes=0,
        checkpoint_path=str(path), **json.loads(facts["options"]),
    ).eval()  # fmt: skip
    config = contrast_config("byol")
    network = build_network(config.models["network"], 3, seed=5)
    network.load_state_dict(load_file(finished / "weights.safetensors"), strict=False)
    encoder = network.eval().get_submodule("encoder_a")
    film = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        taps = encoder(film)
        found = model.forward_features(film.expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, taps.classifier)
    assert found.std() > 0.01


@pytest.mark.parametrize(
    ("backbone", "absent"),
    [("resnet10t", set()), ("convnext_atto", {"head.norm.weight", "head.norm.bias"})],
)
def test_encoders_behind_features_only_get_their_names_back(
    backbone: str, absent: set[str], tmp_path: Path
) -> None:
    model = DualEncoderConfig.model_validate(
        {**MODEL, "backbone": backbone, "backbone_options": {}}
    )
    network = build_network(model, 2, seed=1).eval()
    save_encoder(tmp_path / "encoder.safetensors", model, network.state_dict())
    other: Any = timm.create_model(backbone, num_classes=0).eval()
    missing, unexpected = other.load_state_dict(
        load_file(tmp_path / "encoder.safetensors"), strict=False
    )
    assert set(missing) == absent
    assert unexpected == []
    film = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = network.get_submodule("encoder_a")(film).classifier
        torch.testing.assert_close(other.forward_features(film.expand(-1, 3, -1, -1)), expected)


@pytest.mark.parametrize("loss", ["byol", "vicreg"])
def test_an_interrupted_stage_ends_in_the_same_bits(
    loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads, their statistics and the momentum encoder are part of the checkpoint."""
    config = contrast_config(loss, contrast={"encoder": "both"}, train=["encoder_*"])
    run(config, tmp_path / "whole", say=lambda _: None)
    step, calls = TaskModule.training_step, 0

    def interrupted(*arguments: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == 5:
            raise SystemExit(143)
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(TaskModule, "training_step", interrupted)
        with pytest.raises(SystemExit):
            run(config, tmp_path / "cut", say=lambda _: None)
    # What a killed process may leave of the last step.
    (tmp_path / "cut" / "01-contrast" / "tensorboard" / "projector").mkdir(parents=True)
    run(config, tmp_path / "cut", say=lambda _: None)
    folders = [tmp_path / name / "01-contrast" for name in ("whole", "cut")]
    one, other = (load_file(folder / "weights.safetensors") for folder in folders)
    assert one.keys() == other.keys()
    assert {name.split(".")[0] for name in one} == {"encoder_a", "encoder_b"}
    assert all(torch.equal(one[name], other[name]) for name in one)
    logs = [(folder / "metrics.csv").read_text() for folder in folders]
    assert logs[0] == logs[1]


def test_a_later_stage_starts_from_either_encoder_or_both(finished: Path, tmp_path: Path) -> None:
    weights = finished / "weights.safetensors"
    init = [{"file": str(weights), "prefixes": {"encoder_a.": "encoder_a."}}]
    stage = small_stage(
        "classify", "pretrain", "classify", init=init, epochs=1,
        train=["encoder_classifier.*"],
    )  # fmt: skip
    run(small_config(stages=[stage]), tmp_path / "run", say=lambda _: None, last="classify")
    found = load_file(tmp_path / "run" / "01-classify" / "weights.safetensors")
    for name, value in load_file(weights).items():
        assert torch.equal(found[name], value), name


@pytest.mark.slow
@pytest.mark.ddp
def test_two_processes_log_the_scores_of_all_films(tmp_path: Path) -> None:
    """What two processes watched together is what one finds in their weights."""
    stage = contrast_config("nt_xent", contrast={"watch": {"neighbours": 3}}).stages[0]
    config = small_config(
        stages=[stage.model_dump(mode="json")], trainer={"device": "cpu", "devices": 2}
    )
    path, out = tmp_path / "run.yaml", tmp_path / "run"
    path.write_text(dump_config(config))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
        "29523", "-m", "experiments", "pretrain", str(path), "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-9000:]
    folder = out / "01-contrast"
    record = read_json(folder / "stage.json")
    best = rows_of(folder / "metrics.csv")[record["best_epoch"]]
    cohort = build_cohorts(config)
    module = build_module(config, stage, cohort)
    module.network.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    dataset = stage_dataset(config, stage, cohort)
    bank, queries = (
        embed(module, dataset, watched_rows(stage, dataset, split), 8)
        for split in ("train", "valid")
    )
    expected = watch(bank.vectors, bank.labels, queries.vectors, queries.labels, 3)
    for name, value in expected.items():
        assert float(best[f"valid/{name}"]) == pytest.approx(value, rel=1e-4), name
    assert (folder / "encoder.safetensors").is_file()

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from experiments import cli, prepare_data
from experiments.load import load_config
from experiments.own_tables import Found
from experiments.prepare_data import cohorts_of, options, usable_cores
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.files import read_json
from eye_gaze_data.open_cohort import open_cohort
from tests.experiments.small import MODEL, small_stage
from tests.eye_gaze_data.store.small import N, digest, write_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = write_files(tmp_path / "files")
    stage = small_stage("joint", "cooperative", "joint", batch_size=6, epochs=1)
    stage["data"] = {"cohorts": "ours", "image_size": [32, 32], "gaze": {"preset": "fixation"}}
    tree = {
        "name": "ours",
        "classes": ["Spot"],
        "cohorts": {"ours": json.loads(config.model_dump_json())},
        "models": {"network": MODEL},
        "stages": [stage],
        "evaluate": {"grid": 48, "resamples": 200, "cases": 2},
        "trainer": {"device": "cpu"},
    }
    (tmp_path / "ours.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path


def gazedx(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["gazedx", *map(str, words)])
    try:
        cli.main()
    except SystemExit as exit_:
        return int(exit_.code or 0)
    return 0


def test_prepare_then_train(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a user does: prepare, put the folder into the config, run."""
    config, out = folder / "ours.yaml", folder / "ready"
    assert gazedx(monkeypatch, "data", "prepare", config, "--out", out, "--size", 40,
                  "--workers", 1) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert f"images: {N}" in said
    assert f"ours: {{kind: prepared, root: {out}}}" in said
    tree = yaml.safe_load(config.read_text())
    tree["cohorts"]["ours"] = {"kind": "prepared", "root": "ready"}
    config.write_text(yaml.safe_dump(tree))
    run = folder / "run"
    assert gazedx(monkeypatch, "run", config, "--out", run) == 0
    metrics = read_json(run / "evaluate" / "metrics.json")
    assert metrics["saliency"]["ours"]["n_images"] > 0
    manifest = read_json(run / "manifest.json")
    assert manifest["files"] == []
    assert set(manifest["cohorts"]) == {"ours"}
    assert gazedx(monkeypatch, "data", "check", config, "--json") == 0
    assert gazedx(monkeypatch, "data", "show", config, "--out", folder / "sheet.png") == 0


def test_summary_as_json_and_a_second_call(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("data", "prepare", folder / "ours.yaml", "--out", folder / "out", "--workers", 1)
    assert gazedx(monkeypatch, *words, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["ours"]["folder"] == str(folder / "out")
    assert done["ours"]["summary"] == read_json(folder / "out" / "summary.json")
    before = digest(folder / "out")
    assert gazedx(monkeypatch, *words, "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert digest(folder / "out") == before


def test_several_cohorts_get_a_folder_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = yaml.safe_load((folder / "ours.yaml").read_text())
    tree["cohorts"]["drawn"] = {"kind": "phantom", "n_patients": 3, "height": 48, "width": 48}
    (folder / "two.yaml").write_text(yaml.safe_dump(tree))
    words = ("data", "prepare", folder / "two.yaml", "--workers", 1, "--quiet")
    assert gazedx(monkeypatch, *words, "--out", folder / "out") == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["drawn", "ours"]
    assert gazedx(monkeypatch, *words, "--out", folder / "one", "--cohort", "drawn") == 0
    assert digest(folder / "one") == digest(folder / "out" / "drawn")


def test_skip_on_the_command_line_goes_for_tables_and_films(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "files" / "f3.png").unlink()
    film = folder / "files" / "f5.png"
    film.write_bytes(film.read_bytes()[:-200])
    gaze = folder / "files" / "gaze.csv"
    gaze.write_text(gaze.read_text() + "f1.png,4,5,-0.2,a\n")
    words = ("data", "prepare", folder / "ours.yaml", "--out", folder / "out", "--workers", 1)
    assert gazedx(monkeypatch, *words) == 1
    error = capsys.readouterr().err
    assert "films.csv, line 5: " in error
    assert "f3.png: the file does not exist (on_error: skip leaves it out and goes on)" in error
    assert gazedx(monkeypatch, *words, "--on-error", "skip", "--json") == 0
    summary = json.loads(capsys.readouterr().out)["ours"]["summary"]
    assert summary["images"] == N - 2
    assert len(summary["problems"]) == 3
    for problem, part in zip(
        summary["problems"], ["f3.png", "must be positive, found '-0.2'", "f5.png"], strict=True
    ):
        assert part in problem
    # What follows from a film that was left out is said too.
    assert any("name images outside the cohort" in note for note in summary["notes"])


def test_odd_options_and_names_are_usage_errors(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--on-error must be stop or skip, got 'ignore'"):
        options(1024, 8, "ignore")
    for size, depth in ((8, 8), (-1, 8), (64, 12)):
        with pytest.raises(ConfigError, match="--size must be 0"):
            options(size, depth, None)
    store, policy = options(0, 16, "skip")
    assert (store.size, store.depth, policy) == (None, 16, "skip")
    with pytest.raises(ConfigError, match="no cohort 'our'; did you mean 'ours'"):
        cohorts_of(folder / "ours.yaml", ["our"])
    assert usable_cores() >= 1


def test_a_folder_is_recognised_and_prepared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, out = folder / "files", folder / "out"
    words = ("data", "prepare", files, "--out", out, "--workers", 1, "--json")
    assert gazedx(monkeypatch, *words) == 0
    summary = json.loads(capsys.readouterr().out)["ours"]["summary"]
    assert summary["images"] == N
    assert summary["gaze"]["readers"] == 2
    config = cohorts_of(out)["ours"]
    assert config.kind == "prepared"
    assert len(open_cohort(config, "again")) == N
    bare = folder / "bare"
    bare.mkdir()
    (bare / "a.png").write_bytes((files / "f0.png").read_bytes())
    with pytest.raises(ConfigError, match="films without a table; gazedx init"):
        cohorts_of(bare)


def test_a_folder_that_needs_settings_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found("films", "A data set", {"kind": "egd_cxr", "root": str(tmp_path)})
    monkeypatch.setattr(prepare_data, "recognise", lambda _: found)
    message = r"A data set needs settings of yours \(egd_cxr.images: Field required\); gazedx init"
    with pytest.raises(ConfigError, match=message):
        cohorts_of(tmp_path)


def test_a_film_in_two_splits_under_two_ids_is_refused_across_cohorts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same film in the training split of one cohort and the test split of another."""
    tree = yaml.safe_load((folder / "ours.yaml").read_text())
    write_files(folder / "others", 9)
    other = json.loads(json.dumps(tree["cohorts"]["ours"]).replace("/files/", "/others/"))
    tree["cohorts"]["others"] = {**other, "patient_namespace": "elsewhere"}
    rows = (folder / "others" / "films.csv").read_text()
    (folder / "others" / "films.csv").write_text(rows.replace("p0,train", "p0,test"))
    (folder / "two.yaml").write_text(yaml.safe_dump(tree))
    load_config(folder / "two.yaml")
    assert gazedx(monkeypatch, "data", "check", folder / "two.yaml") == 1
    error = capsys.readouterr().err
    assert "2 film(s) stand under two ids in different splits" in error
    assert "'others/f0.png' and 'ours/f0.png' (two patients, test and train)" in error


def test_shared_data_are_prepared_without_loss(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six full-size originals and four DICOM files; the rest is a slow test."""
    folders = [shared_data / "real-cxr" / part for part in ("full", "dicom")]
    paths = [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix != ".csv"]
    rows = ["image,who", *(f"{path.parent.name}/{path.name},{path.stem}" for path in paths)]
    assert len(rows) == 1 + 6 + 4
    (tmp_path / "films.csv").write_text("\n".join(rows))
    images = {"csv": "films.csv", "root": str(shared_data / "real-cxr"), "patient": "who"}
    stage = small_stage(
        "a", "cooperative", "saliency", data={"cohorts": "x", "image_size": [32, 32]}
    )
    cohorts = {"x": {"kind": "csv", "images": images}}
    tree = {"name": "x", "cohorts": cohorts, "models": {"network": MODEL}, "stages": [stage]}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(tree))
    words = ("data", "prepare", tmp_path / "x.yaml", "--quiet", "--workers", 1)
    assert gazedx(monkeypatch, *words, "--out", tmp_path / "all", "--size", 0, "--depth", 16) == 0
    (ready,) = cohorts_of(tmp_path / "all").values()
    (direct,) = cohorts_of(tmp_path / "x.yaml").values()
    stored, read = open_cohort(ready, "x"), open_cohort(direct, "x")
    assert len(stored) == 10
    for row in range(10):
        pixels = read.images(row)
        assert stored.images(row).shape == pixels.shape == stored.size_of(row)
        assert np.abs(stored.images(row) - pixels).max() <= 0.51 / 65535

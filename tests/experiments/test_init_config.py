import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from experiments import cli
from experiments.check import check_config
from experiments.init_config import init_config
from experiments.load import load_config
from experiments.prepare_data import cohorts_of
from experiments.recognise import recognise
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.layouts.chexpert import write_chexpert
from eye_gaze_data.layouts.egd_cxr import write_egd_cxr
from eye_gaze_data.layouts.mimic_cxr import write_mimic_cxr
from eye_gaze_data.layouts.nih_chestxray14 import write_nih_chestxray14
from eye_gaze_data.layouts.reflacx import write_reflacx
from eye_gaze_data.layouts.siim_covid19 import write_siim_covid19
from eye_gaze_data.layouts.vindr_cxr import write_vindr_cxr
from eye_gaze_data.open_cohort import open_cohort
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort
from eye_gaze_data.store.config import StoreConfig
from eye_gaze_data.store.prepare import prepare
from tests.eye_gaze_data.store.small import digest, film, write_files

PHANTOM = PhantomConfig(n_patients=6, height=64, width=48, readers=2)
EXCLUSIVE = PhantomConfig(
    n_patients=6, height=64, width=48, readers=1, labels="exclusive", gaze="samples"
)

LAYOUTS: dict[str, Callable[[Path], object]] = {
    "egd_cxr": lambda root: write_egd_cxr(root, EXCLUSIVE, films=root.parent / "mimic"),
    "reflacx": lambda root: write_reflacx(root, PHANTOM, films=root.parent / "mimic"),
    "nih_chestxray14": lambda root: write_nih_chestxray14(root, PHANTOM),
    "chexpert": lambda root: write_chexpert(root, PHANTOM),
    "mimic_cxr": lambda root: write_mimic_cxr(root, PHANTOM),
    "vindr_cxr": lambda root: write_vindr_cxr(root, PHANTOM),
    "vindr_cxr kaggle": lambda root: write_vindr_cxr(root, PHANTOM, layout="kaggle"),
    "siim_covid19": lambda root: write_siim_covid19(root, PHANTOM),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_layout_is_recognised_opened_and_prepared(tmp_path: Path, name: str) -> None:
    """As downloaded: init writes a config that runs, prepare writes a cohort that opens."""
    LAYOUTS[name](tmp_path / "data")
    path, _ = init_config(tmp_path / "data", tmp_path / "run.yaml")
    config = load_config(path)
    check_config(config)
    ((cohort_name, cohort_config),) = config.cohorts.items()
    assert cohort_config.kind == name.split()[0]
    cohort = open_cohort(cohort_config, cohort_name)
    assert len(cohort)
    tasks = {stage.task for stage in config.stages}
    assert ("saliency" in tasks) == (cohort.gaze is not None)
    assert ("classify" in tasks) == bool(cohort.pathologies)
    losses = {loss for stage in config.stages for loss in stage.losses}
    assert ("cross_entropy" in losses) == cohort.exclusive
    summary = prepare(cohort, tmp_path / "ready", StoreConfig(size=32))
    assert summary["images"] == len(cohort)
    assert summary["problems"] == []


def test_a_folder_that_unpacked_into_one_more_is_recognised(tmp_path: Path) -> None:
    write_nih_chestxray14(tmp_path / "archive" / "nih", PHANTOM)
    assert recognise(tmp_path / "archive").cohort["root"] == str(tmp_path / "archive" / "nih")


def test_films_beside_a_gaze_cohort_are_found(tmp_path: Path) -> None:
    gaze = tmp_path / "reflacx"
    (gaze / "main_data").mkdir(parents=True)
    (gaze / "main_data" / "metadata_phase_2.csv").write_text("id\n")
    found = recognise(gaze)
    assert found.cohort["images"] == {"root": str(gaze / "images"), "layout": "by_id"}
    assert found.cohort["phases"] == [2]
    study = tmp_path / "mimic" / "files" / "p10" / "p10000032" / "s1"
    study.mkdir(parents=True)
    (study / "a.jpg").write_bytes(b"film")
    images = {"root": str(tmp_path / "mimic"), "layout": "jpg"}
    assert recognise(gaze).cohort["images"] == images


def test_tables_of_ones_own_are_recognised_with_all_that_stands_beside_them(tmp_path: Path) -> None:
    write_files(tmp_path / "ours", 12)
    path, title = init_config(tmp_path / "ours", tmp_path / "ours.yaml")
    assert title == "a table of images"
    text = path.read_text()
    assert "# `skip` leaves out what cannot be read and lists it" in text
    tree = yaml.safe_load(text)["cohorts"]["ours"]
    root = str(tmp_path / "ours")
    assert tree["images"] == {
        "csv": f"{root}/films.csv", "root": root, "image": "image", "split": "split",
        "labels": ["Spot"],
    }  # fmt: skip
    assert tree["gaze"]["duration_unit"] == "s"
    assert tree["gaze"]["reader"] == "reader"
    assert tree["masks"]["organ"] == "structure"
    assert tree["boxes"]["corners"] == ["x1", "y1", "x2", "y2"]
    cohort = open_cohort(load_config(path).cohorts["ours"], "ours")
    assert (len(cohort), cohort.organs) == (12, ("heart", "lung"))
    assert cohort.gaze is not None
    assert cohort.boxes is not None


@pytest.mark.parametrize("labels", [True, False])
def test_without_labels_gaze_teaches_both_encoders(tmp_path: Path, labels: bool) -> None:
    write_files(tmp_path / "ours", 12)
    if not labels:
        table = pd.read_csv(tmp_path / "ours" / "films.csv").drop(columns="Spot")
        table.to_csv(tmp_path / "ours" / "films.csv", index=False)
    path, _ = init_config(tmp_path / "ours", tmp_path / "ours.yaml")
    trained = load_config(path).stage("saliency").train
    rest = ("encoder_b.*", "decoder.*", "saliency_head.*")
    assert trained == (rest if labels else ("encoder_a.*", *rest))


def test_films_without_a_table_get_one(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("b/two.png", "a.png"):
        (tmp_path / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(film(1)).save(tmp_path / "films" / name)
    path, title = init_config(tmp_path / "films", tmp_path / "x" / "run.yaml")
    assert title == "films without a table"
    assert (tmp_path / "x" / "images.csv").read_text() == "image\na.png\nb/two.png\n"
    cohort = open_cohort(load_config(path).cohorts["ours"], "ours")
    assert cohort.table["image_id"].tolist() == ["a.png", "b/two.png"]
    with pytest.raises(ConfigError, match=r"images.csv: it is there already"):
        init_config(tmp_path / "films", tmp_path / "x" / "other.yaml")


def test_a_prepared_folder_is_recognised(tmp_path: Path) -> None:
    prepare(phantom_cohort(PHANTOM, "drawn"), tmp_path / "ready")
    before = digest(tmp_path / "ready")
    found = recognise(tmp_path / "ready")
    assert found.cohort == {"kind": "prepared", "root": str(tmp_path / "ready")}
    assert (found.name, found.labels, found.gaze, found.exclusive) == ("drawn", True, True, False)
    assert len(open_cohort(cohorts_of(tmp_path / "ready")["drawn"], "drawn")) == 6
    assert digest(tmp_path / "ready") == before


def test_nothing_is_overwritten_and_nothing_unknown_is_guessed(tmp_path: Path) -> None:
    write_files(tmp_path / "ours", 4)
    (tmp_path / "run.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="run.yaml: it is there already; choose another --out"):
        init_config(tmp_path / "ours", tmp_path / "run.yaml")
    assert (tmp_path / "run.yaml").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="no known data set: looked for the tables of EGD-CXR"):
        recognise(tmp_path / "empty")
    with pytest.raises(ConfigError, match="expected a folder with a data set, found none"):
        recognise(tmp_path / "nowhere")


def test_init_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_files(tmp_path / "ours", 4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gazedx", "init", "ours"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out == "a table of images: wrote ours.yaml; now: gazedx data check ours.yaml\n"
    assert (tmp_path / "ours.yaml").is_file()

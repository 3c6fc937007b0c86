"""A run that cannot start is one line on the command line, and no file of a run changes."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments import cli
from experiments.load import dump_config
from experiments.weights import save_weights
from eye_gaze_data.files import sha256_of_file
from tests.experiments.small import small_config, small_stage, small_tree

Tree = dict[str, Any]
Refused = Callable[..., str]
HOLDER = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def files(folder: Path) -> dict[str, str]:
    """Hash of each file of a run folder; the note of the last start and the lock are no results."""
    return {
        str(path.relative_to(folder)): sha256_of_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"run.json", ".lock"}
    }


@pytest.fixture
def refused(
    finished_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Refused:
    """Try a config on a copy of the finished run, spoilt before: the one line that is said."""

    def attempt(
        tree: Tree,
        command: str = "run",
        *words: str,
        spoil: Callable[[Path], object] = lambda _: None,
    ) -> str:
        config, folder = tmp_path / "run.yaml", tmp_path / "run"
        config.write_text(dump_config(small_config(**tree)))
        shutil.copytree(finished_run, folder)
        spoil(folder)
        before = files(folder)
        line = ["gazedx", command, str(config), "--out", str(folder), "--quiet", *words]
        monkeypatch.setattr(sys, "argv", line)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert out == ""
        assert ended.value.code in (1, 2)
        assert files(folder) == before
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err.removeprefix("error: ").rstrip("\n").replace(str(folder), "RUN")

    return attempt


def one_stage(*stage: str, **changes: Any) -> Tree:  # noqa: ANN401
    return {"stages": [small_stage(*stage, **changes)]}


def phantom(**changes: Any) -> Tree:  # noqa: ANN401
    return {"cohorts": {"phantom": small_tree()["cohorts"]["phantom"] | changes}}


POSITIVES = {"contrast": {"positives": "patient"}}


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (
            one_stage("contrast", "pretrain", "contrast", **POSITIVES),
            "stage 'contrast': contrast.positives 'patient' needs a patient with two training films"
            " and a second patient; found 24 patient(s) with at most 1 film(s)",
        ),
        (
            one_stage("contrast", "pretrain", "contrast") | phantom(with_labels=False),
            "stage 'contrast': no training image states every label, so there are no pairs to "
            "contrast; choose 'classes' that are stated, or contrast.positives: augmentation",
        ),
        (
            one_stage("gaze", "cooperative", "saliency") | phantom(gaze="none"),
            "stage 'gaze': no training image of its cohorts has gaze, and loss 'kld' needs it; "
            "choose other cohorts or losses",
        ),
        (
            one_stage("classify", "pretrain", "classify") | phantom(prevalence=0.0),
            "stage 'classify': no class has both a positive and a negative training image, so "
            "there is nothing to tell apart; choose other 'classes' or cohorts",
        ),
        (
            one_stage("classify", "pretrain", "classify") | phantom(with_labels=False),
            "stage 'classify': no training image of its cohorts has a stated label; choose other "
            "'classes' or cohorts",
        ),
        (
            one_stage("joint", "finetune", "joint", init=[{"stage": "fuse"}]),
            "stage 'joint' starts from 'fuse', which is no earlier stage; known: (none)",
        ),
    ],
)  # fmt: skip
def test_what_the_films_cannot_give_is_refused(refused: Refused, tree: Tree, message: str) -> None:
    assert refused(tree) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "stage 'gaze': {path}: no such weights file"),
        (
            {"fusion.0.weight": torch.zeros(8, 5)},
            "stage 'gaze': init from '{path}': tensor 'fusion.0.weight' has shape (8, 5), the "
            "network expects (64, 12) for 'fusion.0.weight'; width, backbone or classes differ",
        ),
        (
            {"other.weight": torch.zeros(1)},
            "stage 'gaze': init from '{path}': tensor 'other.weight' has no place in the network "
            "(as 'other.weight')",
        ),
        (
            {"fusion.3.bias": torch.zeros(6)},
            "stage 'gaze': init from '{path}': 'fusion.3.bias' knows the classes a, b; this stage "
            "has ",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    refused: Refused, tmp_path: Path, content: dict[str, torch.Tensor] | None, message: str
) -> None:
    path = tmp_path / "w.safetensors"
    if content is not None:
        save_weights(path, content, {"classes": '["a", "b"]'})
    init = [{"file": str(path), "prefixes": {"": ""}}]
    said = refused(one_stage("gaze", "cooperative", "saliency", init=init))
    assert said.startswith(message.format(path=path))


def later(key: str, value: object) -> Tree:
    """The config of the run with another value in its third stage."""
    tree = small_tree()
    tree["stages"][2][key] = value
    return tree


@pytest.mark.parametrize(
    ("tree", "changed"),
    [
        (later("optimiser", {"lr": 5e-4}), "stage 'saliency'.*; changed: stage.optimiser.lr. "),
        (later("train", ["decoder.*"]), "stage 'saliency'.*; changed: stage.train. "),
        (small_tree(seed=7), "stage 'contrast'.*; changed: seed. "),
        (small_tree(**phantom(arm="no_dwell")), "stage 'contrast'.*; changed: data.phantom. "),
        (
            small_tree(trainer={"device": "cpu", "accumulate": 2}),
            "stage 'contrast'.*; changed: trainer.accumulate. ",
        ),
    ],
)
def test_other_inputs_of_a_finished_stage_are_refused(
    refused: Refused, tree: Tree, changed: str
) -> None:
    said = refused(tree)
    name = changed.split("'")[1]
    advice = f"Use another --out, or run it again with --from {name}"
    assert re.fullmatch(changed.replace(".*", " was complete with other inputs") + advice, said)


def test_other_splits_of_a_begun_run_are_refused(refused: Refused) -> None:
    assert refused(small_tree(**phantom(seed=3))) == (
        "RUN/splits.csv: this run began with other splits (48 rows, now 48); the cohort or its "
        "split settings changed. Use another --out, or delete the run folder"
    )


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (
            "02-classify",
            "stage 'saliency' starts from stage 'classify', which was never run; run it first: "
            "gazedx run CONFIG --until classify",
        ),
        (
            "02-classify/weights.safetensors",
            "stage 'saliency': no weights at RUN/02-classify/weights.safetensors; make them again: "
            "gazedx run CONFIG --from classify",
        ),
    ],
)
def test_a_stage_without_its_init_is_refused(refused: Refused, gone: str, message: str) -> None:
    def spoil(run: Path) -> None:
        if (run / gone).is_dir():
            shutil.rmtree(run / gone)
        else:
            (run / gone).unlink()

    assert refused(small_tree(), "run", "--from", "saliency", spoil=spoil) == message


def test_a_run_folder_in_use_by_another_process_is_refused(refused: Refused) -> None:
    holders = []

    def spoil(run: Path) -> None:
        words = [sys.executable, "-c", HOLDER, str(run / ".lock")]
        holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

    try:
        assert refused(small_tree(), "run", "--from", "contrast", spoil=spoil) == (
            "RUN: another process is writing to this run folder; wait for it or use --out"
        )
    finally:
        for holder in holders:
            holder.communicate()

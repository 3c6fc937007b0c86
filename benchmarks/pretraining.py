"""Pretraining on real NIH films against an encoder with random weights, by k-NN AUROC.

    python -m benchmarks.pretraining [--data ../shared/data] [--epochs 5] [--methods nt_xent ...]

Five seeds. The patients are dealt into five folds by one function; seed s holds fold s out, takes
the next as validation (the best epoch is that of the lowest validation loss) and trains on the
others. The score is the mean AUROC over the findings of the 20 nearest training films' labels, on
the films of the held-out fold. Differences are paired: the random encoder is the one that the
trained one began as. The interval is Student's over the five; the training sets overlap, so it is
narrower than that of five independent studies.
"""

import argparse
import contextlib
import io
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.stats import t as student

from experiments.build import build_cohorts, build_module
from experiments.config import RunConfig
from experiments.embeddings import embed
from experiments.load import parse_config
from experiments.runner import run
from experiments.stage_data import stage_dataset
from experiments.weights import read_weights
from eye_gaze_data.splits import split_by_patient
from pretrain.watch import effective_rank, knn_scores, mean_auroc

SEEDS, SIDE = 5, 64
FINDINGS = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema",
            "Fibrosis", "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia",
            "Pneumothorax"]  # fmt: skip
HEAD = {"hidden": 128, "out": 64}
METHODS: dict[str, dict[str, Any]] = {
    "nt_xent": {"options": {**HEAD, "temperature": 0.2}},
    "supcon": {"options": {**HEAD, "temperature": 0.2}},
    "triplet": {"options": {"margin": 0.3, "normalise": True}},
}


def folds(patients: list[str]) -> np.ndarray[Any, Any]:
    """The fold of each row, 0 to 4, the same for all films of a patient."""
    parts = {str(fold): 1 / SEEDS for fold in range(SEEDS)}
    return np.array([int(name) for name in split_by_patient(patients, parts, seed=0)])


def shrink(data: Path, folder: Path) -> pd.DataFrame:
    """The NIH films at a small size, and their table with its folds."""
    table = pd.read_csv(data / "labels.csv")
    table = table[table["source"] == "NIH ChestX-ray14"].reset_index(drop=True)
    for name in table["image"]:
        film = Image.open(data / name).convert("L")
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        film.resize((96, round(96 * film.height / film.width)), Image.Resampling.BOX).save(
            (folder / name).with_suffix(".png")
        )
    table["image"] = [str(Path(name).with_suffix(".png")) for name in table["image"]]
    return table.assign(fold=folds(table["patient_id"].tolist()))


def config_of(method: str, seed: int, table: pd.DataFrame, folder: Path, epochs: int) -> RunConfig:
    split = np.full(len(table), "train", object)
    split[table["fold"] == seed], split[table["fold"] == (seed + 1) % SEEDS] = "test", "valid"
    path = folder / f"{seed}.csv"
    table.assign(split=split).to_csv(path, index=False)
    images = {"csv": str(path), "root": str(folder), "patient": "patient_id", "split": "split"}
    stage = {
        "name": method,
        "kind": "pretrain",
        "task": "contrast",
        "model": "network",
        "data": {"cohorts": "nih", "image_size": [SIDE, SIDE], "views": 2, "augment": "radiograph"},
        "train": ["encoder_a.*"],
        "losses": {method: METHODS[method]},
        "contrast": {"watch": {"every": epochs}},
        "optimiser": {"name": "adamw", "lr": 2e-3, "weight_decay": 0.01, "clip": 1.0},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "epochs": epochs,
        "batch_size": 32,
        "monitor": {"metric": "valid/loss", "mode": "min"},
    }
    network = {
        "kind": "dual_encoder",
        "backbone": "densenet121",
        "backbone_options": {"growth_rate": 12, "block_config": [2, 2, 2, 2]},
        "widths": [4, 4, 4, 4, 4],
    }
    tree = {
        "name": method,
        "seed": seed,
        "cohorts": {"nih": {"kind": "csv", "images": {**images, "labels": FINDINGS}}},
        "models": {"network": network},
        "stages": [stage],
        "trainer": {"device": "cpu"},
    }
    return parse_config(tree, folder / "run.yaml")


def scores(config: RunConfig, weights: Path | None) -> tuple[float, float]:
    """k-NN AUROC on the held-out fold, and the effective rank of its embeddings."""
    stage, cohort = config.stages[0], build_cohorts(config)
    module = build_module(config, stage, cohort)
    if weights is not None:
        module.network.load_state_dict(read_weights(weights), strict=False)
    dataset = stage_dataset(config, stage, cohort)
    bank, held = (embed(module, dataset, cohort.rows_of(part), 64) for part in ("train", "test"))
    near = knn_scores(bank.vectors, bank.labels, held.vectors)
    return mean_auroc(near, held.labels), effective_rank(held.vectors)


def interval(values: np.ndarray[Any, Any]) -> str:
    """Mean and 95 % interval."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def row_of(method: str, table: pd.DataFrame, folder: Path, epochs: int) -> str:
    """One method's line: trained and random over the seeds, and their differences."""
    found = []
    for seed in range(SEEDS):
        config = config_of(method, seed, table, folder, epochs)
        out = folder / f"{method}-{seed}"
        with contextlib.redirect_stdout(io.StringIO()):
            run(config, out, say=lambda _: None)
        weights = out / f"01-{method}" / "weights.safetensors"
        found.append([*scores(config, weights), *scores(config, None)])
    own = np.array(found)
    knn, rank, random, random_rank = own.mean(0)
    return (
        f"| `{method}` | {knn:.3f} | {random:.3f} | {interval(own[:, 0] - own[:, 2])} | "
        f"{rank:.1f} | {random_rank:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    options = parser.parse_args()
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        table = shrink(options.data / "real-cxr", folder)
        people = table["patient_id"].nunique()
        print(f"{len(table)} NIH films of {people} patients, {SIDE} px, {options.epochs} epochs\n")
        print("| method | k-NN AUROC | at random | difference, 95 % | effective rank | at random |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        for method in options.methods:
            print(row_of(method, table, folder, options.epochs), flush=True)
    print(f"\n{time.process_time() - begun:.0f} s of CPU time")


if __name__ == "__main__":
    main()

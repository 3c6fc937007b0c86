"""Small synthetic films, labels, gaze and maps in any number, for ``benchmarks.scale``."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

SIDE, FILMS_A_PATIENT, FIXATIONS, LOOKED_AT = 32, 2, 5, 10
TRAIN, VALID = 64, 64
FINDINGS = ("Opacity", "Nodule")
NETWORK = {
    "kind": "dual_encoder",
    "backbone": "densenet121",
    "backbone_options": {"growth_rate": 4, "block_config": [1, 1, 1, 1]},
    "widths": [4, 4, 8, 8, 8],
}
GRID = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE))) + 0.5


def write_files(root: Path, n: int) -> None:
    """Films, maps, tables and configs under ``root``; the films are noise with a blob.

    Every ``LOOKED_AT``-th film has gaze in the cohort; the table for ``score`` has it for all.
    """
    rng = np.random.default_rng(0)
    for folder in ("films", "maps"):
        (root / folder).mkdir(parents=True)
    centres = rng.uniform(8, SIDE - 8, (n, 2))
    for row, centre in enumerate(centres):
        blob = np.exp(-((GRID - centre[:, None, None]) ** 2).sum(0) / 50)
        film = 120 * blob + rng.uniform(0, 120, blob.shape)
        Image.fromarray(film.astype(np.uint8)).save(root / "films" / name(row))
        Image.fromarray((255 * blob).astype(np.uint8)).save(root / "maps" / name(row))
    _write_tables(root, centres, rng)
    for cohort, source in (("raw", _raw(root)), ("ready", _ready(root))):
        (root / f"{cohort}.yaml").write_text(json.dumps(_config(source)))


def name(row: int) -> str:
    return f"{row:06d}.png"


def _write_tables(root: Path, centres: np.ndarray, rng: np.random.Generator) -> None:
    n = len(centres)
    names = [name(row) for row in range(n)]
    patients = [f"p{row // FILMS_A_PATIENT:06d}" for row in range(n)]
    split = ["train"] * TRAIN + ["valid"] * VALID + ["test"] * (n - TRAIN - VALID)
    labels = rng.integers(0, 2, (n, len(FINDINGS)))
    images = pd.DataFrame({"image": names, "patient": patients, "split": split})
    images[list(FINDINGS)] = labels
    images.to_csv(root / "images.csv", index=False)
    rows = np.repeat(np.arange(n), FIXATIONS)
    at = np.clip(centres[rows] + rng.normal(0, 3, (len(rows), 2)), 0, SIDE - 0.01).round(2)
    gaze = pd.DataFrame({"image": np.array(names)[rows], "x": at[:, 0], "y": at[:, 1]})
    gaze["duration"] = 0.3
    gaze[rows % LOOKED_AT == 0].to_csv(root / "gaze.csv", index=False)
    gaze = gaze.assign(patient=np.array(patients)[rows], width=SIDE, height=SIDE)
    gaze.to_csv(root / "fixations.csv", index=False)


def _raw(root: Path) -> dict[str, Any]:
    images = {"csv": str(root / "images.csv"), "root": str(root / "films"), "patient": "patient",
              "split": "split", "labels": FINDINGS}  # fmt: skip
    gaze = {"csv": str(root / "gaze.csv"), "duration": "duration", "duration_unit": "s"}
    return {"kind": "csv", "images": images, "gaze": gaze}


def _ready(root: Path) -> dict[str, Any]:
    return {"kind": "prepared", "root": str(root / "ready")}


def _config(cohort: dict[str, Any]) -> dict[str, Any]:
    stage = {
        "name": "joint", "kind": "finetune", "task": "joint", "model": "network",
        "data": {"cohorts": "films", "image_size": [SIDE, SIDE]}, "losses": {"bce": 1, "kld": 1},
        "optimiser": {"lr": 1e-3}, "epochs": 1, "batch_size": 32,
        "monitor": {"metric": "valid/loss", "mode": "min"},
    }  # fmt: skip
    return {
        "name": "scale",
        "cohorts": {"films": cohort},
        "models": {"network": NETWORK},
        "stages": [stage],
        "evaluate": {"grid": SIDE},
        "trainer": {"device": "cpu"},
    }

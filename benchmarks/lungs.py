"""Do films without masks help to segment lungs? Five folds by patient on the open films with masks.

    python -m benchmarks.lungs --data ../shared/data --out runs/lungs

Each cell is a run of gazedx with one segment stage; what is finished is not trained again. The
films are those of the two sources that have masks. Both columns see as many annotated films a step,
for as many steps; with consistency a step holds as many films again of which no mask is used.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from diagnosis.anatomy.dice import dice
from experiments.anatomy_source import load_segmenter
from experiments.build import build_cohorts
from experiments.config import RunConfig
from experiments.finished import FinishedStage
from experiments.load import parse_config
from experiments.runner import run
from eye_gaze_data.anatomy import CohortAnatomy, annotated_rows
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.csv_config import CsvConfig
from eye_gaze_data.geometry import fit_frame, warp_pixels
from eye_gaze_data.store.config import StoreConfig
from eye_gaze_data.store.prepare import prepare
from eye_gaze_data.tabular import csv_cohort
from saliency.metrics import bootstrap_mean

FOLDS, SIDE, STORED, EPOCHS, ANNOTATED = 5, 128, 256, 24, 4
MASKS: tuple[int | None, ...] = (None, 10, 20)
WEAK = {"degrees": 3, "scale": [0.95, 1.05], "shift": 0.02}
STRONG = {"degrees": 7, "scale": [0.85, 1.15], "shift": 0.05, "brightness": 0.1}
# Both lungs are one mask, which has no side: the one place where a flip is right.
STRONG |= {"contrast": 0.3, "noise": 0.03, "flip": "random"}


def prepare_folds(data: Path, folder: Path) -> None:
    """The films of each fold with its split, stored small."""
    films = pd.read_csv(data / "labels.csv")
    masks = pd.read_csv(data / "masks.csv")
    masks["mask"] = [str((data / name).resolve()) for name in masks["mask"]]
    annotated = films["image"].isin(masks["image"])
    films = films[films["source"].isin(films["source"][annotated])]
    annotated = films["image"].isin(masks["image"])
    patients = sorted(set(films["patient_id"][annotated]))
    order = np.random.default_rng(0).permutation(patients)
    folder.mkdir(parents=True, exist_ok=True)
    masks.to_csv(folder / "masks.csv", index=False)
    for fold in range(FOLDS):
        # Patients with a mask: a fifth is tested, a fifth of the rest chooses the epoch.
        rest = np.delete(order, np.s_[fold::FOLDS])
        split = dict.fromkeys(films["patient_id"], "train")
        split |= dict.fromkeys(order[fold::FOLDS], "test") | dict.fromkeys(rest[::5], "valid")
        table = films[["image", "patient_id", "source"]]
        table = table.assign(split=table["patient_id"].map(split))
        table.to_csv(folder / f"films-{fold}.csv", index=False)
        images = {"csv": folder / f"films-{fold}.csv", "root": data, "patient": "patient_id"}
        tree = {"images": images | {"source": "source", "split": "split"}}
        tree["masks"] = {"csv": folder / "masks.csv"}
        cohort = csv_cohort(CsvConfig.model_validate(tree), "films")
        prepare(cohort, folder / f"films-{fold}", StoreConfig(size=STORED))


def config_of(folder: Path, fold: int, masks: int | None, helped: bool) -> RunConfig:
    """One cell of the table."""
    model: dict[str, Any] = {
        "kind": "anatomy_segmenter",
        "organs": ["lungs"],
        "widths": [16, 32, 48],
    }
    model["backbone_options"] = {"growth_rate": 16, "block_config": [2, 2, 2, 2]}
    share, views, factor = (0.5, [WEAK, STRONG], 2) if helped else (1.0, [STRONG], 1)
    stage: dict[str, Any] = {
        "name": "lungs",
        "kind": "pretrain",
        "task": "segment",
        "model": "segmenter",
        "data": {"cohorts": "films", "image_size": [SIDE, SIDE], "views": views},
        "anatomy": {"organs": ["lungs"]} | ({"annotated": masks} if masks else {}),
        "teacher": {"decay": 0.97, "annotated_share": share},
        "losses": {"dice_bce": 1} | ({"teacher_consistency": 1} if helped else {}),
        "optimiser": {"name": "adamw", "lr": 3e-3, "clip": 1.0},
        "schedule": {"name": "cosine", "warmup": 0.05},
        "epochs": EPOCHS * factor // 2,
        "batch_size": ANNOTATED * factor,
        "monitor": {"metric": "valid/dice", "mode": "max"},
    }
    tree = {
        "name": "lungs",
        "cohorts": {"films": {"kind": "prepared", "root": folder / f"films-{fold}"}},
        "models": {"segmenter": model},
        "stages": [stage],
        "trainer": {"device": "cpu"},
    }
    return parse_config(tree, folder / "lungs.yaml")


def mean_mask(cohort: Cohort) -> np.ndarray:
    """The share of training films on which a place of the film is lung, (SIDE, SIDE)."""
    source = CohortAnatomy(cohort, ["lungs"])
    rows = annotated_rows(source, cohort, cohort.rows_of("train"))
    masks = [torch.from_numpy(source(int(row), cohort.film_size(row))) for row in rows]
    size = (SIDE, SIDE)
    on_grid = [
        warp_pixels(m, fit_frame((m.shape[1], m.shape[2]), size, "stretch"), size) for m in masks
    ]
    return torch.stack(on_grid).mean((0, 1)).numpy()


def scores(cohort: Cohort, folder: Path) -> pd.DataFrame:
    """Dice of each annotated test film as it is stored, by the segmenter and by the mean mask."""
    segmenter = load_segmenter(FinishedStage.load(folder), "cpu")
    source, mean = CohortAnatomy(cohort, ["lungs"]), mean_mask(cohort)[None]
    found = []
    for row in annotated_rows(source, cohort, cohort.rows_of("test")).tolist():
        size = cohort.film_size(row)
        truth = torch.from_numpy(source(row, size))
        guesses = {"dice": segmenter(cohort.images(row)) / np.float32(255), "mean_mask": mean}
        values = {}
        for name, mask in guesses.items():
            frame = fit_frame((mask.shape[1], mask.shape[2]), size, "stretch")
            grown = warp_pixels(torch.from_numpy(mask).float(), frame, size, outside="edge")
            values[name] = float(dice(grown[None], truth[None])[0, 0])
        names = ["image_id", "patient_id", "source"]
        found.append({**cohort.table[names].iloc[row].to_dict(), **values})
    return pd.DataFrame(found)


def cell(out: Path, fold: int, masks: int | None, helped: bool) -> pd.DataFrame:
    """The scores of one run, which is trained if it is not there."""
    name = f"{fold}-{masks or 'all'}-{'consistency' if helped else 'alone'}"
    folder = out / name
    if not (folder / "dice.csv").is_file():
        config = config_of(out, fold, masks, helped)
        run(config, folder, say=lambda _: None)
        scores(build_cohorts(config), folder).to_csv(folder / "dice.csv", index=False)
    return pd.read_csv(folder / "dice.csv").assign(fold=fold)


def lines(out: Path, folds: int) -> Iterator[str]:
    """The table, a row a number of masks."""
    yield "| masks in training | supervised alone | with consistency | gain [95 %] | mean mask |"
    yield "| --- | --- | --- | --- | --- |"
    for masks in MASKS:
        alone, helped = (
            pd.concat([cell(out, fold, masks, on) for fold in range(folds)]) for on in (False, True)
        )
        gain = bootstrap_mean(
            (helped["dice"] - alone["dice"]).to_numpy(), list(alone["patient_id"]), seed=0
        )
        columns = [spread(alone, "dice"), spread(helped, "dice")]
        columns += [f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"]
        yield " | ".join(["", str(masks or "all"), *columns, spread(alone, "mean_mask"), ""])[1:-1]
        for source, part in helped.groupby("source"):
            base = alone[alone["source"] == source]
            shown = [spread(base, "dice"), spread(part, "dice"), "", spread(base, "mean_mask")]
            yield " | ".join(["", f"{source}, {len(part)} films", *shown, ""])[1:-1]


def spread(table: pd.DataFrame, column: str) -> str:
    """Mean over films, standard deviation over folds."""
    folds = table.groupby("fold")[column].mean()
    return f"{table[column].mean():.3f} ± {folds.std():.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("runs/lungs"))
    parser.add_argument("--folds", type=int, default=FOLDS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data, out = chosen.data.resolve() / "real-cxr", chosen.out.resolve()
    prepare_folds(data, out)
    for line in lines(out, chosen.folds):
        print(line, flush=True)


if __name__ == "__main__":
    main()

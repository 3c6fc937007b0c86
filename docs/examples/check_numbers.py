"""The numbers of an evaluated run, worked out again with numpy alone.

    python docs/examples/check_numbers.py runs/demo
    python docs/examples/check_numbers.py runs/demo FILMS    # the films' hashes too

Prints one line a check and ends with 1 if one fails. Neither gazedx nor torch is imported. Gaze is
checked where the run was evaluated on the grid of its stored cases, evaluate.grid=320.
"""

import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

CASE_GRID = 320


def main(run, films=None):
    """Check weights, splits, films, findings and gaze of a run."""
    run = Path(run)
    if not (run / "evaluate" / "metrics.json").is_file():
        sys.exit(f"{run} is not evaluated yet: gazedx evaluate {run}")
    metrics = json.loads((run / "evaluate" / "metrics.json").read_text())
    with (run / "evaluate" / "per_image.csv").open(newline="") as file:
        images = list(csv.DictReader(file))
    checks = [*check_hashes(run, metrics), *check_means(metrics, images)]
    checks += check_findings(run, metrics, images)
    if metrics["grid"] == CASE_GRID:
        checks += check_gaze(run, images)
    if films is not None:
        checks += check_films(run, Path(films))
    failed = 0
    for what, reported, found, tolerance in checks:
        same = reported == found if tolerance is None else abs(reported - found) <= tolerance
        failed += not same
        print(f"{'same' if same else 'DIFFERS':8}{what}: reported {reported}, found {found}")
    print(f"{len(checks)} checks, {failed} failed")
    sys.exit(1 if failed else 0)


def sha256(content):
    """Hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def check_hashes(run, metrics):
    """Of the weights that were evaluated, and of the split of every patient."""
    (weights,) = run.glob(f"[0-9]*-{metrics['stage']}/weights.safetensors")
    yield "weights", metrics["weights_sha256"], sha256(weights.read_bytes()), None
    table = (run / "splits.csv").read_text()
    # The hash is of the table's text as a JSON list.
    yield "splits", metrics["identity"]["splits"], sha256(json.dumps([table]).encode()), None
    rows = list(csv.DictReader(table.splitlines()))
    places = {(row["patient_id"], row["split"]) for row in rows}
    yield "patients in two splits", 0, len(places) - len({who for who, _ in places}), None


def check_films(run, folder):
    """That every film of the manifest is below a folder, byte by byte."""
    listed = {file["sha256"] for file in json.loads((run / "manifest.json").read_text())["files"]}
    found = {sha256(path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    yield "films found by their hash", len(listed), len(listed & found), None


def check_means(metrics, images):
    """Means over images, from the table of images."""
    for group, part in metrics["saliency"].items():
        for name, entry in part["rows"]["model"].items():
            values = [row[name] for row in images if row["group"] == group]
            known = [float(value) for value in values if value]
            if entry["value"] is not None:
                yield f"{group}, mean {name}", entry["value"], np.mean(known), 1e-6


def check_findings(run, metrics, images):
    """Probabilities and AUROC, from the stored logits."""
    for group, part in metrics["diagnosis"].items():
        rows = [row for row in images if row["group"] == group]
        stored = [run / "evaluate" / "predictions" / f"{int(row['index']):06d}" for row in rows]
        logits = np.array([np.load(f"{path}.npz")["logits"] for path in stored])
        if part["exclusive"]:
            odds = np.exp(logits - logits.max(1, keepdims=True))
            probabilities = odds / odds.sum(1, keepdims=True)
        else:
            probabilities = 1 / (1 + np.exp(-logits))
        for finding, scores in zip(part["findings"], probabilities.T, strict=True):
            given = np.array([float(row[f"probability_{finding}"]) for row in rows])
            worst = float(np.abs(given - scores).max())
            yield f"{group}, {finding}, difference of probabilities", 0.0, worst, 1e-6
            labels = np.array([float(row[f"label_{finding}"] or "nan") for row in rows])
            positive, negative = scores[labels == 1][:, None], scores[labels == 0]
            reported = part["findings"][finding]["auroc"]["value"]
            if reported is not None:
                pairs = (positive > negative) + 0.5 * (positive == negative)
                yield f"{group}, {finding}, AUROC", reported, pairs.mean(), 1e-9


def check_gaze(run, images):
    """CC and NSS, from the stored cases, whose densities are rounded down to ten bits."""
    for row in images:
        path = run / "evaluate" / "cases" / f"{int(row['index']):06d}.npz"
        if not path.is_file() or not row["cc"]:
            continue
        case = np.load(path)
        model = case["prediction"].astype(float)
        rounding = 2**-10 * model.max() / model.std()
        cc = np.corrcoef(model.ravel(), case["truth"].astype(float).ravel())[0, 1]
        yield f"{row['image_id']}, CC", float(row["cc"]), cc, rounding
        x, y = np.floor(case["gaze"][:, :2].T).astype(int)
        height, width = model.shape
        on_film = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        standard = (model - model.mean()) / model.std()
        nss = standard[y[on_film], x[on_film]].mean()
        yield f"{row['image_id']}, NSS", float(row["nss"]), nss, rounding


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The model card: what was trained on what, how good it was with intervals, what it is not for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from eye_gaze_data.files import sha256_of_file, without_nan

from . import GAZEDX_VERSION
from .anatomy_source import segment_stage
from .finished import FinishedStage
from .prediction_config import NOTICE, PredictionConfig, stored_metrics
from .record import read_stage

# Data sets whose agreements bind what is made of them; a prepared store or tables may hold any.
CREDENTIALED = {"egd_cxr", "reflacx", "mimic_cxr", "vindr_cxr"}
UNKNOWN_SOURCE = {"prepared", "csv"}
GAZE_METRICS = ("cc", "nss", "kld", "auc")


def model_facts(finished: FinishedStage) -> dict[str, Any]:
    """What a card can state of a finished stage, as plain values without paths.

    Metrics are those of the evaluation of these very weights; none if it was not evaluated.
    """
    metrics = stored_metrics(finished)
    facts = {
        "name": finished.config.name,
        "stage": finished.stage.name,
        "seed": finished.config.seed,
        "gazedx": GAZEDX_VERSION,
        "weights_sha256": finished.weights_sha256,
        "splits_sha256": _splits_hash(finished),
        "data": _data(finished),
        "split": metrics.get("split"),
        "bootstrap": metrics.get("bootstrap"),
        "split_by_image": list(finished.config.legacy_split),
        "metrics": list(_headlines(metrics)) if metrics else [],
    }
    if (segment := segment_stage(finished)) is not None:
        facts["segmenter"] = _segmenter_facts(segment)
    plain: dict[str, Any] = without_nan(facts)  # type: ignore[assignment]
    return plain


def model_card(settings: PredictionConfig, facts: Mapping[str, Any]) -> str:
    """The card as Markdown with the hub's header.

    Args:
        settings: of the model.
        facts: of ``model_facts``; what is missing is said to be unknown.
    """
    name = facts.get("name", "a gazedx model")
    parts = [
        _HEADER,
        f"# {name}, stage {facts.get('stage', 'unknown')}\n\n**{NOTICE}** Not for decisions about "
        "patients, not even as a second opinion.\n",
        "## What it does\n\n" + _purpose(settings, facts.get("segmenter")),
        "## Use\n\n" + _USE.format(size="x".join(map(str, settings.image_size))),
        "## Data\n\n" + _data_text(facts),
        "## Results\n\n" + _results(facts),
        "## Limits\n\n" + _limits(settings, facts.get("segmenter")),
        "## Where it comes from\n\n"
        f"- gazedx {facts.get('gazedx', 'unknown')}, seed {facts.get('seed', 'unknown')}\n"
        f"- weights in the run, SHA-256: {facts.get('weights_sha256') or 'unknown'}\n"
        f"- splits.csv, SHA-256: {facts.get('splits_sha256') or 'unknown'}\n",
    ]
    return "\n".join(parts)


_HEADER = """---
library_name: gazedx
pipeline_tag: image-classification
tags: [chest-x-ray, eye-gaze, saliency, research-only]
---
"""

_USE = """```python
from experiments.api import GazeModel, read_image

model = GazeModel.from_pretrained("this/folder")
prediction = model.predictor("cpu").predict(read_image("film.png"))
```

Films of any size: grey levels in [0, 1], bone bright, brought onto {size} pixels (height x width).
"""


def _segmenter_facts(segment: FinishedStage) -> dict[str, Any]:
    """Of the stage that gives the organ masks; its Dice if its weights were chosen by it."""
    record = read_stage(segment.weights.parent) or {}
    monitor = record.get("monitor") or {}
    anatomy = segment.stage.anatomy
    return {
        "stage": segment.stage.name,
        "organs": list(anatomy.organs) if anatomy else [],
        "weights_sha256": segment.weights_sha256,
        "dice": monitor.get("value") if monitor.get("metric") == "valid/dice" else None,
    }


def _splits_hash(finished: FinishedStage) -> str | None:
    path = finished.run / "splits.csv"
    return sha256_of_file(path) if path.is_file() else None


def _data(finished: FinishedStage) -> list[dict[str, Any]]:
    """Each cohort of the run: its kind, its images and patients a split, whether it trained."""
    path = finished.run / "splits.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False) if path.is_file() else None
    rows = []
    for name, cohort in finished.config.cohorts.items():
        row: dict[str, Any] = {"cohort": name, "kind": cohort.kind}
        if table is not None:
            own = table[table["cohort"] == name]
            row["images"] = {str(k): int(v) for k, v in own["split"].value_counts().items() if k}
            row["patients"] = int(own["patient_id"].nunique())
        rows.append(row)
    return rows


def _headlines(metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row a number with its interval, by group."""
    for group, part in metrics["saliency"].items():
        for row in ("model", "centre_bias"):
            for name in GAZE_METRICS:
                if (entry := part["rows"].get(row, {}).get(name)) is not None:
                    yield _number(group, f"gaze {name.upper()}, {row.replace('_', ' ')}", entry)
    for group, part in metrics["diagnosis"].items():
        yield _number(group, "mean AUROC", {**part["macro_auroc"], "n": part["n_images"]})
        for name, entry in part["findings"].items():
            known = entry["n_positive"] + entry["n_negative"]
            yield _number(group, f"AUROC {name}", {**entry["auroc"], "n": known})


def _number(group: str, what: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"group": group, "what": what, **{k: entry[k] for k in ("value", "low", "high", "n")}}


def _purpose(settings: PredictionConfig, segmenter: Mapping[str, Any] | None) -> str:
    lines = []
    if settings.has_diagnosis:
        kind = "exactly one of" if settings.exclusive else "each by itself"
        lines.append(f"- probabilities of findings ({kind}): {', '.join(settings.classes)}")
        lines.append(
            "- calibrated by temperatures fitted on the validation split"
            if settings.temperatures
            else "- the probabilities are not calibrated"
        )
    if settings.has_saliency:
        lines.append("- the density of where a reader looks, which sums to 1 over the film")
    if settings.organs:
        lines.append(f"- it reads organ masks: {', '.join(settings.organs)}")
    if segmenter:
        lines.append(
            f"- a segmenter, part of the model, predicts them: stage {segmenter['stage']}, mean "
            f"Dice {_shown(segmenter['dice'])} on the validation split"
        )
    return "\n".join(lines) + "\n"


def _data_text(facts: Mapping[str, Any]) -> str:
    rows: Sequence[Mapping[str, Any]] = facts.get("data", ())
    if not rows:
        return "Unknown.\n"
    lines = ["| cohort | kind | images by split | patients |", "| --- | --- | --- | --- |"]
    for row in rows:
        images = ", ".join(f"{k} {v}" for k, v in sorted(row.get("images", {}).items()))
        lines.append(
            f"| {row['cohort']} | {row['kind']} | {images or 'unknown'} | "
            f"{row.get('patients', 'unknown')} |"
        )
    bound = [row["cohort"] for row in rows if row["kind"] in CREDENTIALED]
    unsure = [row["cohort"] for row in rows if row["kind"] in UNKNOWN_SOURCE]
    torn = facts.get("split_by_image")
    lines.append(
        f"\n**Split by image, as the released code does: patients of {', '.join(torn)} may stand "
        "in several splits, so the results below are too good.**"
        if torn
        else "\nSplits are by patient."
    )
    lines.append("No image is part of this folder; never add one.")
    if bound:
        lines.append(
            f"\n**{', '.join(bound)}: data under a use agreement. Sharing weights that were "
            "trained on them may be restricted by it: read the agreement before you publish.**"
        )
    if unsure:
        lines.append(
            f"\n{', '.join(unsure)}: files of the user's own choice, their licence is not known "
            "here; look it up before you publish."
        )
    return "\n".join(lines) + "\n"


def _results(facts: Mapping[str, Any]) -> str:
    rows: Sequence[Mapping[str, Any]] = facts.get("metrics", ())
    if not rows:
        return "These weights were not evaluated.\n"
    draws = facts.get("bootstrap") or {}
    lines = [
        f"On the split '{facts.get('split')}', with {draws.get('level', 0.95):.0%} bootstrap "
        f"intervals over {draws.get('unit', 'patient')}s; reported by group, never pooled.\n",
        "| group | what | value | interval | n |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['group']} | {row['what']} | {_shown(row['value'])} | "
        f"{_shown(row['low'])} to {_shown(row['high'])} | {row['n']} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _limits(settings: PredictionConfig, segmenter: Mapping[str, Any] | None) -> str:
    lines = [
        "- Tested on the data above only; other scanners, hospitals and patients will differ.",
        "- One frontal film, no earlier films, no clinical context.",
        f"- Films are reduced to {settings.image_size[0]}x{settings.image_size[1]} pixels "
        f"(fit '{settings.fit}'): small findings may be lost.",
    ]
    if settings.has_saliency:
        lines.append(
            "- The density says where readers of the training data would look, not where disease "
            "is."
        )
    if segmenter:
        lines.append("- Where the segmenter errs, so do the findings: nobody checks its masks.")
    elif settings.organs:
        lines.append("- Films without organ masks are predicted with the masks unknown.")
    return "\n".join(lines) + "\n"


def _shown(value: float | None) -> str:
    return "n/a" if value is None or value != value else f"{value:.3f}"

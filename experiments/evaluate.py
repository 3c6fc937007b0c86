"""The honest evaluation of a finished run: every image scored on its own grid, beside baselines."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diagnosis.metrics import TOLERANCE
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.files import write_json

from .board import write_precision_recall
from .build import build_cohorts
from .cases import choose_rows, save_cases
from .detection_scores import count_boxes, detection_tables, original_boxes
from .diagnosis_scores import BINS, Chosen, diagnosis_summary
from .finished import FinishedStage
from .floors import fit_floors, fit_pools
from .hyperparameters import write_hyperparameters
from .ideal import ideal_scores
from .identity import identity
from .image_scores import MOST_NEGATIVES, ImageScorer, prediction_maps
from .localisation_scores import localisation_tables, score_boxes
from .prediction_config import TEMPERATURE
from .predictions import StoredPredictions
from .record import write_splits
from .sensitivity import sensitivity_table
from .summary import saliency_tables, write_tables

Rows = npt.NDArray[np.int64]
DEFINITIONS = {
    "interval": "BCa bootstrap over patients; over patients and readers where rows are readers'",
    "class_activation": "Grad-CAM of the pooled map for the most probable class, as a density",
    "anatomical_prior": "fixations of the training split relative to the lungs, as a density",
    "leave_one_reader_out": "each reader predicted by the other readers of the same image",
    "model_one_reader": "the model against one reader at a time, to compare with the row above",
    "sauc": f"negatives are the fixations of other patients of the group, at most {MOST_NEGATIVES}",
    "ig": "bits a fixation over the centre bias; a class activation is no likelihood and has none",
    "resize": "predicted densities are brought to the grid bilinearly within the film",
    "operating_point": "threshold of greatest F1 on the validation split, of each finding",
    "temperature": "of greatest likelihood on the validation split; none if that is reported on",
    "in_boxes": "share of the evidence or of the gaze density inside the boxes of a finding that "
    "the film has; chance is their share of the film; only films with a complete list of boxes",
    "points": f"how often a map is highest within {TOLERANCE:.0%} of the long side of such a box",
    "ece": f"{BINS} bins of equal width",
}


def evaluate(
    run: Path | str,
    *,
    stage: str | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
    step: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Score a run and write everything under ``evaluate/`` but the report.

    Predictions are stored first; what is stored already is not predicted again.

    Args:
        run: the run folder.
        stage: whose weights; the config's choice if None.
        device: ``auto``, ``cpu`` or ``cuda``.
        overrides: ``evaluate.KEY=VALUE`` over the run's config.
        step: called after each image that was predicted or scored.

    Returns:
        the content of ``metrics.json``.

    Raises:
        ConfigError: if the run cannot be scored.
    """
    run = Path(run)
    wrong = [text for text in overrides if not text.startswith("evaluate.")]
    if wrong:
        raise ConfigError(f"--set {wrong[0]}: a run that is trained can be given evaluate.* only")
    finished = FinishedStage.load(run, stage, overrides)
    config, settings = finished.config, finished.config.evaluate
    cohort = build_cohorts(config)
    write_splits(run, cohort)
    rows = cohort.rows_of(settings.split, list(settings.cohorts or config.cohorts))
    if not len(rows):
        raise ConfigError(
            f"{run}: no image in split '{settings.split}' to evaluate; set evaluate.split or "
            "evaluate.cohorts"
        )
    store = StoredPredictions(finished, cohort, device, step)
    store.ensure(rows)
    chosen = _choose(finished, cohort, store)
    scorer = _scorer(finished, cohort, rows)
    images, by_reader = _score(finished, scorer, store, rows, chosen, step)
    folder = run / "evaluate"
    table, readers = write_tables(folder, images, by_reader)
    metrics = _summary(finished, scorer, rows, table, readers, chosen)
    if finished.has_detection:
        metrics["detection"] = detection_tables(finished, cohort, store, table)
    metrics["sensitivity"] = sensitivity_table(scorer, store, table, settings.sensitivity, step)
    (folder / TEMPERATURE).unlink(missing_ok=True)
    if chosen is not None:
        chosen.temperature.save(folder / TEMPERATURE)
    cases = choose_rows(table, settings.cases)
    save_cases(
        folder / "cases",
        scorer,
        cases,
        lambda row: partial(prediction_maps, store.of(row)),
        lambda row: original_boxes(store.of(row), cohort.size_of(row)),
        finished.classes,
    )
    write_json(folder / "metrics.json", metrics)
    write_hyperparameters(run, config, metrics)
    if finished.has_diagnosis:
        write_precision_recall(run, config, finished.stage.name, table, finished.classes)
    return metrics


def _choose(finished: FinishedStage, cohort: Cohort, store: StoredPredictions) -> Chosen | None:
    """Thresholds and temperature of the stage's validation images, its groups together.

    None without labels there, or if that split is the one reported on.
    """
    split = finished.stage.data.valid
    if not finished.has_diagnosis or finished.config.evaluate.split == split:
        return None
    classes = finished.classes
    rows = cohort.rows_of(split, list(finished.stage.data.cohorts))
    labels = cohort.table[classes].to_numpy(np.float64)[rows]
    rows = rows[~np.isnan(labels).all(1)]
    if not len(rows):
        return None
    store.ensure(rows, maps=False)
    logits = store.logits(rows)
    return Chosen.on_validation(
        logits,
        store.probabilities(logits),
        cohort.table[classes].to_numpy(np.float64)[rows],
        classes,
        exclusive=finished.exclusive,
    )


def _scorer(finished: FinishedStage, cohort: Cohort, rows: Rows) -> ImageScorer:
    config, settings = finished.config, finished.config.evaluate
    dataset = GazeDataset(
        cohort,
        finished.stage.data.image_size,
        config.seed,
        gaze=settings.gaze,
        classes=finished.classes,
    )
    looked = rows[cohort.has_gaze[rows]]
    names = cohort.table["cohort"].iloc[looked].unique().tolist()
    floors = {str(name): fit_floors(cohort, str(name), config.seed) for name in names}
    scorer = ImageScorer(cohort, dataset, settings, floors, config.seed)
    scorer.pools.update(fit_pools(cohort, scorer.group_of, looked))
    return scorer


def _score(
    finished: FinishedStage,
    scorer: ImageScorer,
    store: StoredPredictions,
    rows: Rows,
    chosen: Chosen | None,
    step: Callable[[], None],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of ``per_image.csv`` and ``per_reader.csv``, one image in memory at a time."""
    images: list[dict[str, Any]] = []
    readers: list[dict[str, Any]] = []
    ideal = ideal_scores(scorer.cohort, rows) if finished.has_diagnosis else None
    columns = [scorer.cohort.pathologies.index(name) for name in finished.classes]
    for place, row in enumerate(rows.tolist()):
        prediction = store.of(row)
        maps = partial(prediction_maps, prediction)
        scored = scorer.score(row, maps)
        if prediction.logits is not None and prediction.probabilities is not None:
            kinds = {"label": scorer.cohort.table[finished.classes].iloc[row]}
            kinds["probability"] = prediction.probabilities
            if chosen is not None:
                kinds["calibrated"] = chosen.temperature.probabilities(prediction.logits[None])[0]
            if ideal is not None:
                kinds["ideal"] = ideal[place, columns]
            for kind, values in kinds.items():
                named = zip(finished.classes, values, strict=True)
                scored |= {f"{kind}_{name}": float(value) for name, value in named}
        if finished.has_detection:
            scored |= count_boxes(finished, scorer.cohort, row)
        images.append(scored | score_boxes(scorer, row, prediction, finished.classes))
        readers += scorer.score_readers(row, maps)
        step()
    return images, readers


def _summary(
    finished: FinishedStage,
    scorer: ImageScorer,
    rows: Rows,
    table: pd.DataFrame,
    readers: pd.DataFrame,
    chosen: Chosen | None,
) -> dict[str, Any]:
    settings, data = finished.config.evaluate, finished.stage.data
    draws = {"resamples": settings.resamples, "seed": finished.config.seed}
    groups = {str(name): part for name, part in table.groupby("group", sort=False)}
    diagnosis = {
        name: diagnosis_summary(
            part,
            finished.classes,
            chosen,
            draws,
            exclusive=finished.exclusive,
            specificity=settings.specificity,
        )
        for name, part in groups.items()
        if finished.has_diagnosis and _has_labels(part, finished.classes)
    }
    return {
        "stage": finished.stage.name,
        "weights_sha256": finished.weights_sha256,
        "split": settings.split,
        "grid": settings.grid,
        "settings": settings.model_dump(mode="json"),
        "identity": identity(scorer.cohort, rows, settings),
        "image_size": list(data.image_size),
        "bootstrap": {**draws, "level": 0.95, "unit": "patient"},
        "definitions": DEFINITIONS,
        "baselines": {name: floors.facts() for name, floors in scorer.floors.items()},
        "chosen_on_validation": None if chosen is None else chosen.facts(),
        "saliency": saliency_tables(scorer, table, readers, draws),
        "diagnosis": diagnosis,
        "localisation": localisation_tables(table, finished.classes, draws),
    }


def _has_labels(part: pd.DataFrame, classes: Sequence[str]) -> bool:
    return bool(part[[f"label_{name}" for name in classes]].notna().to_numpy().any())

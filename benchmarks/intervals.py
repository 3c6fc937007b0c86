"""Bootstrap intervals against scipy's, the exact AUC against scikit-learn's."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from diagnosis.metrics.findings import bootstrap_auroc
from saliency.metrics import fixation_auc
from saliency.metrics.bootstrap import bootstrap_mean

from .table import Row, cpu

IMAGES, RESAMPLES, LOOPED = 2000, 2000, 500


def rows() -> Iterator[Row]:
    yield bootstrap_row()
    yield auroc_row()
    yield auc_row()


def bootstrap_row() -> Row:
    """One film a patient, so that scipy, which knows no patients, can do the same."""
    values = np.random.default_rng(0).beta(4, 2, IMAGES)
    patients = np.arange(IMAGES)

    def ours() -> object:
        return bootstrap_mean(values, patients, resamples=RESAMPLES)

    def scipy() -> object:
        return bootstrap(
            (values,), np.mean, n_resamples=RESAMPLES, vectorized=True, rng=np.random.default_rng(0)
        )

    mine, other = ours(), scipy()
    low, high = other.confidence_interval  # type: ignore[attr-defined]
    assert abs(mine.low - low) < 1e-3  # type: ignore[attr-defined]
    assert abs(mine.high - high) < 1e-3  # type: ignore[attr-defined]
    what = f"BCa interval of a mean, {IMAGES} patients, {RESAMPLES} resamples"
    return Row(what, cpu(ours), "scipy.stats.bootstrap", cpu(scipy))


def auroc_row() -> Row:
    """Patients with several films, by a loop over resamples, as papers do it."""
    rng = np.random.default_rng(0)
    patients = np.sort(rng.integers(0, IMAGES // 4, IMAGES))
    labels = (rng.random(IMAGES) < 0.2).astype(float)
    scores = rng.random(IMAGES) + 0.4 * labels
    rows_of = [np.flatnonzero(patients == one) for one in np.unique(patients)]

    def ours() -> object:
        return bootstrap_auroc(scores, labels, patients, resamples=LOOPED)

    def sklearn() -> object:
        values = []
        for _ in range(LOOPED):
            drawn = rng.integers(0, len(rows_of), len(rows_of))
            rows = np.concatenate([rows_of[one] for one in drawn])
            values.append(roc_auc_score(labels[rows], scores[rows]))
        return np.percentile(values, [2.5, 97.5])

    what = f"AUROC with an interval over patients, {IMAGES} films, {LOOPED} resamples"
    return Row(what, cpu(ours), "scikit-learn in a loop, percentiles", cpu(sklearn))


def auc_row() -> Row:
    rng = np.random.default_rng(0)
    prediction = rng.random((480, 640))
    fixations = np.zeros((480, 640))
    fixations.ravel()[rng.choice(fixations.size, 60, replace=False)] = 1
    maps = torch.from_numpy(prediction)[None, None], torch.from_numpy(fixations)[None, None]

    def sklearn() -> float:
        positive = prediction[fixations > 0]
        scores = np.concatenate([positive, prediction.ravel()])
        labels = np.concatenate([np.ones(len(positive)), np.zeros(prediction.size)])
        return float(roc_auc_score(labels, scores))

    def ours() -> float:
        return fixation_auc(*maps, None).values.item()

    assert abs(ours() - sklearn()) < 1e-9
    return Row("exact fixation AUC, 480x640", cpu(ours), "scikit-learn", cpu(sklearn))

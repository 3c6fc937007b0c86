"""The monitored AUROC against scikit-learn, over batches of any size and unknown labels."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from diagnosis.evaluators import MacroAUROC


def make(rows: int = 40, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Scores with ties, labels with gaps; the last finding has no positive."""
    generator = torch.Generator().manual_seed(0)
    scores = (torch.rand(rows, classes, generator=generator) * 10).round() / 10
    labels = (torch.rand(rows, classes, generator=generator) < 0.3).float()
    labels[torch.rand(rows, classes, generator=generator) < 0.25] = torch.nan
    labels[:, -1] = labels[:, -1].clamp_max(0)
    return scores, labels


def oracle(scores: Tensor, labels: Tensor) -> float:
    """The mean over the findings with positives and negatives, each over its known rows."""
    values = []
    for score, label in zip(scores.T.numpy(), labels.T.numpy(), strict=True):
        known = ~np.isnan(label)
        if len(set(label[known])) == 2:
            values.append(roc_auc_score(label[known], score[known]))
    return float(np.mean(values))


@pytest.mark.parametrize("sizes", [(40,), (17, 1, 22), (1,) * 40])
def test_agrees_with_sklearn_over_uneven_batches(sizes: tuple[int, ...]) -> None:
    scores, labels = make()
    metric = MacroAUROC()
    for start, stop in pairwise(np.cumsum((0, *sizes)).tolist()):
        metric.update(scores[start:stop], labels[start:stop])
    assert metric.compute().item() == pytest.approx(oracle(scores, labels), rel=1e-6)
    assert metric.compute().ndim == 0


def test_reset_forgets_what_was_seen() -> None:
    scores, labels = make()
    metric = MacroAUROC()
    metric.update(1 - scores, labels)
    metric.reset()
    metric.update(scores, labels)
    assert metric.compute().item() == pytest.approx(oracle(scores, labels), rel=1e-6)


def test_a_finding_counts_once_both_kinds_were_seen_in_any_batch() -> None:
    metric = MacroAUROC()
    metric.update(torch.tensor([[0.9], [0.8]]), torch.ones(2, 1))
    assert math.isnan(metric.compute().item())
    metric.update(torch.tensor([[0.1], [0.85]]), torch.zeros(2, 1))
    assert metric.compute().item() == 0.75


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric MacroAUROC:UserWarning")
def test_without_anything_known_it_is_nan() -> None:
    metric = MacroAUROC()
    assert math.isnan(metric.compute().item())
    metric.update(torch.rand(3, 2), torch.full((3, 2), torch.nan))
    assert math.isnan(metric.compute().item())


def test_states_that_were_synchronised_over_processes_are_tensors() -> None:
    scores, labels = make()
    metric = MacroAUROC()
    metric.update(scores, labels)
    metric.scores, metric.labels = scores, labels  # type: ignore[assignment]
    assert metric.compute().item() == pytest.approx(oracle(scores, labels), rel=1e-6)


def test_scores_are_kept_without_their_graph() -> None:
    scores, labels = make()
    metric = MacroAUROC()
    metric.update(scores.requires_grad_() * 2, labels)
    assert not metric.scores[0].requires_grad
    assert metric.higher_is_better

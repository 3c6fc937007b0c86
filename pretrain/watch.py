"""How good embeddings are while they are learned, and whether they collapse."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from saliency.metrics.ranks import rank_auc

Array = npt.NDArray[np.float64]
TEMPERATURE = 0.07

# What is looked at in an epoch, and not in every epoch; NaN in the others.
WATCHED = ("knn", "probe", "deviation", "rank")


def watch(
    bank: Array, bank_labels: Array, queries: Array, query_labels: Array, neighbours: int = 20
) -> dict[str, float]:
    """All scores of embeddings.

    Args:
        bank: (n, D) embeddings of training films.
        bank_labels: (n, C) 1, 0 or NaN.
        queries: (m, D) embeddings of validation films.
        query_labels: (m, C) 1, 0 or NaN.
        neighbours: of the k-nearest-neighbour score.

    Returns:
        ``knn`` and ``probe``, the mean AUROC over the findings of which the bank and the queries
        have both kinds, NaN if there is none; ``deviation`` and ``rank`` of the queries.
    """
    near = knn_scores(bank, bank_labels, queries, neighbours)
    return {
        "knn": mean_auroc(near, query_labels),
        "probe": mean_auroc(probe_scores(bank, bank_labels, queries), query_labels),
        "deviation": embedding_deviation(queries),
        "rank": effective_rank(queries),
    }


def knn_scores(bank: Array, bank_labels: Array, queries: Array, neighbours: int = 20) -> Array:
    """(m, C) the share of each finding among the nearest films of which it is stated.

    Neighbours are weighed by ``exp(cosine / 0.07)`` (Wu et al., "Unsupervised feature learning via
    non-parametric instance discrimination", CVPR 2018, section 3.4). NaN for a finding that the
    bank does not have in both kinds.
    """
    cosine = _units(queries) @ _units(bank).T
    scores = np.full((len(queries), bank_labels.shape[1]), np.nan)
    for column, labels in enumerate(bank_labels.T):
        known = np.flatnonzero(~np.isnan(labels))
        if not _both_kinds(labels[known]):
            continue
        nearest = np.argsort(-cosine[:, known], axis=1, kind="stable")[:, :neighbours]
        weights = np.exp((np.take_along_axis(cosine[:, known], nearest, 1) - 1) / TEMPERATURE)
        scores[:, column] = (weights * labels[known][nearest]).sum(1) / weights.sum(1)
    return scores


def probe_scores(bank: Array, bank_labels: Array, queries: Array, penalty: float = 1.0) -> Array:
    """(m, C) logits of one logistic regression a finding, fitted on the bank's known films.

    Embeddings are standardised by the bank; the fit minimises the sum of log losses plus
    ``penalty / 2`` times the squared weights. NaN as for ``knn_scores``.
    """
    centre, spread = bank.mean(0), bank.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    standard, asked = (bank - centre) / spread, (queries - centre) / spread
    scores = np.full((len(queries), bank_labels.shape[1]), np.nan)
    for column, labels in enumerate(bank_labels.T):
        known = ~np.isnan(labels)
        if _both_kinds(labels[known]):
            weights = _logistic(standard[known], labels[known], penalty)
            scores[:, column] = asked @ weights[:-1] + weights[-1]
    return scores


def mean_auroc(scores: Array, labels: Array) -> float:
    """The mean AUROC over the findings with scores and both kinds of labels; NaN without any."""
    found = []
    for score, label in zip(scores.T, labels.T, strict=True):
        if len(score) and not np.isnan(score).any():
            found.append(rank_auc(score[label == 1], score[label == 0]))
    known = [value for value in found if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def embedding_deviation(embeddings: Array) -> float:
    """Mean deviation of the dimensions of unit embeddings, times the root of their number.

    1 for directions that are spread evenly, 0 where all point one way (Chen and He, "Exploring
    simple Siamese representation learning", CVPR 2021, section 4.1, there without the root).
    """
    return float(_units(embeddings).std(0).mean() * np.sqrt(embeddings.shape[1]))


def effective_rank(embeddings: Array) -> float:
    """The exponential of the entropy of the singular values' shares; 0 where all rows are equal.

    Roy and Vetterli, "The effective rank" (EUSIPCO 2007), of the centred embeddings.
    """
    values = np.linalg.svd(embeddings - embeddings.mean(0), compute_uv=False)
    # What float32 cannot tell from equal is no dimension.
    floor = np.finfo(np.float32).eps * np.linalg.norm(embeddings)
    shares = values[values > floor]
    if not len(shares):
        return 0.0
    shares = shares / shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _logistic(rows: Array, labels: Array, penalty: float) -> Array:
    """Weights and, last, the intercept, which is not penalised."""

    def loss(weights: Array) -> tuple[float, Array]:
        logits = rows @ weights[:-1] + weights[-1]
        value = np.logaddexp(0, logits).sum() - labels @ logits
        error = 1 / (1 + np.exp(-np.clip(logits, -500, 500))) - labels
        slope = np.append(rows.T @ error + penalty * weights[:-1], error.sum())
        return float(value + penalty / 2 * weights[:-1] @ weights[:-1]), slope

    start = np.zeros(rows.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x)


def _both_kinds(labels: Array) -> bool:
    return bool((labels == 1).any() and (labels == 0).any())


def _units(embeddings: Array) -> Array:
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(length > 0, length, 1.0)

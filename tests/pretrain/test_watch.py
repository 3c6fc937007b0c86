"""Scores of embeddings against loops, scikit-learn and cases known by hand."""

import math

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pretrain.watch import (
    Array,
    effective_rank,
    embedding_deviation,
    knn_scores,
    mean_auroc,
    probe_scores,
    watch,
)

NAN = math.nan


def make_films(n: int, seed: int, width: int = 6, classes: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, classes)) < 0.4).astype(float)
    vectors = rng.standard_normal((n, width)) + 0.5
    vectors[:, :classes] += 1.5 * labels
    labels[rng.random(labels.shape) < 0.15] = NAN
    return vectors, labels


@pytest.mark.parametrize("neighbours", [1, 5, 500])
def test_neighbours_agree_with_a_loop(neighbours: int) -> None:
    (bank, labels), (queries, _) = make_films(60, 0), make_films(11, 1)
    found = knn_scores(bank, labels, queries, neighbours)
    for i, query in enumerate(queries):
        for c in range(3):
            near = []
            for film, label in zip(bank, labels[:, c], strict=True):
                if not np.isnan(label):
                    cosine = film @ query / np.linalg.norm(film) / np.linalg.norm(query)
                    near.append((cosine, label))
            near = sorted(near, reverse=True)[:neighbours]
            weights = np.array([math.exp(cosine / 0.07) for cosine, _ in near])
            share = (weights * [label for _, label in near]).sum() / weights.sum()
            assert found[i, c] == pytest.approx(share, rel=1e-9)


def test_the_probe_is_logistic_regression() -> None:
    (bank, labels), (queries, _) = make_films(80, 2), make_films(20, 3)
    found = probe_scores(bank, labels, queries)
    centre, spread = bank.mean(0), bank.std(0)
    for c in range(3):
        known = ~np.isnan(labels[:, c])
        model = LogisticRegression(C=1.0, tol=1e-10, max_iter=5000)
        model.fit((bank[known] - centre) / spread, labels[known, c])
        expected = model.decision_function((queries - centre) / spread)
        np.testing.assert_allclose(found[:, c], expected, rtol=2e-3, atol=2e-3)


def test_the_score_is_the_mean_auroc_of_the_findings_that_have_both_kinds() -> None:
    (bank, labels), (queries, truth) = make_films(60, 4), make_films(40, 5)
    labels[:, 1] = np.where(labels[:, 1] == 0, 0, NAN)  # the bank has no positive
    found = watch(bank, labels, queries, truth, 7)
    scores = {
        "knn": knn_scores(bank, labels, queries, 7),
        "probe": probe_scores(bank, labels, queries),
    }
    for name, score in scores.items():
        values = []
        for c in (0, 2):
            known = ~np.isnan(truth[:, c])
            values.append(roc_auc_score(truth[known, c], score[known, c]))
        assert np.isnan(score[:, 1]).all()
        assert found[name] == pytest.approx(np.mean(values))
        assert 0.6 < found[name] < 1
    assert found["deviation"] == embedding_deviation(queries)
    assert found["rank"] == effective_rank(queries)


def test_without_labels_there_is_no_score() -> None:
    vectors, _ = make_films(10, 0)
    for labels in (np.zeros((10, 0)), np.full((10, 2), NAN), np.ones((10, 2))):
        found = watch(vectors, labels, vectors, labels)
        assert math.isnan(found["knn"])
        assert math.isnan(found["probe"])
        assert found["rank"] > 1
    assert math.isnan(mean_auroc(np.ones((4, 1)), np.ones((4, 1))))


def test_a_constant_embedding_scores_by_chance() -> None:
    _, labels = make_films(30, 0)
    flat = np.full((30, 4), 0.3)
    found = watch(flat, labels, flat, labels)
    assert found == {"knn": 0.5, "probe": 0.5, "deviation": pytest.approx(0, abs=1e-12), "rank": 0}


def test_deviation_is_one_for_directions_spread_evenly_and_ignores_length() -> None:
    axes = np.concatenate([np.eye(8), -np.eye(8)])
    assert embedding_deviation(axes) == pytest.approx(1)
    lengths = np.random.default_rng(0).uniform(0.1, 9, (16, 1))
    assert embedding_deviation(axes * lengths) == pytest.approx(1)
    assert embedding_deviation(np.ones((5, 8)) * lengths[:5]) == pytest.approx(0, abs=1e-12)
    half = np.concatenate([np.eye(8)[:4], -np.eye(8)[:4]])
    assert embedding_deviation(half) == pytest.approx(4 * 0.5 / 8 * math.sqrt(8))


@pytest.mark.parametrize("used", [1, 3, 8])
def test_the_effective_rank_counts_even_dimensions(used: int) -> None:
    turn = ortho_group.rvs(8, random_state=0)
    signs = np.concatenate([np.eye(8)[:used], -np.eye(8)[:used]]) @ turn
    assert effective_rank(signs + 5) == pytest.approx(used)
    assert effective_rank(signs * 1e-4) == pytest.approx(used)


def test_the_effective_rank_is_the_exponential_of_an_entropy() -> None:
    rows = np.diag([3.0, 1.0])[:, :2]
    rows = np.concatenate([rows, -rows])  # centred; singular values 3 and 1 times the root of 2
    shares = np.array([0.75, 0.25])
    assert effective_rank(rows) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))


def test_rounding_is_no_dimension() -> None:
    rng = np.random.default_rng(0)
    assert effective_rank(np.ones((50, 16)) + 1e-8 * rng.standard_normal((50, 16))) == 0

"""Pairs and triplets against loops over all of them, in value and gradient."""

import math
from fractions import Fraction
from itertools import product

import pytest
import torch
from torch import Tensor

from pretrain.losses import pairwise_distance, triplet_loss
from pretrain.positives import label_pairs

NAN = math.nan


def make_labels(rows: int, classes: int, seed: int = 0) -> Tensor:
    """Sparse findings: some rows normal, some alike, some not stated in full."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(rows, classes, generator=generator) < 0.4).float()
    labels[::5] = 0
    labels[3, 0] = NAN
    labels[4] = NAN
    return labels


def slow_pairs(
    labels: Tensor, index: Tensor | None, jaccard: Fraction
) -> tuple[list[list[bool]], list[list[bool]]]:
    rows = labels.tolist()
    alike = [[False] * len(rows) for _ in rows]
    unlike = [[False] * len(rows) for _ in rows]
    for i, j in product(range(len(rows)), repeat=2):
        if i == j:
            continue
        if index is not None and index[i] == index[j]:
            alike[i][j] = True
        elif not any(math.isnan(value) for value in rows[i] + rows[j]):
            one, other = ({k for k, value in enumerate(row) if value} for row in (rows[i], rows[j]))
            if not one and not other:
                alike[i][j] = True
            elif not one & other:
                unlike[i][j] = True
            else:
                alike[i][j] = Fraction(len(one & other), len(one | other)) >= jaccard
    return alike, unlike


@pytest.mark.parametrize("jaccard", [(1, 4), (1, 3), (1, 2), (3, 5), (2, 3), (7, 13), (1, 1)])
@pytest.mark.parametrize("classes", [1, 3, 14])
@pytest.mark.parametrize("views", [False, True])
def test_pairs_agree_with_a_loop(jaccard: tuple[int, int], classes: int, views: bool) -> None:
    labels = make_labels(24, classes)
    index = torch.arange(24) % 9 if views else None
    exact = Fraction(*jaccard)
    alike, unlike = label_pairs(labels, index, float(exact))
    expected = slow_pairs(labels, index, exact)
    assert (alike.tolist(), unlike.tolist()) == expected
    assert alike.any()
    assert unlike.any()
    assert not (alike & unlike).any()
    for pairs in (alike, unlike):
        assert torch.equal(pairs, pairs.T)
        assert not pairs.diagonal().any()


@pytest.mark.parametrize(
    ("both", "either"), [(1, 3), (2, 3), (7, 13), (15, 19), (3, 21), (6, 21), (15, 23), (15, 25)]
)
def test_a_threshold_that_is_just_met_counts(both: int, either: int) -> None:
    """In float32 p / q times q may come out above p, as it does for most of these."""
    labels = torch.zeros(2, either)
    labels[0] = 1
    labels[1, :both] = 1
    assert label_pairs(labels, jaccard=both / either)[0][0, 1]
    assert not label_pairs(labels, jaccard=both / either + 0.001)[0][0, 1]


def test_normal_films_are_alike_and_unlike_any_other() -> None:
    alike, unlike = label_pairs(torch.tensor([[0.0, 0], [0, 0], [1, 0], [1, 1]]))
    assert alike.int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert unlike.int().tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


def test_between_the_threshold_and_disjoint_films_are_neither() -> None:
    labels = torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    alike, unlike = label_pairs(labels, jaccard=0.5)
    assert not alike.any()
    assert unlike.int().tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]


def test_exclusive_classes_are_alike_within_and_unlike_between() -> None:
    names = torch.tensor([0, 1, 2, 0, 1, 0])
    alike, unlike = label_pairs(torch.eye(3)[names])
    same = names[:, None] == names[None]
    assert torch.equal(alike, same & ~torch.eye(6, dtype=torch.bool))
    assert torch.equal(unlike, ~same)


def test_views_of_an_image_are_alike_even_without_labels() -> None:
    labels = torch.tensor([[NAN, 0], [1, 0], [NAN, 0], [0, 1]])
    alike, unlike = label_pairs(labels, torch.tensor([5, 6, 5, 7]))
    assert alike.nonzero().tolist() == [[0, 2], [2, 0]]
    assert unlike.nonzero().tolist() == [[1, 3], [3, 1]]


def make_embeddings(rows: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64).requires_grad_()


def slow_triplets(
    embeddings: Tensor, alike: Tensor, unlike: Tensor, margin: float, *, active_only: bool
) -> list[Tensor]:
    distances: dict[tuple[int, int], Tensor] = {}
    for i, j in (alike | unlike).nonzero().tolist():
        distances[i, j] = (embeddings[i] - embeddings[j]).square().sum().sqrt()
    values = []
    for a, p, n in product(range(len(embeddings)), repeat=3):
        if alike[a, p] and unlike[a, n]:
            hinge = distances[a, p] - distances[a, n] + margin
            if not active_only or hinge.item() > 0:
                values.append(hinge.clamp_min(0))
    return values


@pytest.mark.parametrize("active_only", [True, False])
@pytest.mark.parametrize("margin", [0.1, 1.0, 5.0])
@pytest.mark.parametrize(("rows", "width"), [(6, 1), (9, 4), (27, 2)])
def test_triplets_agree_with_a_triple_loop(
    rows: int, width: int, margin: float, active_only: bool
) -> None:
    embeddings = make_embeddings(rows, width)
    pairs = label_pairs(make_labels(rows, 2), torch.arange(rows) % 8)
    found = triplet_loss(embeddings, *pairs, margin, active_only=active_only)
    slow = torch.stack(slow_triplets(embeddings, *pairs, margin, active_only=active_only))
    torch.testing.assert_close(found, slow, rtol=1e-10, atol=1e-12)
    assert (found > 0).all() == (active_only or found.min().item() > 0)
    weights = torch.randn_like(found)
    gradients = [torch.autograd.grad((v * weights).sum(), embeddings)[0] for v in (found, slow)]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_the_margin_is_the_value_at_equal_distances() -> None:
    embeddings = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]])
    alike = torch.zeros(3, 3, dtype=torch.bool)
    unlike = alike.clone()
    alike[0, 1] = unlike[0, 2] = True
    for margin in (0.25, 1.0, 2.0):
        assert triplet_loss(embeddings, alike, unlike, margin).tolist() == [margin]
    assert triplet_loss(embeddings + 0.0, unlike, unlike, 1.0).tolist() == [1.0]


@pytest.mark.parametrize("active_only", [True, False])
def test_without_triplets_there_is_no_value_and_no_gradient(active_only: bool) -> None:
    for labels in (torch.ones(4, 2), torch.eye(4), torch.full((4, 2), NAN)):
        embeddings = make_embeddings(4, 3)
        values = triplet_loss(embeddings, *label_pairs(labels), active_only=active_only)
        assert values.shape == (0,)
        (gradient,) = torch.autograd.grad(values.sum(), embeddings)
        assert (gradient == 0).all()


def test_triplets_beyond_the_margin_are_inactive() -> None:
    labels = torch.eye(2)[[0, 0, 1, 1]]
    embeddings = torch.tensor([[0.0], [0.1], [9.0], [9.2]], requires_grad=True)
    assert triplet_loss(embeddings, *label_pairs(labels)).shape == (0,)
    every = triplet_loss(embeddings, *label_pairs(labels), active_only=False)
    assert every.tolist() == [0.0] * 8
    (gradient,) = torch.autograd.grad(every.sum(), embeddings)
    assert (gradient == 0).all()


def test_equal_embeddings_have_a_finite_gradient() -> None:
    embeddings = torch.tensor([[1.0, 2], [1, 2], [1, 2], [0, 0]], requires_grad=True)
    pairs = label_pairs(torch.eye(2)[[0, 0, 1, 1]])
    values = triplet_loss(embeddings, *pairs)
    assert len(values) > 0
    (gradient,) = torch.autograd.grad(values.mean(), embeddings)
    assert gradient.isfinite().all()
    (still,) = torch.autograd.grad(pairwise_distance(embeddings[:3]).sum(), embeddings)
    assert (still == 0).all()


def test_distances_are_exact_far_from_the_origin() -> None:
    """The usual trick with a matrix product loses all digits there; torch takes it from 26 rows."""
    near = make_embeddings(40, 3).detach()
    far = (near + 4096).float()
    exact = [[math.dist(one, other) for other in far.tolist()] for one in far.tolist()]
    found = pairwise_distance(far)
    torch.testing.assert_close(found, torch.tensor(exact), rtol=1e-5, atol=0)
    assert (found.diagonal() == 0).all()

"""Each method against loops over its rows, in value and gradient; what holds nothing to compare."""

from itertools import product
from typing import Any

import pytest
import torch
from lightly.loss import BarlowTwinsLoss
from lightly.models.modules.heads import BarlowTwinsProjectionHead
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.config import OPTIONS, POSITIVES, ContrastConfig
from pretrain.losses import semi_hard_triplet_loss, supcon_loss, triplet_loss
from pretrain.methods import METHODS, Method, Rows, ViewPair, build_method
from pretrain.positives import Pairs, group_pairs, label_pairs
from saliency.terms import LossTerm
from tests.pretrain.test_losses import make_embeddings, make_labels, slow_triplets

HEAD = {"hidden": 7, "out": 5}


def two_views(images: int) -> Tensor:
    return torch.arange(images).repeat(2)


def make_rows(images: int = 6, width: int = 4, pairs: Pairs | None = None) -> Rows:
    embeddings = make_embeddings(2 * images, width)
    view = torch.arange(2).repeat_interleave(images)
    targets = make_embeddings(2 * images, width).detach().flip(0)
    return Rows(embeddings, targets, *(pairs or group_pairs(two_views(images))), view)


def make_method(name: str, width: int = 4, **options: Any) -> Method:  # noqa: ANN401
    torch.manual_seed(0)
    return build_method(name, width, options).double()


def agree(found: Tensor, expected: Tensor, *of: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    gradients = [torch.autograd.grad(value, of, retain_graph=True) for value in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)
        assert other.abs().max() > 1e-6


def mean_of(method: Method, rows: Rows) -> Tensor:
    term: LossTerm = method(rows)
    total, count = term.sums()
    return total / count


def cosine(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum() / (one.square().sum().sqrt() * other.square().sum().sqrt())


def slow_supcon(z: Tensor, alike: Tensor, unlike: Tensor, temperature: float) -> Tensor:
    values = []
    for i in range(len(z)):
        positives = alike[i].nonzero()[:, 0].tolist()
        negatives = unlike[i].nonzero()[:, 0].tolist()
        if not positives or not negatives:
            continue
        weights = {j: torch.exp(cosine(z[i], z[j]) / temperature) for j in positives + negatives}
        total = torch.stack(list(weights.values())).sum()
        values.append(-torch.stack([torch.log(weights[p] / total) for p in positives]).mean())
    return torch.stack(values)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
@pytest.mark.parametrize(("rows", "width", "jaccard"), [(6, 2, 0.5), (15, 4, 0.3), (24, 3, 1.0)])
def test_supcon_agrees_with_loops(
    rows: int, width: int, jaccard: float, temperature: float
) -> None:
    z = make_embeddings(rows, width)
    pairs = label_pairs(make_labels(rows, 3), torch.arange(rows) % (rows - 2), jaccard)
    found = supcon_loss(z, *pairs, temperature)
    expected = slow_supcon(z, *pairs, temperature)
    assert 0 < len(expected) <= rows
    agree(found.mean(), expected.mean(), z)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("margin", [0.1, 0.7, 5.0])
@pytest.mark.parametrize(("rows", "width"), [(6, 1), (9, 4), (27, 2)])
def test_semi_hard_triplets_agree_with_loops(rows: int, width: int, margin: float) -> None:
    z = make_embeddings(rows, width)
    alike, unlike = label_pairs(make_labels(rows, 2), torch.arange(rows) % 8)
    expected = []
    for a, p in product(range(rows), repeat=2):
        if not alike[a, p]:
            continue
        near = (z[a] - z[p]).square().sum().sqrt()
        far = [(z[a] - z[n]).square().sum().sqrt() for n in unlike[a].nonzero()[:, 0].tolist()]
        semi_hard = [d for d in far if near.item() < d.item() < near.item() + margin]
        if semi_hard:
            expected.append(near - min(semi_hard, key=Tensor.item) + margin)
    found = semi_hard_triplet_loss(z, alike, unlike, margin)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-11)
    assert ((found > 0) & (found < margin)).all()
    agree(found.mean(), torch.stack(expected).mean(), z)


def test_mining_is_for_training_alone() -> None:
    rows = make_rows(pairs=label_pairs(make_labels(12, 2)))
    method = make_method("triplet", mining="semi_hard", margin=0.3)
    mined = method(rows).values
    torch.testing.assert_close(
        mined, semi_hard_triplet_loss(rows.embeddings, rows.alike, rows.unlike, 0.3)
    )
    every = slow_triplets(rows.embeddings, rows.alike, rows.unlike, 0.3, active_only=False)
    torch.testing.assert_close(method.eval()(rows).values, torch.stack(every))
    assert len(every) > len(mined) > 0


@pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0])
@pytest.mark.parametrize(("images", "width"), [(3, 3), (6, 4), (11, 2)])
def test_nt_xent_agrees_with_loops(images: int, width: int, temperature: float) -> None:
    rows = make_rows(images, width)
    method = make_method("nt_xent", width, temperature=temperature, **HEAD)
    head = method.get_submodule("head")
    z = torch.cat([head(rows.embeddings[:images]), head(rows.embeddings[images:])])
    values = []
    for i in range(2 * images):
        others = [j for j in range(2 * images) if j != i]
        logits = torch.stack([cosine(z[i], z[j]) / temperature for j in others])
        positive = others.index((i + images) % (2 * images))
        values.append(torch.logsumexp(logits, 0) - logits[positive])
    agree(mean_of(method, rows), torch.stack(values).mean(), rows.embeddings, *head.parameters())


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 3.0, 0.5)])
@pytest.mark.parametrize(("images", "width"), [(3, 3), (8, 4)])
def test_vicreg_agrees_with_loops(
    images: int, width: int, weights: tuple[float, float, float]
) -> None:
    rows = make_rows(images, width)
    names = ("invariance", "variance", "covariance")
    method = make_method("vicreg", width, **dict(zip(names, weights, strict=True)), **HEAD)
    head = method.get_submodule("head")
    views = [head(rows.embeddings[rows.view == v]) for v in (0, 1)]
    d = views[0].shape[1]
    parts = [(views[0] - views[1]).square().sum() / (images * d), torch.tensor(0.0), 0]
    for z in views:
        centred = z - z.sum(0) / images
        for j, k in product(range(d), repeat=2):
            c = (centred[:, j] * centred[:, k]).sum() / (images - 1)
            if j == k:
                parts[1] = parts[1] + torch.relu(1 - torch.sqrt(c + 1e-4)) / d / 2
            else:
                parts[2] = parts[2] + c.square() / d
    expected = sum(w * p for w, p in zip(weights, parts, strict=True))
    assert isinstance(expected, Tensor)
    agree(mean_of(method, rows), expected, rows.embeddings)


@pytest.mark.parametrize("positives", ["augmentation", "label"])
@pytest.mark.parametrize(("images", "width"), [(5, 3), (7, 4)])
def test_byol_agrees_with_loops(images: int, width: int, positives: str) -> None:
    index = two_views(images)
    pairs = group_pairs(index)
    if positives == "label":
        pairs = label_pairs(make_labels(images, 2).repeat(2, 1), index)
    rows = make_rows(images, width, pairs)
    method = make_method("byol", width, **HEAD)
    with torch.no_grad():  # so that the target head is not the head
        for parameter in method.get_submodule("target_head").parameters():
            parameter.mul_(1.5)
    assert rows.targets is not None
    head, predict = method.get_submodule("head"), method.get_submodule("predict")
    online = predict(head(rows.embeddings))
    target = method.get_submodule("target_head")(rows.targets)
    values = [
        -cosine(online[i], target[j])
        for i, j in product(range(2 * images), repeat=2)
        if pairs[0][i, j]
    ]
    assert len(values) == 2 * images if positives == "augmentation" else len(values) >= 2 * images
    expected = torch.stack(values).mean()
    agree(mean_of(method, rows), expected, rows.embeddings, *predict.parameters())
    expected.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in method.get_submodule("target_head").parameters())


@pytest.mark.parametrize("temperature", [0.1, 0.7])
def test_supcon_of_two_views_is_nt_xent(temperature: float) -> None:
    rows = make_rows(9, 5)
    found = supcon_loss(rows.embeddings, rows.alike, rows.unlike, temperature)
    method = ViewPair(nn.Identity(), make_method("nt_xent", temperature=temperature).loss)  # type: ignore[arg-type]
    agree(found.mean(), mean_of(method, rows), rows.embeddings)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_with_nothing_to_compare_gives_no_value_and_no_gradient(name: str) -> None:
    no = torch.zeros(8, 8, dtype=torch.bool)
    alone = make_rows(4, pairs=(no, no))._replace(view=torch.zeros(8, dtype=torch.int64))
    one = alone.embeddings[:1]
    single = Rows(one, one.detach(), no[:1, :1], no[:1, :1], alone.view[:1])
    for rows in (alone, single):
        method = make_method(name, **({} if name == "triplet" else HEAD))
        term = method(rows)
        assert term.sums()[1] == 0
        (gradient,) = torch.autograd.grad(term.sums()[0], rows.embeddings)
        assert (gradient == 0).all()


@pytest.mark.parametrize("temperature", [0.01, 0.1])
def test_supcon_is_the_same_under_autocast(temperature: float) -> None:
    torch.manual_seed(0)
    plain = torch.randn(12, 8, requires_grad=True)
    labels = torch.arange(12) % 3
    alike = (labels == labels[:, None]) & ~torch.eye(12, dtype=torch.bool)
    unlike = labels != labels[:, None]
    supcon_loss(plain, alike, unlike, temperature).mean().backward()  # type: ignore[no-untyped-call]
    cast = plain.detach().clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = supcon_loss(cast, alike, unlike, temperature)
        triplet_loss(cast.bfloat16(), alike, unlike)
    values.mean().backward()  # type: ignore[no-untyped-call]
    assert plain.grad is not None
    torch.testing.assert_close(cast.grad, plain.grad)


@pytest.mark.parametrize("name", ["triplet", "supcon"])
def test_one_class_alone_has_nothing_to_push_away(name: str) -> None:
    method = make_method(name, **({} if name == "triplet" else HEAD))
    rows = make_rows(4, pairs=label_pairs(torch.ones(8, 2)))
    assert rows.alike.sum() == 56
    assert method(rows).values.shape == (0,)


def test_equal_embeddings_have_finite_gradients() -> None:
    for name in METHODS:
        method = make_method(name, **({} if name == "triplet" else HEAD))
        flat = torch.ones(12, 4, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(
            mean_of(method, make_rows(6)._replace(embeddings=flat)), flat
        )
        assert gradient.isfinite().all(), name


def test_a_further_method_of_lightly_is_a_few_lines() -> None:
    torch.manual_seed(0)
    method = ViewPair(BarlowTwinsProjectionHead(4, 8, 6), BarlowTwinsLoss()).double()
    rows = make_rows(5)
    head = method.head
    one, other = (head(rows.embeddings[rows.view == view]) for view in (0, 1))
    normed = [(z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() for z in (one, other)]
    correlation = normed[0].T @ normed[1] / 5
    diagonal = correlation.diagonal()
    rest = correlation.square().sum() - diagonal.square().sum()
    agree(mean_of(method, rows), (1 - diagonal).square().sum() + 5e-3 * rest, rows.embeddings)


def test_every_method_has_options_and_positives() -> None:
    assert OPTIONS.keys() == POSITIVES.keys() == METHODS.keys()
    config = ContrastConfig()
    found = {name: config.positives_of(name) for name in METHODS}
    assert found == {"triplet": "label", "supcon": "label"} | dict.fromkeys(
        ("nt_xent", "vicreg", "byol"), "augmentation"
    )
    assert ContrastConfig(positives="gaze").positives_of("supcon") == "gaze"


def test_projections_are_as_wide_as_the_options_say() -> None:
    widths = {}
    for name in ("supcon", "nt_xent", "vicreg", "byol"):
        head = make_method(name, **HEAD).get_submodule("head")
        assert head(F.normalize(torch.rand(3, 4).double())).shape == (3, 5)
        widths[name] = [layer.out_features for layer in head.modules() if hasattr(layer, "bias")
                        and isinstance(layer, nn.Linear)]  # fmt: skip
    assert widths == {"supcon": [7, 5], "nt_xent": [7, 5], "vicreg": [7, 7, 5], "byol": [7, 5]}

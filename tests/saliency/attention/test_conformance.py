"""What every registered module keeps to, alone and at a site."""

import copy
from dataclasses import replace

import jaxtyping
import pytest
import torch
from torch import Tensor

from saliency.attention import AttentionContext, AttentionSite, build, names
from saliency.attention.contract import AttentionOutput

from .modules import OPTIONS, SUPERVISION, draw, everything, flat, make, make_context


def same(one: AttentionOutput, other: AttentionOutput) -> bool:
    pairs = zip(everything(one), everything(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("use", names())
def test_shapes_are_kept_at_odd_sizes_and_what_is_provided_is_given(use: str) -> None:
    module, features = make(use)
    out = module(features, make_context())
    assert [x.shape for x in flat(out.features)] == [x.shape for x in flat(features)]
    assert out.maps
    assert all(m.ndim == 4 and len(m) == 2 and m.isfinite().all() for m in out.maps.values())
    assert set(out.losses) == set(module.provides)
    assert all(term.values.shape == (4,) for term in out.losses.values())  # 4 stated labels
    assert (out.logits is not None) == (use in SUPERVISION)


@pytest.mark.parametrize("use", sorted(SUPERVISION))
def test_one_class_is_enough(use: str) -> None:
    _, features = make(use)
    channels: int | list[int] = 16 if isinstance(features, Tensor) else [16, 16]
    module = build(use, channels, classes=1)
    context = make_context()
    assert context.class_maps is not None
    assert context.labels is not None
    single = replace(
        context,
        class_maps=tuple(maps[:, :1] for maps in context.class_maps),
        labels=context.labels[:, 1:2],
    )
    out = module(features, single)
    assert out.logits is not None
    assert out.logits.shape == (2, 1)
    assert all(maps.shape[1] == 1 for maps in out.maps.values())
    (term,) = out.losses.values()
    expected = torch.nn.functional.softplus(out.logits[0, 0])  # labels 0 and not stated
    torch.testing.assert_close(term.values, expected[None])


@pytest.mark.parametrize("use", names())
def test_autocast_gives_finite_values_near_those_of_full_precision(use: str) -> None:
    module, features = make(use)
    module.eval()
    context = make_context()
    with torch.autocast("cpu", torch.bfloat16):
        low = everything(module(features, context))
    for one, other in zip(low, everything(module(features, context)), strict=True):
        assert one.isfinite().all()
        gap = (one.float() - other).detach().norm() / other.detach().norm()
        assert gap.item() < 0.03


@pytest.mark.parametrize("use", names())
def test_every_parameter_and_the_features_get_a_gradient(use: str) -> None:
    module, features = make(use)
    leaves = [x.requires_grad_() for x in flat(features)]
    given = leaves[0] if isinstance(features, Tensor) else leaves
    out = module(given, make_context())
    tensors = everything(out)
    total = sum((t * draw(*t.shape)).sum() for t in tensors if t.requires_grad)
    assert isinstance(total, Tensor)
    grads = torch.autograd.grad(total, [*leaves, *module.parameters()], allow_unused=True)
    assert all(g is not None and g.isfinite().all() and g.abs().sum() > 0 for g in grads)


@pytest.mark.parametrize("use", names())
def test_evaluation_is_deterministic_and_training_by_the_seed(use: str) -> None:
    module, features = make(use)
    context = make_context()
    outs = []
    for training in (False, False, True, True):
        clone = copy.deepcopy(module).train(training)
        torch.manual_seed(7)
        outs.append(clone(features, context))
    assert same(outs[0], outs[1])
    assert same(outs[2], outs[3])


@pytest.mark.parametrize("use", names())
def test_a_new_site_is_the_identity_and_opens(use: str) -> None:
    """A gate that starts closed must feel a gradient, or the module would never be used."""
    module, features = make(use)
    site = AttentionSite([module])
    leaves = flat(features)
    out = site(features, make_context())
    for one, other in zip(flat(out.features), leaves, strict=True):
        assert torch.equal(one, other)
    total = sum((x * draw(*x.shape, seed=3)).sum() for x in flat(out.features))
    assert isinstance(total, Tensor)
    (gradient,) = torch.autograd.grad(total, [site.gamma])
    assert (gradient != 0) == (use not in SUPERVISION)


@pytest.mark.parametrize("use", names())
def test_a_state_dict_restores_the_module(use: str) -> None:
    module, features = make(use)
    context = make_context()
    module(features, context)  # the statistics of norms have moved
    torch.manual_seed(1)
    channels: int | list[int] = 16 if isinstance(features, Tensor) else [16, 16]
    other = build(use, channels, **OPTIONS.get(use, {}))
    other.load_state_dict(module.state_dict())
    assert same(module.eval()(features, context), other.eval()(features, context))


@pytest.mark.slow
@pytest.mark.parametrize("use", names())
def test_compiled_it_gives_the_same(use: str) -> None:
    module, features = make(use)
    module.eval()
    context = make_context()
    torch._dynamo.reset()
    # The shape checks of the tests are no part of the product, and cannot be compiled.
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with torch.no_grad():
            found = everything(torch.compile(module, backend="eager")(features, context))
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    for one, other in zip(found, everything(module(features, context)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("use", names())
def test_prediction_needs_no_targets(use: str) -> None:
    module, features = make(use)
    context = make_context()
    blind = AttentionContext(
        valid=context.valid, anatomy=context.anatomy, class_maps=context.class_maps
    )
    out = module.eval()(features, blind)
    assert out.losses == {}
    for one, other in zip(
        flat(out.features), flat(module(features, context).features), strict=True
    ):
        assert torch.equal(one, other)

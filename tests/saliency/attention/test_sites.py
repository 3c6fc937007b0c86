"""Sites: the identity at the start, the gate's arithmetic, names, and what is refused."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from eye_gaze_data.errors import ConfigError
from saliency.attention import (
    AttentionContext,
    AttentionModule,
    AttentionOutput,
    AttentionSite,
    build_sites,
    find_site,
    provided_losses,
    register,
    registry,
    requirements,
)
from saliency.attention.contract import Features, Requirement
from saliency.config import AttentionConfig
from saliency.terms import LossTerm

SITES: dict[str, int | list[int]] = {
    "encoder_a.1": 6,
    "encoder_b.1": 4,
    "encoder_b.2": 8,
    "skip.1": 4,
    "fusion": [6, 4],
}


class Affine(AttentionModule):
    """``a x + b`` a channel; exports a map, logits and a loss."""

    provides = frozenset({"size"})

    def __init__(self, channels: int, *, bias: float = 0.5) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.arange(1.0, channels + 1))
        self.b = bias

    def forward(self, features: Features, context: AttentionContext) -> AttentionOutput:
        del context
        assert isinstance(features, Tensor)
        out = features * self.a[:, None, None] + self.b
        losses = {"size": LossTerm(self.a.square())}
        return AttentionOutput(out, {"sum": out.sum(1, keepdim=True)}, out.mean((1, 2, 3)), losses)


class Pyramid(AttentionModule):
    """Moves every level by the mean of all."""

    requires: ClassVar[frozenset[Requirement]] = frozenset({"pyramid", "anatomy"})

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, features: Features, context: AttentionContext) -> AttentionOutput:
        assert isinstance(features, list)
        assert [level.shape[1] for level in features] == self.channels
        assert context.organs == ("heart",)
        mean = torch.stack([level.mean() for level in features]).mean()
        return AttentionOutput([level + mean for level in features], logits=mean.expand(2, 3))


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests register is gone afterwards."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    register("affine")(Affine)
    register("pyramid")(Pyramid)


def build_one(use: str, at: str, **options: object) -> nn.ModuleDict:
    return build_sites([AttentionConfig(use=use, at=at, options=options)], SITES)


def site_at(root: nn.ModuleDict, name: str) -> AttentionSite:
    site = find_site(root, name)
    assert site is not None
    return site


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("use", ["se", "cbam", "affine"])
@pytest.mark.parametrize("size", [(5, 7), (8, 8), (1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_a_new_site_is_the_exact_identity(use: str, size: tuple[int, int], training: bool) -> None:
    site = site_at(build_one(use, "encoder_b.2").train(training), "encoder_b.2")
    x = draw(2, 8, *size)
    assert torch.equal(site(x, AttentionContext()).features, x)


def test_the_gate_is_linear_between_input_and_module() -> None:
    site = site_at(build_one("affine", "skip.1", bias=2.0), "skip.1")
    x = draw(2, 4, 3, 5)
    with torch.no_grad():
        site.gamma.fill_(0.3)
    moved = x * torch.arange(1.0, 5)[:, None, None] + 2
    out = site(x, AttentionContext())
    torch.testing.assert_close(out.features, 0.7 * x + 0.3 * moved)
    torch.testing.assert_close(out.maps["sum"], moved.sum(1, keepdim=True))


def test_gamma_alone_has_a_gradient_at_the_start() -> None:
    site = site_at(build_one("affine", "skip.1"), "skip.1")
    x, weights = draw(2, 4, 3, 5).requires_grad_(), torch.randn(2, 4, 3, 5)
    module = site.parts[0]
    assert isinstance(module, Affine)
    loss = (site(x, AttentionContext()).features * weights).sum()
    gamma, inner, outer = torch.autograd.grad(loss, [site.gamma, module.a, x])
    difference = x.detach() * (module.a.detach()[:, None, None] - 1) + 0.5
    torch.testing.assert_close(gamma, (weights * difference).sum())
    assert gamma.abs() > 0
    assert (inner == 0).all()
    torch.testing.assert_close(outer, weights)


def test_single_map_modules_are_built_once_for_each_of_several_maps() -> None:
    root = build_one("affine", "fusion")
    site = site_at(root, "fusion")
    maps = [draw(2, 6, 2, 2), draw(2, 4, 8, 8)]
    with torch.no_grad():
        site.gamma.fill_(1.0)
    out = site(maps, AttentionContext())
    assert isinstance(out.features, list)
    expected = [x * torch.arange(1.0, x.shape[1] + 1)[:, None, None] + 0.5 for x in maps]
    for found, one in zip(out.features, expected, strict=True):
        torch.testing.assert_close(found, one)
    assert set(out.maps) == {"0.sum", "1.sum"}
    torch.testing.assert_close(out.maps["1.sum"], expected[1].sum(1, keepdim=True))
    assert out.logits is not None
    both = torch.stack([one.mean((1, 2, 3)) for one in expected])
    torch.testing.assert_close(out.logits, both.mean(0))
    assert list(out.losses) == ["size"]  # one loss over the values of both
    assert out.losses["size"].values.tolist() == [1, 4, 9, 16, 25, 36, 1, 4, 9, 16]
    assert len(site.parts) == 2
    assert sum(name.endswith("gamma") for name, _ in root.named_parameters()) == 1


def test_a_pyramid_is_built_once_for_all_maps() -> None:
    site = site_at(build_one("pyramid", "fusion"), "fusion")
    maps = [draw(2, 6, 2, 2), draw(2, 4, 8, 8)]
    context = AttentionContext(organs=("heart",))
    out = site(maps, context)
    assert isinstance(out.features, list)
    assert all(torch.equal(*two) for two in zip(out.features, maps, strict=True))
    with torch.no_grad():
        site.gamma.fill_(0.5)
    out = site(maps, context)
    mean = (maps[0].mean() + maps[1].mean()) / 2
    for found, x in zip(out.features, maps, strict=True):
        torch.testing.assert_close(found, x + 0.5 * mean)
    assert out.logits is not None
    torch.testing.assert_close(out.logits, mean.expand(2, 3))
    assert len(site.parts) == 1


def test_parameters_are_named_after_their_site() -> None:
    holder = nn.Module()
    holder.attention = build_one("affine", "*")
    names = {name for name, _ in holder.named_parameters()}
    expected = {f"attention.{site}.gamma" for site in SITES}
    expected |= {f"attention.{site}.parts.0.a" for site in SITES} | {"attention.fusion.parts.1.a"}
    assert names == expected


def test_a_glob_takes_the_sites_it_matches_and_no_others() -> None:
    root = build_one("affine", "encoder_b.*")
    found = [name for name in SITES if find_site(root, name) is not None]
    assert found == ["encoder_b.1", "encoder_b.2"]
    assert find_site(root, "encoder_b") is None
    assert find_site(root, "encoder_b.1.parts") is None
    assert find_site(root, "nowhere.1") is None
    assert len(build_sites([], SITES)) == 0


def test_several_entries_share_the_network() -> None:
    configs = [
        AttentionConfig(use=use, at=at) for use, at in [("se", "skip.*"), ("affine", "enc*")]
    ]
    root = build_sites(configs, SITES)
    assert [find_site(root, name) is None for name in SITES] == [False] * 4 + [True]
    assert isinstance(site_at(root, "encoder_a.1").parts[0], Affine)
    assert not isinstance(site_at(root, "skip.1").parts[0], Affine)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (
            [("se", "skip.9")],
            r"attention 'se' at 'skip.9': no such site; this network has encoder_a.1, .*, fusion",
        ),
        ([("see", "skip.1")], r"attention module 'see' does not exist; did you mean 'se'\?"),
        ([("se", "skip.*"), ("cbam", "*.1")], r"site 'skip.1' is claimed by 'se' and 'cbam'"),
        ([("se", "fusion"), ("se", "fusion")], r"site 'fusion' is claimed by 'se' and 'se'"),
        (
            [("pyramid", "skip.1")],
            r"attention 'pyramid' needs a pyramid; site 'skip.1' has one map",
        ),
    ],
)
def test_what_is_wrong_is_named(entries: list[tuple[str, str]], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build_sites([AttentionConfig(use=use, at=at) for use, at in entries], SITES)


def test_a_second_closed_gate_is_refused() -> None:
    closed = AttentionConfig(use="se", at="skip.1", options={"zero_init_residual": True})
    message = "'se' at 'skip.1': zero_init_residual is for use outside a site; two gates"
    with pytest.raises(ConfigError, match=message):
        build_sites([closed], SITES)


def test_a_state_dict_restores_all_sites() -> None:
    roots = [build_one("cbam", "*") for _ in range(2)]
    for name, parameter in roots[0].named_parameters():
        if name.endswith("gamma"):
            nn.init.uniform_(parameter, 0.1, 1)
    roots[1].load_state_dict(roots[0].state_dict())
    one, two = (site_at(root.eval(), "encoder_b.2") for root in roots)
    x = draw(2, 8, 5, 7)
    found = one(x, AttentionContext()).features
    assert not torch.equal(found, x)
    assert torch.equal(found, two(x, AttentionContext()).features)


def test_requirements_are_listed_by_name() -> None:
    configs = [AttentionConfig(use=use, at="*") for use in ("se", "pyramid")]
    expected = {"se": frozenset[str](), "pyramid": frozenset({"pyramid", "anatomy"})}
    assert requirements(configs) == expected
    assert provided_losses(configs) == frozenset()
    assert provided_losses([*configs, AttentionConfig(use="affine", at="*")]) == {"size"}
    with pytest.raises(ConfigError, match="'nothing' does not exist"):
        requirements([AttentionConfig(use="nothing", at="*")])

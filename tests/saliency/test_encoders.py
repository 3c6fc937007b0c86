"""Encoder A against a walk by hand, the other backbones against timm, and every refusal."""

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eye_gaze_data.errors import ConfigError
from saliency.encoders import DenseNetEncoder, Encoder, TimmEncoder, build_encoder

BLOCKS = (2, 4, 6, 4)
MICRO = {"growth_rate": 12, "block_config": BLOCKS}
SWIN = "swin_tiny_patch4_window7_224"
SMALL_SWIN = {"img_size": 64, "embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (2, 2, 2, 2)}


def make_micro(seed: int = 0) -> DenseNetEncoder:
    """A micro DenseNet in float64 whose norms are not the identity."""
    torch.manual_seed(seed)
    encoder = build_encoder("densenet121", options=MICRO)
    assert isinstance(encoder, DenseNetEncoder)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2.0)
    return encoder.double()


def make_image(height: int = 64, width: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 1, height, width, generator=generator, dtype=torch.float64)


def walk_by_hand(encoder: nn.Module, image: Tensor, *, training: bool) -> tuple[Tensor, Tensor]:
    """T1 and T2 from the parameters alone, as the DenseNet paper and the spec state them."""
    tensors: dict[str, Tensor] = dict(encoder.named_parameters()) | dict(encoder.named_buffers())
    state = {name.removeprefix("features."): value for name, value in tensors.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        scale = state[f"{name}.weight"] / (var + 1e-5).sqrt()
        moved = (x - mean[:, None, None]) * scale[:, None, None]
        return moved + state[f"{name}.bias"][:, None, None]

    grey = image.repeat(1, 3, 1, 1)
    x = norm(F.conv2d(grey, state["conv0.weight"], stride=2, padding=3), "norm0").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            place = f"denseblock{block}.denselayer{layer}"
            new = F.conv2d(norm(x, f"{place}.norm1").relu(), state[f"{place}.conv1.weight"])
            new = norm(new, f"{place}.norm2").relu()
            x = torch.cat([x, F.conv2d(new, state[f"{place}.conv2.weight"], padding=1)], 1)
        if block < len(BLOCKS):
            place = f"transition{block}"
            x = F.conv2d(norm(x, f"{place}.norm").relu(), state[f"{place}.conv.weight"])
            x = F.avg_pool2d(x, 2)
    return x, norm(x, "norm5").relu()


def test_densenet201_has_its_published_size() -> None:
    with torch.device("meta"):
        encoder = build_encoder("densenet201")
    assert sum(p.numel() for p in encoder.parameters()) == 18_092_928
    assert encoder.channels == (256, 512, 1792, 1920)
    assert encoder.out_channels == 1920
    assert encoder.strides == (4, 8, 16, 32)
    assert encoder.sites == (1, 2, 3, 4)


@pytest.mark.parametrize("training", [True, False])
def test_the_taps_are_those_of_a_walk_by_hand(training: bool) -> None:
    encoder, image = make_micro().train(training), make_image()
    expected = walk_by_hand(encoder, image, training=training)
    taps = encoder(image)
    found = (taps.decoder, taps.classifier)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == (2, encoder.out_channels, 2, 3)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    weights = [torch.randn_like(tap) for tap in found]
    parameters = list(encoder.parameters())
    gradients = [
        torch.autograd.grad(
            torch.stack([(w * tap).sum() for w, tap in zip(weights, taps_, strict=True)]).sum(),
            parameters,
        )
        for taps_ in (found, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_the_decoder_gets_the_raw_block_and_the_classifier_its_relu() -> None:
    """timm's norm5 holds an in-place ReLU: it must act on the norm's output, never on T1."""
    encoder, image = make_micro().eval(), make_image()
    block, norm = encoder.features.get_submodule("denseblock4"), encoder.features[-1]  # type: ignore[index]
    seen: list[Tensor] = []
    handle = block.register_forward_hook(lambda _, __, out: seen.append(out.clone()))
    taps = encoder(image)
    handle.remove()
    assert torch.equal(taps.decoder, seen[0])
    assert taps.decoder.min() < 0
    assert isinstance(norm.act, nn.ReLU)
    assert torch.equal(taps.classifier, norm(taps.decoder))
    plain = F.batch_norm(
        taps.decoder, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    assert plain.min() < 0
    assert torch.equal(taps.classifier, plain.clamp_min(0))


def test_a_densenet_without_the_last_relu_still_gives_it() -> None:
    encoder = build_encoder("densenet121", options={**MICRO, "act_layer": "identity"}).eval()
    taps = encoder(make_image().float())
    assert taps.classifier.min() == 0


def test_attention_enters_behind_each_block() -> None:
    encoder, image = make_micro().eval(), make_image()
    plain = encoder(image)
    calls: list[tuple[int, int]] = []

    def refine(level: int, features: Tensor) -> Tensor:
        calls.append((level, features.shape[1]))
        return features * 2 if level == 4 else features

    changed = encoder(image, refine)
    assert calls == list(enumerate(encoder.channels, 1))
    assert torch.equal(changed.decoder, 2 * plain.decoder)
    assert torch.equal(changed.classifier, encoder.features[-1](2 * plain.decoder))  # type: ignore[index]
    assert all(torch.equal(*two) for two in zip(changed.levels[:3], plain.levels[:3], strict=True))
    for level, stride, channels in zip(
        plain.levels, encoder.strides, encoder.channels, strict=True
    ):
        assert level.shape == (2, channels, 64 // stride, 96 // stride)


def test_another_backbone_gives_its_last_map_to_both() -> None:
    encoder, image = build_encoder("resnet18").eval(), make_image().float()
    taps = encoder(image)
    assert isinstance(encoder, TimmEncoder)
    assert taps.decoder is taps.classifier is taps.levels[-1]
    for level, expected in zip(taps.levels, encoder.model(image.repeat(1, 3, 1, 1)), strict=True):
        assert torch.equal(level, expected)
    assert (encoder.strides, encoder.sites) == ((2, 4, 8, 16, 32), (5,))
    doubled = encoder(image, lambda level, x: x * level)
    assert torch.equal(doubled.decoder, 5 * taps.decoder)


def test_a_backbone_that_puts_channels_last_is_turned_round() -> None:
    encoder, image = build_encoder(SWIN, options=SMALL_SWIN).eval(), make_image(64, 64).float()
    assert isinstance(encoder, TimmEncoder)
    expected = encoder.model(image.repeat(1, 3, 1, 1))
    for level, other, channels in zip(
        encoder(image).levels, expected, encoder.channels, strict=True
    ):
        assert level.shape[1] == channels
        assert torch.equal(level, other.movedim(-1, 1))


def test_the_base_class_has_no_forward() -> None:
    with pytest.raises(NotImplementedError):
        Encoder()(make_image())


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("densnet201", {}, r"backbone 'densnet201' is not known to timm; similar: densenet201"),
        ("qqqq", {}, r"'qqqq' is not known to timm; similar: none"),
        ("densenet121", {"depth": 3}, r"'densenet121' does not take these options: .*'depth'"),
        ("resnet18", {"depth": 3}, r"'resnet18' does not take these options: .*'depth'"),
        ("densenet121.no_such_tag", {}, r"cannot be built: .*no_such_tag"),
    ],
)
def test_a_wrong_name_or_option_is_named(name: str, options: dict[str, int], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        build_encoder(name, options=options)


def test_weights_that_cannot_be_had_are_an_error_with_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_: object, **options: object) -> nn.Module:
        assert options["pretrained"] is True
        raise OSError("Network is unreachable")

    monkeypatch.setattr(timm, "create_model", offline)
    expected = (
        r"pretrained weights of 'densenet201' are unavailable \(OSError: Network is unreachable\); "
        r"set pretrained: false, or fill the Hugging Face cache"
    )
    with pytest.raises(ConfigError, match=expected) as caught:
        build_encoder("densenet201", pretrained=True)
    assert isinstance(caught.value.__cause__, OSError)

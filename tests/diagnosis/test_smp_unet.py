"""smp's U-Net under the contract: its own forward, the density of sigmoids, what is refused."""

from typing import Any

import pytest
import torch
from segmentation_models_pytorch import Unet
from torch import Tensor
from torch.nn import functional as F

from diagnosis.smp_unet import SmpUNet
from eye_gaze_data.errors import ConfigError
from saliency.network import Task


def make_network(**options: Any) -> SmpUNet:  # noqa: ANN401
    torch.manual_seed(0)
    return SmpUNet(3, **{"encoder": "resnet18", **options})


def make_image(*size: int, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, channels, *(size or (64, 32)), generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet18", "efficientnet-b0"])
def test_both_outputs_are_smp_s_own(encoder: str, channels: int) -> None:
    network = make_network(encoder=encoder, in_channels=channels).eval()
    aux = {"classes": 3, "pooling": "avg", "dropout": 0.0}
    peer = Unet(encoder, encoder_weights=None, in_channels=channels, classes=1, aux_params=aux)
    peer.load_state_dict(network.unet.state_dict())
    image = make_image(channels=channels)
    maps, classes = peer.eval()(image)
    outputs = network(image)
    torch.testing.assert_close(outputs["saliency_logits"], maps)
    torch.testing.assert_close(outputs["class_logits"], classes)


def test_encoder_and_decoder_may_be_small() -> None:
    options = {"growth_rate": 8, "block_config": [2, 2, 2, 2]}
    steps = (32, 24, 16, 12, 8)
    network = SmpUNet(2, encoder="tu-densenet121", encoder_options=options, decoder_channels=steps)
    # The stem has twice the growth; a block adds two layers of 8, a transition halves.
    assert network.unet.encoder.out_channels[1:] == [16, 32, 32, 32, 32]
    blocks = network.unet.decoder.blocks
    assert tuple(block.conv2[0].out_channels for block in blocks) == steps


def test_the_density_is_the_sigmoids_share() -> None:
    network = make_network(map="sigmoid").eval()
    image = make_image()
    maps, _ = network.unet(image)
    p = maps.double().sigmoid()
    logits = network(image, "saliency")["saliency_logits"]
    torch.testing.assert_close(logits.double(), p.log())
    found = logits.double().flatten(1).softmax(1).view_as(p)
    torch.testing.assert_close(found, p / p.sum((1, 2, 3), keepdim=True))
    plain = make_network().eval()
    torch.testing.assert_close(F.logsigmoid(plain(image)["saliency_logits"]), logits)


@pytest.mark.parametrize(
    ("task", "keys"),
    [
        ("classify", {"class_logits", "features"}),
        ("saliency", {"saliency_logits"}),
        ("joint", {"class_logits", "features", "saliency_logits"}),
    ],
)
def test_a_task_gets_what_it_needs(task: Task, keys: set[str]) -> None:
    network, image = make_network().eval(), make_image()
    outputs, joint = network(image, task), network(image, "joint")
    assert set(outputs) == keys | {"attention", "attention_logits", "losses"}
    for name in keys & {"class_logits", "saliency_logits"}:
        assert torch.equal(outputs[name], joint[name])


def test_a_classification_does_not_run_the_decoder() -> None:
    network = make_network()
    ran: list[str] = []
    network.unet.decoder.register_forward_hook(lambda *_: ran.append("decoder"))
    network(make_image(), "classify")
    assert ran == []
    network(make_image(), "saliency")
    assert ran == ["decoder"]


def test_the_class_head_reads_the_means_of_the_last_level() -> None:
    network = make_network(dropout=0.3).eval()
    image = make_image()
    outputs = network(image, "classify")
    last = network.unet.encoder(image)[-1]
    features = outputs["features"]
    assert torch.equal(features["classifier"], last)
    torch.testing.assert_close(features["pooled"], last.mean((2, 3)))
    head = network.class_head("classify")
    torch.testing.assert_close(head(features["pooled"].clone()), outputs["class_logits"])
    names = {name for name, _ in network.unet.classification_head.named_parameters()}
    assert len(list(head.parameters())) == len(names) == 2


@pytest.mark.parametrize("training", [False, True])
def test_the_pooled_vectors_are_means_whatever_the_dropout(training: bool) -> None:
    network = make_network(dropout=0.5).train(training)
    features = network(make_image(), "classify")["features"]
    torch.testing.assert_close(features["pooled"], features["classifier"].mean((2, 3)))


def test_padding_is_that_of_the_padded_image_cut_back() -> None:
    network = make_network(pad=True, map="sigmoid").eval()
    image = make_image(50, 33)
    whole = F.pad(image, (0, 31, 0, 14))
    found, expected = network(image), network(whole)
    cut = expected["saliency_logits"][..., :50, :33]
    assert torch.equal(found["saliency_logits"], cut)
    assert torch.equal(found["class_logits"], expected["class_logits"])
    with pytest.raises(ConfigError, match="the next size that fits is 64x64"):
        make_network()(image)


@pytest.mark.parametrize("name", ["resnet81", "efficientnet_b0"])
def test_an_unknown_encoder_is_named_with_the_nearest(name: str) -> None:
    near = {"resnet81": "resnet18", "efficientnet_b0": "efficientnet-b0"}[name]
    with pytest.raises(ConfigError) as caught:
        make_network(encoder=name)
    assert f"encoder '{name}' is not known to smp; did you mean '{near}'" in str(caught.value)


def test_an_unknown_encoder_of_timm_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot build a U-Net on 'tu-resnet81'.*resnet81"):
        make_network(encoder="tu-resnet81")


def test_tasks_beyond_its_own_are_refused() -> None:
    with pytest.raises(ConfigError, match="it serves classify, joint, saliency"):
        make_network().as_classifier("fuse")

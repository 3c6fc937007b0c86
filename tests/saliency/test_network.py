"""The contract of networks: sizes that fit, one-tensor views of a network, the class head."""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext
from saliency.network import Network, Outputs, Task


class Toy(Network):
    """The mean of the image in each class, and the image as logits; notes the tasks it is given."""

    tasks: ClassVar[frozenset[Task]] = frozenset({"classify", "saliency", "fuse", "joint"})
    multiple = 4

    def __init__(self, *, pad: bool = False, in_channels: int = 1) -> None:
        super().__init__()
        self.pad, self.in_channels = pad, in_channels
        self.heads = nn.ModuleDict({name: nn.Linear(3, 2) for name in ("classify", "fuse")})
        self.seen: list[Task] = []

    def forward(
        self, image: Tensor, task: Task = "joint", context: AttentionContext | None = None
    ) -> Outputs:
        del context
        self.seen.append(task)
        outputs: Outputs = {"saliency_logits": 5 * image}
        if task == "saliency":
            return outputs
        return self._classified(outputs, task, [torch.cat([image, -image], 1), image * 2])

    def class_head(self, task: Task) -> nn.Module:
        return self.heads["classify" if task == "classify" else "fuse"]


class Segmenter(Toy):
    tasks: ClassVar[frozenset[Task]] = frozenset({"segment"})


class Fuser(Toy):
    tasks: ClassVar[frozenset[Task]] = frozenset({"joint", "classify"})


def make_image(*size: int) -> Tensor:
    return torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0))


def test_an_image_that_fits_is_itself() -> None:
    for pad in (False, True):
        image = make_image(8, 12)
        assert Toy(pad=pad).fitted(image) is image


@pytest.mark.parametrize(
    ("size", "fits"),
    [((5, 8), (8, 8)), ((8, 1), (8, 4)), ((9, 13), (12, 16)), ((12, 11), (12, 12))],
)  # fmt: skip
def test_another_size_is_padded_on_the_right_and_below_or_refused(
    size: tuple[int, int], fits: tuple[int, int]
) -> None:
    image = make_image(*size).requires_grad_()
    padded = Toy(pad=True).fitted(image)
    assert padded.shape == (2, 1, *fits)
    expected = torch.zeros(2, 1, *fits)
    expected[..., : size[0], : size[1]] = image.detach()
    assert torch.equal(padded, expected)
    torch.autograd.backward(padded.sum())
    assert image.grad is not None
    assert bool((image.grad == 1).all())
    with pytest.raises(ConfigError) as caught:
        Toy().fitted(image)
    message = str(caught.value)
    assert "multiples of 4" in message
    assert f"found (2, 1, {size[0]}, {size[1]})" in message
    assert f"the next size that fits is {fits[0]}x{fits[1]}," in message
    assert "'pad: true'" in message


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize(("channels", "given"), [(1, 3), (3, 1), (2, 3)])
def test_other_channels_are_refused_whatever_the_padding(
    pad: bool, channels: int, given: int
) -> None:
    image = torch.zeros(1, given, 8, 8)
    with pytest.raises(ConfigError, match=rf"\(B, {channels}, H, W\), found \(1, {given}, 8, 8\)"):
        Toy(pad=pad, in_channels=channels).fitted(image)


def test_classified_reads_the_means_of_all_maps_in_order() -> None:
    network, image = Toy(), make_image(4, 6)
    outputs = network(image, "joint")
    mean = image.mean((2, 3))
    expected = torch.cat([mean, -mean, 2 * mean], 1)
    torch.testing.assert_close(outputs["features"]["pooled"], expected)
    assert torch.equal(outputs["features"]["classifier"], torch.cat([image, -image], 1))
    head = network.heads["fuse"]
    assert isinstance(head, nn.Linear)
    by_hand = expected @ head.weight.T + head.bias
    torch.testing.assert_close(outputs["class_logits"], by_hand)


def test_a_classifier_prefers_the_fused_logits() -> None:
    network, image = Toy(), make_image(4, 4)
    single = network.as_classifier()
    assert torch.equal(single(image), network(image, "fuse")["class_logits"])
    assert network.seen == ["fuse", "fuse"]
    assert torch.equal(network.as_classifier("classify")(image),
                       network(image, "classify")["class_logits"])  # fmt: skip
    fuser = Fuser()
    fuser.as_classifier()(image)
    assert fuser.seen == ["joint"]


def test_saliency_is_a_density_over_the_whole_image() -> None:
    network, image = Toy(), make_image(4, 6)
    found = network.as_saliency()(image)
    expected = (5 * image).flatten(1).softmax(1).view_as(image)
    torch.testing.assert_close(found, expected)
    assert network.seen == ["saliency"]
    torch.testing.assert_close(found.sum((1, 2, 3)), torch.ones(2))


def test_a_single_output_is_a_module_with_the_network_s_parameters_and_mode() -> None:
    network = Toy()
    single = network.as_classifier()
    assert {id(p) for p in single.parameters()} == {id(p) for p in network.parameters()}
    single.eval()
    assert not network.training


def test_an_image_of_other_channels_is_refused() -> None:
    message = r"images \(B, 1, H, W\), found \(2, 3, 8, 8\); see in_channels of the model"
    with pytest.raises(ConfigError, match=message):
        Toy().fitted(torch.zeros(2, 3, 8, 8))


def test_what_a_network_does_not_serve_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        Segmenter().as_classifier()
    message = "a Segmenter gives no such output for fuse, joint, classify; it serves segment"
    assert str(caught.value) == message
    with pytest.raises(ConfigError, match="no such output for saliency; it serves segment"):
        Segmenter().as_saliency()
    with pytest.raises(ConfigError, match="for saliency; it serves classify, joint"):
        Fuser().as_saliency()
    with pytest.raises(ConfigError, match="no such output for fuse; it serves classify, joint"):
        Fuser().as_classifier("fuse")


@pytest.mark.parametrize("task", ["saliency", "contrast", "segment"])
def test_a_task_without_class_logits_makes_no_classifier(task: Task) -> None:
    with pytest.raises(ConfigError, match=f"no such output for {task}"):
        Toy().as_classifier(task)


def test_the_base_leaves_the_network_to_its_subclasses() -> None:
    network = Network()
    for call in (
        lambda: network(make_image(4, 4)),
        lambda: network.encode(make_image(4, 4), "encoder"),
        lambda: network.class_head("classify"),
    ):
        with pytest.raises(NotImplementedError):
            call()

"""What every network of gazedx takes and gives: the contract between models, tasks and commands."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eye_gaze_data.errors import ConfigError

from .attention import AttentionContext
from .attention.walk import SiteWalk
from .cut import Cut
from .density import density
from .terms import LossTerm

Task = Literal["contrast", "classify", "saliency", "fuse", "joint", "segment", "detect"]


class Outputs(TypedDict, total=False):
    """What a forward pass gives; a key is there if the task asked for it.

    Attributes:
        saliency_logits: (B, 1, H, W); a softmax over the film's pixels gives the density.
        map_logits: (B, 1, H, W), where pixels are independent probabilities; ``saliency_logits``
            are then their log-sigmoids, so that the density is each pixel's share.
        class_logits: (B, C).
        anatomy_logits: (B, M, H, W), of a segmenter.
        detections: a dict an image with ``boxes`` (n, 4) in network pixels, ``labels``, ``scores``.
        attention: named maps of the attention sites, not normalised.
        attention_logits: image-level logits (B, K) of the attention sites that have any.
        features: ``classifier`` (B, D, h, w), the map that the classifier pools, and ``pooled``
            (B, D + E), what the class head reads, the means of that map first.
        losses: losses that the network or its modules computed themselves from the context's
            targets, neither reduced nor weighted.
    """

    saliency_logits: Tensor
    map_logits: Tensor
    class_logits: Tensor
    anatomy_logits: Tensor
    detections: list[dict[str, Tensor]]
    attention: dict[str, Tensor]
    attention_logits: dict[str, Tensor]
    features: dict[str, Tensor]
    losses: dict[str, LossTerm]


def outputs_of(walk: SiteWalk) -> Outputs:
    """What the attention sites on the way exported; the logits are added to it."""
    return {"attention": walk.maps, "attention_logits": walk.logits, "losses": walk.losses}


class Network(nn.Module):
    """Base of the networks that stages train.

    Attributes:
        tasks: the tasks a network can serve.
        in_channels: channels of the image.
        multiple: height and width must be multiples of it.
        pad: whether an image of another size is padded with zeros at its right and lower edge, and
            the maps cut back, instead of being refused.
        class_heads: prefixes of the parameters whose outputs are classes.
        cuts: for a task, up to where a frozen network can be computed once.
        sites: channels of each attention site.
    """

    tasks: ClassVar[frozenset[Task]]
    in_channels: int = 1
    multiple: int = 1
    pad: bool = False
    class_heads: ClassVar[tuple[str, ...]] = ()
    cuts: ClassVar[Mapping[Task, Cut]] = {}
    sites: Mapping[str, int | list[int]] = {}

    def forward(
        self, image: Tensor, task: Task = "joint", context: AttentionContext | None = None
    ) -> Outputs:
        """The outputs that ``task`` needs, and no other work.

        Args:
            image: float32 (B, 1, H, W) in [0, 1].
            task: what is to be computed.
            context: what attention modules may use.
        """
        raise NotImplementedError

    def encode(
        self, image: Tensor, encoder: str, context: AttentionContext | None = None
    ) -> Tensor:
        """The last feature map (B, D, h, w) of the encoder of that name, past its sites."""
        raise NotImplementedError

    def width(self, encoder: str) -> int:
        """D, the channels of that encoder's last feature map."""
        channels: Sequence[int] = self.get_submodule(encoder).channels  # type: ignore[assignment]
        return channels[-1]

    def class_head(self, task: Task) -> nn.Module:
        """What turns the pooled vectors (B, D + E) of a task into its class logits (B, C)."""
        raise NotImplementedError

    def up_to_cut(
        self, image: Tensor, task: Task, context: AttentionContext | None = None
    ) -> Tensor:
        """What stands at the cut of a task, the pooled vectors (B, D + E) if not said otherwise."""
        outputs: Outputs = self(image, task, context)
        return outputs["features"]["pooled"]

    def from_cut(
        self, values: Tensor, image: Tensor, task: Task, context: AttentionContext | None = None
    ) -> Outputs:
        """The logits of a task from what stands at its cut.

        Args:
            values: as ``up_to_cut`` gave them.
            image: (B, 1, H, W), read if the cut says so.
            task: what is to be computed.
            context: what attention modules after the cut may use.
        """
        del image, context
        return {"class_logits": self.class_head(task)(values)}

    def _classified(self, outputs: Outputs, task: Task, features: Sequence[Tensor]) -> Outputs:
        """The outputs with the class logits of the means of feature maps."""
        pooled = torch.cat([feature.mean((2, 3)) for feature in features], 1)
        outputs["features"] = {"classifier": features[0], "pooled": pooled}
        outputs["class_logits"] = self.class_head(task)(pooled)
        return outputs

    def as_classifier(self, task: Task | None = None) -> nn.Module:
        """The network as one function from an image to class logits (B, C).

        Args:
            task: whose logits; the first of fuse, joint and classify that the network serves.

        Raises:
            ConfigError: if the network does not serve the task.
        """
        return _Single(self, _served(self, task, ("fuse", "joint", "classify")))

    def as_saliency(self) -> nn.Module:
        """The network as one function from an image, all of it film, to a density (B, 1, H, W)."""
        return _Single(self, _served(self, None, ("saliency",)))

    def fitted(self, image: Tensor) -> Tensor:
        """The image itself, or padded to the next size that fits if ``pad`` allows it.

        Raises:
            ConfigError: if channels or size do not fit, with the size that would.
        """
        channels, height, width = image.shape[-3:]
        up, across = (-(-side // self.multiple) * self.multiple for side in (height, width))
        if channels != self.in_channels:
            raise ConfigError(
                f"expected images (B, {self.in_channels}, H, W), found {tuple(image.shape)}; "
                "see in_channels of the model"
            )
        if (up, across) == (height, width):
            return image
        if not self.pad:
            raise ConfigError(
                f"expected images (B, {channels}, H, W) with H and W multiples of {self.multiple}, "
                f"found {tuple(image.shape)}; the next size that fits is {up}x{across}, and "
                "'pad: true' in the model pads to it"
            )
        return F.pad(image, (0, across - width, 0, up - height))


class _Single(nn.Module):
    """One output of a network, for tools that want a tensor."""

    def __init__(self, network: Network, task: Task) -> None:
        super().__init__()
        self.network, self.task = network, task

    def forward(self, image: Tensor) -> Tensor:
        outputs: Outputs = self.network(image, self.task)
        if self.task != "saliency":
            return outputs["class_logits"]
        logits = outputs["saliency_logits"]
        return density(logits, torch.ones_like(logits, dtype=torch.bool))


def _served(network: Network, task: Task | None, known: tuple[Task, ...]) -> Task:
    wanted = (task,) if task else known
    for name in wanted:
        if name in known and name in network.tasks:
            return name
    raise ConfigError(
        f"a {type(network).__name__} gives no such output for {', '.join(wanted)}; it serves "
        f"{', '.join(sorted(network.tasks))}"
    )

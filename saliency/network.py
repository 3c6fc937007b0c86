"""What every network of gazedx takes and gives: the contract between models, tasks and commands."""

from collections.abc import Mapping
from typing import ClassVar, Literal, TypedDict

from torch import Tensor, nn

from .attention import AttentionContext
from .terms import LossTerm

Task = Literal["contrast", "classify", "saliency", "fuse", "joint", "segment", "detect"]


class Outputs(TypedDict, total=False):
    """What a forward pass gives; a key is there if the task asked for it.

    Attributes:
        saliency_logits: (B, 1, H, W); a softmax over the film's pixels gives the density.
        class_logits: (B, C).
        anatomy_logits: (B, M, H, W), of a segmenter.
        detections: a dict an image with ``boxes`` (n, 4) in network pixels, ``labels``, ``scores``.
        attention: named maps of the attention sites, not normalised.
        attention_logits: image-level logits (B, K) of the attention sites that have any.
        features: named feature maps.
        losses: losses that the network or its modules computed themselves from the context's
            targets, neither reduced nor weighted.
    """

    saliency_logits: Tensor
    class_logits: Tensor
    anatomy_logits: Tensor
    detections: list[dict[str, Tensor]]
    attention: dict[str, Tensor]
    attention_logits: dict[str, Tensor]
    features: dict[str, Tensor]
    losses: dict[str, LossTerm]


class Network(nn.Module):
    """Base of the networks that stages train.

    Attributes:
        tasks: the tasks a network can serve.
        multiple: height and width must be multiples of it.
        sites: channels of each attention site.
    """

    tasks: ClassVar[frozenset[Task]]
    multiple: int = 1
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

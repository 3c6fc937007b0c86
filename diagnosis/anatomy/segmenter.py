"""The segmenter of the anatomy stage: a U-Net with one logit an organ and pixel.

Anatomy-XNet's own segmenter is not known; a U-Net on a DenseNet-121 is the reconstruction (specs:
attention systems, D.3).
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext
from saliency.decoder import Decoder, conv_block
from saliency.encoders import build_encoder
from saliency.network import Network, Outputs, Task


class AnatomySegmenter(Network):
    """A backbone, the dual encoder's decoder over its levels, and a head an organ.

    The logits are those of the backbone's finest level (a quarter of the grid's sides for a
    DenseNet), brought to the grid bilinearly.

    Args:
        classes: of the stage; a segmenter has none.
        organs: names of the planes; they may overlap.
        backbone: timm name.
        backbone_options: further arguments of the backbone.
        widths: channels of the decoder, fine to coarse, one less than the backbone has levels; as
            the decoder has them for a saliency map if None.
        pretrained: load timm's weights.
        pad: pad images whose size does not fit, see ``Network``.

    Raises:
        ConfigError: if the backbone is unknown, or the widths do not fit its levels.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"segment"})

    def __init__(
        self,
        classes: int,
        *,
        organs: Sequence[str],
        backbone: str = "densenet121",
        backbone_options: dict[str, Any] | None = None,
        widths: Sequence[int] | None = None,
        pretrained: bool = False,
        pad: bool = False,
    ) -> None:
        super().__init__()
        del classes
        self.encoder = build_encoder(backbone, pretrained=pretrained, options=backbone_options)
        channels = self.encoder.channels
        if len(channels) < 2 or (widths is not None and len(widths) != len(channels) - 1):
            found = "none" if widths is None else f"{len(widths)}"
            raise ConfigError(
                f"backbone '{backbone}' has {len(channels)} level(s): a segmenter needs at least 2 "
                f"and one less 'widths', found {found}"
            )
        self.organs, self.pad, self.multiple = tuple(organs), pad, self.encoder.strides[-1]
        self.decoder = Decoder(channels[-1], channels[:-1], widths)
        width = self.decoder.out_channels
        self.head = nn.Sequential(conv_block(width, width), nn.Conv2d(width, len(self.organs), 1))

    def forward(
        self,
        image: Float[Tensor, "b 1 h w"],
        task: Task = "segment",
        context: AttentionContext | None = None,
    ) -> Outputs:
        """The logits (B, M, H, W) of the organs."""
        del task, context
        height, width = image.shape[-2:]
        padded = self.fitted(image)
        taps = self.encoder(padded)
        logits = self.head(self.decoder(taps.decoder, taps.levels[:-1])[0])
        logits = F.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
        return {"anatomy_logits": logits[..., :height, :width]}


class OrganMasks(nn.Module):
    """A segmenter as one function from an image to masks, for prediction and export.

    Args:
        network: the segmenter.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b m h w"]:
        """The probability of each organ at each pixel of the segmenter's grid."""
        outputs: Outputs = self.network(image, "segment")
        return outputs["anatomy_logits"].sigmoid()

"""The segmenter of the anatomy stage: a U-Net of smp with one logit an organ and pixel.

Anatomy-XNet's own segmenter is not known; a U-Net on a DenseNet-121 is the reconstruction (specs:
attention systems, D.3).
"""

from collections.abc import Sequence
from typing import ClassVar

import segmentation_models_pytorch as smp
from jaxtyping import Float
from torch import Tensor, nn

from eye_gaze_data.errors import ConfigError, nearest
from saliency.attention import AttentionContext
from saliency.network import Network, Outputs, Task


class AnatomySegmenter(Network):
    """``smp.Unet`` under the contract of all networks.

    Args:
        classes: of the stage; a segmenter has none.
        organs: names of the planes; they may overlap.
        encoder: name of the encoder as smp knows it, ``tu-NAME`` for timm's.
        decoder_channels: coarse to fine; as many halvings as entries.
        pretrained: load ImageNet weights into the encoder.
        pad: pad images whose size does not fit, see ``Network``.

    Raises:
        ConfigError: if smp does not know the encoder, or its weights cannot be had.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"segment"})

    def __init__(
        self,
        classes: int,
        *,
        organs: Sequence[str],
        encoder: str = "densenet121",
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        pretrained: bool = False,
        pad: bool = False,
    ) -> None:
        super().__init__()
        del classes
        self.organs, self.pad = tuple(organs), pad
        self.multiple = 2 ** len(decoder_channels)
        if not encoder.startswith("tu-") and encoder not in smp.encoders.get_encoder_names():
            hint = nearest(encoder, smp.encoders.get_encoder_names())
            raise ConfigError(f"encoder '{encoder}' is not known to smp; {hint}")
        try:
            self.unet = smp.Unet(
                encoder,
                encoder_depth=len(decoder_channels),
                encoder_weights="imagenet" if pretrained else None,
                decoder_channels=list(decoder_channels),
                in_channels=1,
                classes=len(self.organs),
            )
        except Exception as error:
            hint = "; set pretrained: false, or fill the Hugging Face cache" if pretrained else ""
            raise ConfigError(f"smp cannot build a U-Net on '{encoder}': {error}{hint}") from error

    def forward(
        self,
        image: Float[Tensor, "b 1 h w"],
        task: Task = "segment",
        context: AttentionContext | None = None,
    ) -> Outputs:
        """The logits (B, M, H, W) of the organs."""
        del task, context
        height, width = image.shape[-2:]
        return {"anatomy_logits": self.unet(self.fitted(image))[..., :height, :width]}


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

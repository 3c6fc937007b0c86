"""smp's U-Net with a classification head: the baseline of the gaze data's authors.

They train it with an EfficientNet-b0 encoder, a sigmoid map of the gaze and one logit a class
(cxr-eye-gaze/eye-gaze-dataset, main system 8.4).
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import segmentation_models_pytorch as smp
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from eye_gaze_data.errors import ConfigError, nearest
from saliency.attention import AttentionContext
from saliency.attention.walk import SiteWalk
from saliency.config import GAZE_TASKS
from saliency.cut import Cut
from saliency.network import Network, Outputs, Task, outputs_of

_NO_SITES = nn.ModuleDict()


class SmpUNet(Network):
    """``smp.Unet`` with ``aux_params``, under the contract of all networks.

    Args:
        classes: number of class logits.
        encoder: name of the encoder as smp knows it, ``tu-NAME`` for timm's.
        encoder_options: of timm's constructor, e.g. a smaller ``block_config``.
        decoder_channels: of the decoder's five steps, coarse to fine.
        pretrained: load ImageNet weights into the encoder.
        in_channels: channels of the image.
        map: ``softmax``, the logits are those of a density; or ``sigmoid``, as the data's authors
            have it: each pixel is a probability, and the density is their share, so the logits
            given are log-sigmoids.
        dropout: before the linear classifier.
        pad: pad images whose size does not fit, see ``Network``.

    Raises:
        ConfigError: if smp does not know the encoder, or its weights cannot be had.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"classify", "saliency", "joint"})
    multiple = 32
    class_heads = ("unet.classification_head.",)
    cuts: ClassVar[Mapping[Task, Cut]] = {"classify": Cut("pooled", ("unet.encoder.",))}

    def __init__(
        self,
        classes: int,
        *,
        encoder: str = "efficientnet-b0",
        encoder_options: Mapping[str, Any] | None = None,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        pretrained: bool = False,
        in_channels: int = 1,
        map: Literal["softmax", "sigmoid"] = "softmax",  # noqa: A002 - the field's name
        dropout: float = 0.0,
        pad: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.pad, self.map = in_channels, pad, map
        if not encoder.startswith("tu-") and encoder not in smp.encoders.get_encoder_names():
            hint = nearest(encoder, smp.encoders.get_encoder_names())
            raise ConfigError(f"encoder '{encoder}' is not known to smp; {hint}")
        try:
            self.unet = smp.Unet(
                encoder,
                encoder_weights="imagenet" if pretrained else None,
                in_channels=in_channels,
                classes=1,
                decoder_channels=tuple(decoder_channels),
                aux_params={"classes": classes, "pooling": "avg", "dropout": dropout},
                **(encoder_options or {}),
            )
        except Exception as error:
            hint = "; set pretrained: false, or fill the Hugging Face cache" if pretrained else ""
            raise ConfigError(f"smp cannot build a U-Net on '{encoder}': {error}{hint}") from error
        for part in self.unet.classification_head.modules():
            if isinstance(part, nn.Dropout):
                # smp drops in place: the pooled vectors are exported, too.
                part.inplace = False

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        task: Task = "joint",
        context: AttentionContext | None = None,
    ) -> Outputs:
        """The logits that a task needs."""
        height, width = image.shape[-2:]
        levels = self.unet.encoder(self.fitted(image))
        outputs = outputs_of(SiteWalk(_NO_SITES, context))
        if task in GAZE_TASKS:
            maps = self.unet.segmentation_head(self.unet.decoder(levels))[..., :height, :width]
            outputs["saliency_logits"] = maps
            if self.map == "sigmoid":
                outputs |= {"saliency_logits": F.logsigmoid(maps), "map_logits": maps}
        return outputs if task == "saliency" else self._classified(outputs, task, levels[-1:])

    def class_head(self, task: Task) -> nn.Module:
        """What stands behind the pooling of smp's classification head."""
        del task
        return nn.Sequential(*list(self.unet.classification_head)[2:])

"""The paper's network: two encoders, a decoder, a saliency head and a two-scale classifier.

Main system, section 1. Encoder A (a DenseNet) gives the bottleneck of the decoder and the coarse
half of the classifier's input; encoder B gives the skips; the decoder's finest level gives the
saliency and the fine half of the classifier's input.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext, build_sites
from saliency.attention.walk import SiteWalk
from saliency.config import AttentionConfig
from saliency.cut import Cut
from saliency.decoder import Decoder, SaliencyHead
from saliency.encoders import build_encoder
from saliency.network import Network, Outputs, Task, outputs_of
from saliency.res_se import ResSEEncoder


class FusionClassifier(nn.Sequential):
    """Linear, dropout, ReLU, linear over the pooled vectors of both scales.

    Args:
        in_channels: channels of T2 and of the decoder's finest level together.
        classes: number of logits.
        hidden: width between the linear maps.
        dropout: probability.
    """

    def __init__(
        self, in_channels: int, classes: int, hidden: int = 64, dropout: float = 0.25
    ) -> None:
        super().__init__(
            nn.Linear(in_channels, hidden),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )


class DualEncoderUNet(Network):
    """The dual-encoder multi-task UNet.

    Args:
        classes: number of class logits.
        backbone: timm name of encoder A.
        backbone_options: further arguments of the backbone.
        pretrained: load timm's weights into encoder A.
        widths: channels of encoder B's stages.
        in_channels: channels of the image.
        reduction: of the squeeze in encoder B.
        hidden: width of the fusion classifier.
        dropout: of the fusion classifier.
        plain_head: the figure's saliency head, a 1x1 convolution alone.
        pad: pad images whose size does not fit, see ``Network``.
        checkpointing: compute activations again in the backward pass: less memory, more time. Of
            encoder A it covers the blocks of DenseNets.
        attention: modules and the sites they enter at.

    Raises:
        ConfigError: if the strides of the encoders do not meet, or a site does not exist.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset(
        {"contrast", "classify", "saliency", "fuse", "joint"}
    )
    class_heads = ("encoder_classifier.", "fusion.")
    cuts: ClassVar[Mapping[Task, Cut]] = {
        "classify": Cut("pooled", ("encoder_a.", "attention.encoder_a.")),
        "saliency": Cut("encoder_a", ("encoder_a.", "attention.encoder_a."), film=True),
        "fuse": Cut("pooled", ("encoder_a.", "encoder_b.", "decoder.", "attention.")),
    }

    def __init__(
        self,
        classes: int,
        *,
        backbone: str = "densenet201",
        backbone_options: dict[str, Any] | None = None,
        pretrained: bool = False,
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        in_channels: int = 1,
        reduction: int = 16,
        hidden: int = 64,
        dropout: float = 0.25,
        plain_head: bool = False,
        pad: bool = False,
        checkpointing: bool = False,
        attention: Sequence[AttentionConfig] = (),
    ) -> None:
        super().__init__()
        self.encoder_a = build_encoder(
            backbone, in_channels=in_channels, pretrained=pretrained, options=backbone_options
        )
        self.in_channels, self.multiple, self.pad = in_channels, self.encoder_a.strides[-1], pad
        if self.multiple != 2 ** len(widths):
            raise ConfigError(
                f"widths has {len(widths)} stages, so encoder A must end at stride "
                f"{2 ** len(widths)}; '{backbone}' ends at stride {self.multiple}"
            )
        self.encoder_b = ResSEEncoder(widths, in_channels, reduction)
        self.decoder = Decoder(self.encoder_a.out_channels, widths)
        self.saliency_head = SaliencyHead(self.decoder.out_channels, plain=plain_head)
        self.encoder_classifier = nn.Linear(self.encoder_a.out_channels, classes)
        fused = self.encoder_a.out_channels + self.decoder.out_channels
        self.fusion = FusionClassifier(fused, classes, hidden, dropout)
        self.sites = self._list_sites()
        self.attention = build_sites(attention, self.sites)
        for part in (self.encoder_a, self.encoder_b, self.decoder):
            part.checkpointing = checkpointing

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        task: Task = "joint",
        context: AttentionContext | None = None,
    ) -> Outputs:
        """The logits that a task needs.

        ``classify`` runs encoder A and its own linear classifier; ``saliency`` all but the fusion
        classifier; ``fuse`` and ``joint`` everything.
        """
        height, width = image.shape[-2:]
        image = self.fitted(image)
        walk = SiteWalk(self.attention, context)
        taps = self.encoder_a(image, walk.at("encoder_a"))
        if task == "classify":
            return self._classified(outputs_of(walk), task, [taps.classifier])
        decoded = self._decode(image, taps.decoder, walk)
        fused = [] if task == "saliency" else walk.fuse([taps.classifier, decoded])
        outputs = outputs_of(walk)
        outputs["saliency_logits"] = self.saliency_head(decoded)[..., :height, :width]
        return self._classified(outputs, task, fused) if fused else outputs

    def up_to_cut(
        self, image: Tensor, task: Task, context: AttentionContext | None = None
    ) -> Tensor:
        """T1 (B, D, H/32, W/32) for ``saliency``, the pooled vectors for the class tasks."""
        if task == "saliency":
            return self.encode(image, "encoder_a", context)
        return super().up_to_cut(image, task, context)

    def from_cut(
        self, values: Tensor, image: Tensor, task: Task, context: AttentionContext | None = None
    ) -> Outputs:
        """The logits of a task from what stands at its cut."""
        if task != "saliency":
            return super().from_cut(values, image, task, context)
        height, width = image.shape[-2:]
        walk = SiteWalk(self.attention, context)
        decoded = self._decode(self.fitted(image), values, walk)
        outputs = outputs_of(walk)
        outputs["saliency_logits"] = self.saliency_head(decoded)[..., :height, :width]
        return outputs

    def _decode(self, image: Tensor, bottleneck: Tensor, walk: SiteWalk) -> Tensor:
        """The decoder's finest level, over the bottleneck and the levels of encoder B."""
        levels = self.encoder_b(image, walk.at("encoder_b"))
        skip = walk.at("skip")
        skips = [skip(number, level) for number, level in enumerate(levels, 1)]
        finest: Tensor = self.decoder(bottleneck, skips, walk.at("decoder"))[0]
        return finest

    def class_head(self, task: Task) -> nn.Module:
        """The linear classifier of ``classify``, or the fusion classifier."""
        return self.encoder_classifier if task == "classify" else self.fusion

    def encode(
        self,
        image: Float[Tensor, "b c h w"],
        encoder: str,
        context: AttentionContext | None = None,
    ) -> Float[Tensor, "b d hl wl"]:
        """T1 of encoder A, or the last stage of encoder B, past the encoder's attention sites."""
        image = self.fitted(image)
        refine = SiteWalk(self.attention, context).at(encoder)
        if encoder == "encoder_a":
            taps: Tensor = self.encoder_a(image, refine).decoder
            return taps
        last: Tensor = self.encoder_b(image, refine)[-1]
        return last

    def _list_sites(self) -> dict[str, int | list[int]]:
        a, b, decoder = self.encoder_a, self.encoder_b.channels, self.decoder.channels
        sites: dict[str, int | list[int]] = {
            f"encoder_a.{level}": a.channels[level - 1] for level in a.sites
        }
        for group, channels in (("encoder_b", b), ("skip", b), ("decoder", decoder)):
            sites |= {f"{group}.{level}": width for level, width in enumerate(channels, 1)}
        return sites | {"fusion": [a.out_channels, self.decoder.out_channels]}

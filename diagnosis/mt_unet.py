"""MT-UNet, the paper's main baseline: one encoder, a decoder, both heads.

hz-zhu/MT-UNet (arXiv 2202.07118), as its code states it: two convolutions a stage, the class logits
from the means of the bottleneck and of the finest decoder level. With Res-SE stages it is the
paper's ablation without the DenseNet (main system, section 6.2).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from saliency.attention import AttentionContext, build_sites
from saliency.attention.walk import SiteWalk
from saliency.config import GAZE_TASKS, AttentionConfig
from saliency.conv_encoder import ConvEncoder
from saliency.cut import Cut
from saliency.decoder import Decoder, SaliencyHead
from saliency.network import Network, Outputs, Task, outputs_of
from saliency.res_se import ResSEEncoder

from .dual_encoder import FusionClassifier


class MTUNet(Network):
    """The multi-task UNet.

    Args:
        classes: number of class logits.
        stages: ``plain`` as published, or ``res_se`` as in the ablation.
        widths: channels of the encoder's stages; the last is the bottleneck.
        in_channels: channels of the image.
        hidden: width of the classifier.
        dropout: of the classifier.
        pad: pad images whose size does not fit, see ``Network``.
        checkpointing: compute activations again in the backward pass.
        attention: modules and the sites they enter at.

    Raises:
        ConfigError: if an attention site does not exist.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"contrast", "classify", "saliency", "joint"})
    class_heads = ("classifier.",)
    cuts: ClassVar[Mapping[Task, Cut]] = {
        "classify": Cut("pooled", ("encoder.", "decoder.", "attention."))
    }

    def __init__(
        self,
        classes: int,
        *,
        stages: Literal["plain", "res_se"] = "plain",
        widths: Sequence[int] = (64, 128, 256, 512, 1024),
        in_channels: int = 1,
        hidden: int = 64,
        dropout: float = 0.25,
        pad: bool = False,
        checkpointing: bool = False,
        attention: Sequence[AttentionConfig] = (),
    ) -> None:
        super().__init__()
        self.in_channels, self.multiple, self.pad = in_channels, 2 ** (len(widths) - 1), pad
        build = ConvEncoder if stages == "plain" else ResSEEncoder
        self.encoder = build(widths, in_channels)
        self.decoder = Decoder(widths[-1], widths[:-1], widths[:-1])
        self.saliency_head = SaliencyHead(widths[0])
        self.classifier = FusionClassifier(widths[-1] + widths[0], classes, hidden, dropout)
        self.encoder.checkpointing = self.decoder.checkpointing = checkpointing
        levels = {"encoder": widths, "skip": widths[:-1], "decoder": widths[:-1]}
        self.sites = {
            f"{group}.{level}": width
            for group, channels in levels.items()
            for level, width in enumerate(channels, 1)
        } | {"fusion": [widths[-1], widths[0]]}
        self.attention = build_sites(attention, self.sites)

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        task: Task = "joint",
        context: AttentionContext | None = None,
    ) -> Outputs:
        """The logits that a task needs; the classifier reads the decoder, so it always runs."""
        height, width = image.shape[-2:]
        walk = SiteWalk(self.attention, context)
        *levels, bottleneck = self.encoder(self.fitted(image), walk.at("encoder"))
        skip = walk.at("skip")
        skips = [skip(number, level) for number, level in enumerate(levels, 1)]
        decoded = self.decoder(bottleneck, skips, walk.at("decoder"))[0]
        fused = [] if task == "saliency" else walk.fuse([bottleneck, decoded])
        outputs = outputs_of(walk)
        if task in GAZE_TASKS:
            outputs["saliency_logits"] = self.saliency_head(decoded)[..., :height, :width]
        return self._classified(outputs, task, fused) if fused else outputs

    def class_head(self, task: Task) -> nn.Module:
        """The classifier, whatever the task."""
        del task
        return self.classifier

    def encode(
        self,
        image: Float[Tensor, "b c h w"],
        encoder: str,
        context: AttentionContext | None = None,
    ) -> Float[Tensor, "b d hl wl"]:
        """The bottleneck, past the encoder's attention sites."""
        refine = SiteWalk(self.attention, context).at(encoder)
        last: Tensor = self.encoder(self.fitted(image), refine)[-1]
        return last

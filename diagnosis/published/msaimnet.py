"""MSAIMNet (Zhang, Guo and Li, J. Jilin Univ. Eng. Technol. Ed. 2025;55(11):3686-3696).

Evidence: reconstruction. The abstract names spatial information multiplexing (MSIM), multi-scale
integration attention (MSIA) and an asymmetric shift focal loss; structure, backbone and placement
are ours: MSIM after each dense block, MSIA after the last two, then a linear map of the means,
weighed by where the last MSIA looks (specs: attention systems, C). With plain means nothing rewards
that map for a place: it stayed constant, and the evidence spread over the whole film.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext, build
from saliency.attention.msanet import zero_parameters
from saliency.encoders import build_encoder
from saliency.network import Task

from .classifier import Attended, PublishedClassifier, activation, levels_of
from .config import GazeBranch
from .gaze_branch import build_gaze_branch


class MSAIMNet(PublishedClassifier):
    """A DenseNet with MSIM after each block and MSIA after the last two.

    ``z = w sum(M F) / sum(M) + b``, M the last ``where``. Both start as the identity and M as a
    constant, so that a pretrained backbone is not disturbed.

    Args:
        classes: number of class logits.
        backbone: timm name of a DenseNet.
        backbone_options: further arguments of the backbone.
        pretrained: load timm's weights.
        paths: of MSIM.
        reduction: of both.
        branches: kernel sizes of MSIA.
        gaze_branch: how gaze is predicted.

    Raises:
        ConfigError: if the backbone has no blocks to stand behind, or channels do not divide.
    """

    class_heads = ("head.",)

    def __init__(
        self,
        classes: int,
        *,
        backbone: str = "densenet121",
        backbone_options: dict[str, Any] | None = None,
        pretrained: bool = False,
        paths: int = 4,
        reduction: int = 32,
        branches: Sequence[int] = (1, 3, 5, 7),
        gaze_branch: GazeBranch = "none",
    ) -> None:
        super().__init__(build_encoder(backbone, pretrained=pretrained, options=backbone_options))
        if len(self.encoder.sites) < 2:
            raise ConfigError(
                f"msaimnet attends after each block of a DenseNet; '{backbone}' is none"
            )
        widths, shared = self.encoder.channels, {"reduction": reduction, "zero_init_residual": True}
        self.multiplex = nn.ModuleList(
            build("spatial_multiplexing", width, paths=paths, **shared) for width in widths
        )
        self.integrate = nn.ModuleList(
            build("multiscale_integration", width, kernels=branches, **shared)
            for width in widths[-2:]
        )
        zero_parameters(self.integrate[-1].get_submodule("look"))
        self.head = nn.Linear(self.encoder.out_channels, classes)
        self.gaze = build_gaze_branch(gaze_branch, classes, widths)

    def attend(self, image: Tensor, context: AttentionContext) -> Attended:
        """The last map weighed by where it looks; ``where`` of two levels and the class maps."""
        maps: dict[str, Tensor] = {}
        plain = len(self.multiplex) - len(self.integrate)

        def refine(level: int, features: Tensor) -> Tensor:
            features = self.multiplex[level - 1](features, context).features
            if level > plain:
                out = self.integrate[level - 1 - plain](features, context)
                features, maps[f"where_{level}"] = out.features, out.maps["where"]
            return features

        taps = self.encoder(image, refine)
        where = maps[f"where_{len(self.multiplex)}"]
        # Its plain mean is the weighed one, so that the class maps add up to the logits.
        attended = taps.classifier * (where / where.mean((2, 3), keepdim=True).clamp_min(1e-6))
        maps["class_map"] = class_maps = activation(self.head, attended)
        return Attended([attended], class_maps, levels_of(taps.levels, attended), maps)

    def class_head(self, task: Task) -> nn.Module:
        """The linear map over the means of the last map."""
        del task
        return self.head

"""DualAttNet (Xu and Duan, Comput Biol Med 2024;168:107742, arXiv 2306.13813).

Evidence: the attention modules, their sum over levels and their loss are verified in the released
code. Which detectors it stood beside, their settings, and the weight of its loss are unknown:
torchvision's RetinaNet and Faster R-CNN, a module of its own for each level, and image-level
attention alone beside the latter are reconstructions (specs: attention systems, A).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diagnosis.detection import Boxes, Detected, OneStage, TwoStage
from eye_gaze_data.errors import ConfigError
from saliency.attention import AttentionContext
from saliency.attention.contract import image_level_term
from saliency.attention.dualattnet import (
    DualAttentionSite,
    ImageLevelSite,
    Reduce,
    box_targets,
)
from saliency.encoders import build_encoder
from saliency.network import Network, Outputs, Task
from saliency.terms import LossTerm

from .classifier import levels_of

DETECTORS: dict[str, type[OneStage] | type[TwoStage]] = {
    "retinanet": OneStage,
    "faster_rcnn": TwoStage,
}
Supervision = Literal["ila_fgda", "ila", "none"]
Attended = tuple[dict[str, Tensor], Tensor]


class DualAttNet(Network):
    """A detector whose pyramid is supervised with image-level labels by dual attention.

    The attention reads the pyramid and gives a loss; detections do not depend on it, and without it
    they are the same to the last bit.

    Args:
        classes: K.
        detector: ``retinanet`` or ``faster_rcnn``.
        backbone: timm name.
        backbone_options: further arguments of the backbone.
        pretrained: load timm's weights.
        width: channels of the pyramid.
        anchor_scale: of the anchors, see ``OneStage`` and ``TwoStage``.
        score_threshold: boxes of lower scores are not given; 0.05 is torchvision's.
        supervision: both attentions, the image-level one, or none.
        global_reduce: see ``DualAttention``.
        detach_class: keep the attention's loss out of the detector's class maps.

    Raises:
        ConfigError: if fine-grained attention is asked for and the detector has no dense classes.
    """

    tasks: ClassVar[frozenset[Task]] = frozenset({"detect"})
    class_heads = (
        "detector.parts.head.classification_head.cls_logits.",
        "detector.parts.roi_heads.box_predictor.",
        "attention.",
    )

    def __init__(
        self,
        classes: int,
        *,
        detector: Literal["retinanet", "faster_rcnn"] = "retinanet",
        backbone: str = "resnet50",
        backbone_options: dict[str, Any] | None = None,
        pretrained: bool = False,
        width: int = 256,
        anchor_scale: float = 1.0,
        score_threshold: float = 0.05,
        supervision: Supervision = "ila_fgda",
        global_reduce: Reduce = "sum",
        detach_class: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(backbone, pretrained=pretrained, options=backbone_options)
        self.multiple, self.classes = self.encoder.strides[-1], classes
        self.detector = DETECTORS[detector](
            classes, width, self.encoder.strides, anchor_scale, score_threshold
        )
        if supervision == "ila_fgda" and not self.detector.has_class_maps:
            raise ConfigError(
                f"supervision 'ila_fgda' weighs by dense class maps, and '{detector}' proposes "
                "boxes without classes; set supervision: ila, or detector: retinanet"
            )
        self.pyramid = self.detector.pyramid(self.encoder.channels)
        # The last level of Faster R-CNN repeats cells of the one before.
        levels = len(self.encoder.channels[-self.detector.takes :])
        levels += 2 if self.detector.has_class_maps else 0
        self.attention = _attention(
            supervision, [width] * levels, classes, global_reduce, detach=detach_class
        )

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        task: Task = "detect",
        context: AttentionContext | None = None,
    ) -> Outputs:
        """Detections outside training, losses where the context has targets, attention maps."""
        del task
        image, context = self.fitted(image), context or AttentionContext()
        taps = self.encoder(image)
        named = enumerate(levels_of(taps.levels, taps.classifier)[-self.detector.takes :])
        levels = list(self.pyramid({str(level): part for level, part in named}).values())
        targets = known_boxes(context, len(image))
        found: Detected = self.detector(image, levels, targets, detect=not self.training)
        outputs: Outputs = {"attention": {}, "attention_logits": {}, "losses": {}}
        if found.detections is not None:
            outputs["detections"] = found.detections
        if context.boxes is not None:
            outputs["losses"]["detection"] = LossTerm(found.losses)
        if self.attention is not None:
            levels = levels[: len(self.attention.levels)]
            with _single_values(self.attention, levels):
                maps, logits = self.attention(levels, found.class_maps)
            outputs["attention"] = maps
            outputs["attention_logits"] = {"image_attention": logits}
            labels = image_targets(context, self.classes)
            if labels is not None:
                outputs["losses"]["image_attention"] = image_level_term(logits, labels)
        return outputs


class ImageLevelPyramid(nn.Module):
    """Image-level attention at every level; the logits are the mean of the levels'.

    Args:
        channels: of each level.
        classes: K.
        global_reduce: see ``DualAttention``.
    """

    def __init__(self, channels: list[int], classes: int, global_reduce: Reduce) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            ImageLevelSite(width, classes=classes, global_reduce=global_reduce)
            for width in channels
        )

    def forward(self, levels: list[Tensor], class_maps: tuple[Tensor, ...] | None) -> Attended:
        """A map a level, and logits (B, K)."""
        del class_maps
        found = [
            site(part, AttentionContext()) for site, part in zip(self.levels, levels, strict=True)
        ]
        maps = {f"level_{n}": one.maps["class_map"] for n, one in enumerate(found, 1)}
        return maps, torch.stack([one.logits for one in found]).mean(0)


class DualPyramid(nn.Module):
    """Image-level and fine-grained attention at every level, see ``DualAttentionSite``."""

    def __init__(self, site: DualAttentionSite) -> None:
        super().__init__()
        self.site = site

    @property
    def levels(self) -> nn.ModuleList:
        """The module of each level."""
        return self.site.levels

    def forward(self, levels: list[Tensor], class_maps: tuple[Tensor, ...] | None) -> Attended:
        """A map a level, and logits (B, K)."""
        found = self.site(levels, AttentionContext(class_maps=class_maps))
        return dict(found.maps), found.logits


def known_boxes(context: AttentionContext, films: int) -> list[Boxes | None]:
    """The targets of each film whose list of boxes is complete, none in it included."""
    if context.boxes is None or context.box_labels is None or context.boxes_known is None:
        return [None] * films
    given = zip(context.boxes, context.box_labels, context.boxes_known.tolist(), strict=True)
    return [{"boxes": b, "labels": labels} if known else None for b, labels, known in given]


def image_targets(context: AttentionContext, classes: int) -> Float[Tensor, "b k"] | None:
    """What the attention's loss asks for: 1 where a box is drawn (A.4), else the stated label.

    A label that is not stated counts as 0 where the list of boxes is complete. So a finding that
    nobody draws boxes of is taught by its label.
    """
    labels = context.labels
    if labels is None or context.box_labels is None or context.boxes_known is None:
        return labels
    drawn = box_targets(context.box_labels, classes).to(labels)
    absent = labels.isnan() & context.boxes_known[:, None]
    return torch.where(drawn == 1, drawn, labels.masked_fill(absent, 0))


def _attention(
    supervision: Supervision, channels: list[int], classes: int, reduce: Reduce, *, detach: bool
) -> ImageLevelPyramid | DualPyramid | None:
    if supervision == "none":
        return None
    if supervision == "ila":
        return ImageLevelPyramid(channels, classes, reduce)
    return DualPyramid(
        DualAttentionSite(channels, classes=classes, global_reduce=reduce, detach_class=detach)
    )


@contextmanager
def _single_values(
    attention: ImageLevelPyramid | DualPyramid, levels: list[Tensor]
) -> Iterator[None]:
    """A norm has no statistics of a single value: one film at a level of one cell uses the running.

    So the last batch of an epoch may be a single small film.
    """
    single = [
        part
        for module, level in zip(attention.levels, levels, strict=True)
        if level.shape[0] * level.shape[-2] * level.shape[-1] == 1
        for part in module.modules()
        if isinstance(part, nn.BatchNorm2d) and part.training
    ]
    for norm in single:
        norm.eval()
    try:
        yield
    finally:
        for norm in single:
            norm.train()

"""What detectors share: a pyramid, torchvision's detectors walked part by part, losses a film.

The batch is on the network grid already, boxes in its pixels, so torchvision's own resizing and
normalising are left out. Losses are computed film by film, as torchvision defines them for a batch
of one: so each can be normalised by the films with known boxes, whatever the batch.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from saliency.density import full_precision

# As many as the COCO metric counts.
MOST_DETECTIONS = 100
RATIOS = (0.5, 1.0, 2.0)
Boxes = dict[str, Tensor]


class Detected(NamedTuple):
    """What a detector says of a batch.

    Attributes:
        losses: (n,) the detection loss of each film whose boxes were given, in order.
        detections: a dict a film with ``boxes`` (m, 4) in network pixels, ``labels``, ``scores``,
            the best first; None if they were not asked for.
        class_maps: per level (B, K, h, w), the probability of the best anchor of each cell; None
            where the head has no dense classes.
    """

    losses: Tensor
    detections: list[Boxes] | None
    class_maps: tuple[Tensor, ...] | None


class Detector(nn.Module):
    """Base of the detectors: heads over a pyramid.

    Attributes:
        takes: how many levels of the encoder, its last ones, enter the pyramid.
        anchor_size: side of the smallest anchor in strides of its level, at a scale of 1.
        has_class_maps: whether ``class_maps`` are given.
    """

    takes: int
    anchor_size: float
    has_class_maps: bool

    def pyramid(self, channels: Sequence[int]) -> FeaturePyramidNetwork:
        """The pyramid over encoder levels of these channels."""
        raise NotImplementedError

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        levels: list[Tensor],
        targets: Sequence[Boxes | None],
        *,
        detect: bool,
    ) -> Detected:
        """Losses of the films with targets, detections if asked for.

        Args:
            image: on the network grid.
            levels: of the pyramid, fine to coarse.
            targets: a dict a film with ``boxes`` and ``labels``; None where they are not known.
            detect: whether detections are wanted.
        """
        raise NotImplementedError


class OneStage(Detector):
    """RetinaNet of torchvision: dense classes and boxes for nine anchors a cell.

    Args:
        classes: K.
        width: channels of the pyramid.
        strides: of the encoder's levels.
        anchor_scale: multiplies the anchors' sides; at 1 they are torchvision's, from 32 pixels at
            a stride of 8.
        score_threshold: boxes of lower scores are not given.
    """

    takes, anchor_size, has_class_maps = 3, 4.0, True

    def __init__(
        self,
        classes: int,
        width: int,
        strides: Sequence[int],
        anchor_scale: float = 1.0,
        score_threshold: float = 0.05,
    ) -> None:
        super().__init__()
        self.width = width
        bases = [self.anchor_size * stride * anchor_scale for stride in self.strides(strides)]
        sizes = tuple((int(b), int(b * 2 ** (1 / 3)), int(b * 2 ** (2 / 3))) for b in bases)
        self.parts = RetinaNet(
            _Given(width),
            classes,
            anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
            score_thresh=score_threshold,
            detections_per_img=MOST_DETECTIONS,
        )

    def strides(self, encoder: Sequence[int]) -> list[int]:
        """Strides of the pyramid's levels."""
        taken = list(encoder[-self.takes :])
        return [*taken, 2 * taken[-1], 4 * taken[-1]]

    def pyramid(self, channels: Sequence[int]) -> FeaturePyramidNetwork:
        """P3 to P5 and two coarser levels by strided convolutions."""
        more = LastLevelP6P7(self.width, self.width)
        return FeaturePyramidNetwork(list(channels[-self.takes :]), self.width, more)

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        levels: list[Tensor],
        targets: Sequence[Boxes | None],
        *,
        detect: bool,
    ) -> Detected:
        """Focal and box loss of each film with targets, dense class maps, detections."""
        images = _as_list(image)
        heads = {name: full_precision(part) for name, part in self.parts.head(levels).items()}
        anchors = self.parts.anchor_generator(images, levels)
        losses = [
            self._loss(target, heads, anchors, row)
            for row, target in enumerate(targets)
            if target is not None
        ]
        each = self.parts.anchor_generator.num_anchors_per_location()[0]
        cells = [each * level.shape[-2] * level.shape[-1] for level in levels]
        parts = {name: list(torch.split(part, cells, 1)) for name, part in heads.items()}
        detections = None
        if detect:
            split = [list(one.split(cells)) for one in anchors]
            detections = self.parts.postprocess_detections(parts, split, images.image_sizes)
        maps = tuple(
            logits.sigmoid()
            .view(len(image), *level.shape[-2:], each, logits.shape[-1])
            .amax(3)
            .permute(0, 3, 1, 2)
            for logits, level in zip(parts["cls_logits"], levels, strict=True)
        )
        # Nothing known still has a graph, so that a rank without boxes can step with the others.
        none = heads["cls_logits"].flatten()[:0]
        return Detected(torch.stack(losses) if losses else none, detections, maps)

    def _loss(self, target: Boxes, heads: Boxes, anchors: list[Tensor], row: int) -> Tensor:
        own = {name: part[row : row + 1] for name, part in heads.items()}
        found = self.parts.compute_loss([target], own, [anchors[row]])
        return torch.stack([*found.values()]).sum()


class TwoStage(Detector):
    """torchvision's Faster R-CNN: proposals without classes, then a class and a box for each.

    Args:
        classes: K, background not counted.
        width: channels of the pyramid; the box head has four times as many.
        strides: of the encoder's levels.
        anchor_scale: multiplies the anchors' sides; at 1 they are torchvision's, 32 pixels at a
            stride of 4.
        score_threshold: boxes of lower scores are not given.
    """

    takes, anchor_size, has_class_maps = 4, 8.0, False

    def __init__(
        self,
        classes: int,
        width: int,
        strides: Sequence[int],
        anchor_scale: float = 1.0,
        score_threshold: float = 0.05,
    ) -> None:
        super().__init__()
        self.width = width
        taken = list(strides[-self.takes :])
        sizes = tuple(
            (int(self.anchor_size * stride * anchor_scale),) for stride in [*taken, 2 * taken[-1]]
        )
        pool = MultiScaleRoIAlign([str(level) for level in range(len(taken))], 7, 2)
        self.parts = FasterRCNN(
            _Given(width),
            rpn_anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
            box_roi_pool=pool,
            box_head=TwoMLPHead(49 * width, 4 * width),
            box_predictor=FastRCNNPredictor(4 * width, classes + 1),
            box_score_thresh=score_threshold,
            box_detections_per_img=MOST_DETECTIONS,
        )

    def pyramid(self, channels: Sequence[int]) -> FeaturePyramidNetwork:
        """P2 to P5 and every second cell of P5, which only the proposals read."""
        taken = list(channels[-self.takes :])
        return FeaturePyramidNetwork(taken, self.width, LastLevelMaxPool())

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        levels: list[Tensor],
        targets: Sequence[Boxes | None],
        *,
        detect: bool,
    ) -> Detected:
        """The four losses of each film with targets, as one sum; detections."""
        # torchvision keeps the scales of the first image that it sees.
        self.parts.roi_heads.box_roi_pool.scales = None
        with _training(self.parts, image.device):
            losses = [
                self._loss(image[row : row + 1], [one[row : row + 1] for one in levels], target)
                for row, target in enumerate(targets)
                if target is not None
            ]
        none = levels[0].flatten()[:0]
        found = torch.stack(losses) if losses else none
        return Detected(found, self._detect(image, levels) if detect else None, None)

    def _loss(self, image: Tensor, levels: list[Tensor], target: Boxes) -> Tensor:
        images, features = _as_list(image), _named(levels)
        # Class 0 is the background there.
        shifted = [{"boxes": target["boxes"], "labels": target["labels"] + 1}]
        proposals, first = self.parts.rpn(images, features, shifted)
        _, second = self.parts.roi_heads(features, proposals, images.image_sizes, shifted)
        return torch.stack([*first.values(), *second.values()]).sum()

    def _detect(self, image: Tensor, levels: list[Tensor]) -> list[Boxes]:
        images, features = _as_list(image), _named(levels)
        proposals, _ = self.parts.rpn(images, features)
        found, _ = self.parts.roi_heads(features, proposals, images.image_sizes)
        return [{**one, "labels": one["labels"] - 1} for one in found]


class _Given(nn.Module):
    """Stands where torchvision wants a backbone: the features are computed outside."""

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels


def _as_list(image: Tensor) -> ImageList:
    size = (int(image.shape[-2]), int(image.shape[-1]))
    return ImageList(image, [size] * len(image))


def _named(levels: Sequence[Tensor]) -> OrderedDict[str, Tensor]:
    names = [*map(str, range(len(levels) - 1)), "pool"]
    return OrderedDict(zip(names, levels, strict=True))


@contextmanager
def _training(parts: nn.Module, device: torch.device) -> Iterator[None]:
    """Losses come in training mode only from torchvision; these parts have no other state.

    What is sampled for the losses of validation is drawn by a seed of its own.
    """
    was = {module: module.training for module in parts.modules()}
    gpu = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpu, enabled=not parts.training):
        if not parts.training:
            torch.manual_seed(0)
        parts.train()
        try:
            yield
        finally:
            for module, mode in was.items():
                module.training = mode

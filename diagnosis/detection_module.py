"""The task detect: the network's own losses, average precision on the network grid."""

import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from eye_gaze_data.batch import Batch
from saliency.context import attention_context
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network, Outputs
from saliency.terms import LossTerm

from .detection import Boxes
from .metrics.detection import RECALLS, THRESHOLDS

Pair = tuple[Boxes, Boxes]


class DetectionModule(TaskModule):
    """Detection over the films whose list of boxes is complete, other losses over their own rows.

    Args:
        network: gives ``losses`` where it is given targets, and ``detections`` outside training.
        settings: of the stage.
    """

    def __init__(self, network: Network, settings: TaskSettings) -> None:
        super().__init__(network, settings)
        self._last: Outputs | None = None
        self._pairs: list[Pair] = []

    def forward(self, batch: Batch) -> Outputs:
        """The network's outputs for a batch."""
        context = attention_context(batch, self.settings.organs, targets=True)
        outputs: Outputs = self.network(batch["image"], self.settings.task, context)
        return outputs

    def loss_terms(self, batch: Batch) -> dict[str, LossTerm]:
        """The losses that the network and its modules give."""
        outputs = self(batch)
        self._last = None if self.training else outputs
        return dict(outputs["losses"])

    def on_validation_epoch_start(self) -> None:
        """Forget the last epoch's boxes."""
        super().on_validation_epoch_start()
        self._pairs = []

    def validate(self, batch: Batch) -> None:
        """Keep the boxes, predicted and true, of the films whose list is complete."""
        outputs, self._last = self._last, None
        if outputs is None:
            return
        truths = zip(batch["boxes"], batch["box_labels"], strict=True)
        rows = zip(outputs["detections"], truths, batch["boxes_known"].tolist(), strict=True)
        self._pairs += [
            (_kept(found), _kept({"boxes": boxes, "labels": labels}))
            for found, (boxes, labels), known in rows
            if known
        ]

    def on_validation_epoch_end(self) -> None:
        """Log the losses, and ``valid/map`` and ``valid/ap50`` over the films of all ranks."""
        super().on_validation_epoch_end()
        self._log("valid", monitored_precision(_of_all_ranks(self._pairs)), 1)


def monitored_precision(pairs: list[Pair]) -> dict[str, Tensor]:
    """COCO's mean average precision (``map``) and that at an IoU of 0.5 (``ap50``).

    Args:
        pairs: predicted and true boxes of each film.

    Returns:
        Scalars in [0, 1]; NaN without a true box.
    """
    if not any(len(truth["boxes"]) for _, truth in pairs):
        return {name: torch.tensor(torch.nan) for name in ("map", "ap50")}
    # Its own thresholds are COCO's rounded to single precision, which misses recalls such as 3/10.
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        iou_thresholds=THRESHOLDS.tolist(),
        rec_thresholds=RECALLS.tolist(),
    )
    metric.update([found for found, _ in pairs], [truth for _, truth in pairs])
    scores = metric.compute()
    return {"map": scores["map"], "ap50": scores["map_50"]}


def _kept(boxes: Boxes) -> Boxes:
    return {name: part.detach().float().cpu() for name, part in boxes.items()} | {
        "labels": boxes["labels"].cpu()
    }


def _of_all_ranks(pairs: list[Pair]) -> list[Pair]:
    """The films of all ranks; ranks may have seen different numbers of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return pairs
    parts: list[list[Pair]] = [[]] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, pairs)
    return [pair for part in parts for pair in part]

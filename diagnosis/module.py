"""The tasks of the multi-task network: classify, saliency, fuse and joint."""

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor

from eye_gaze_data.batch import Batch
from saliency.attention import AttentionContext
from saliency.config import GAZE_TASKS
from saliency.context import attention_context
from saliency.cut import Computed, Cut, is_still
from saliency.density import density
from saliency.losses import (
    correlation_loss,
    kl_divergence_loss,
    map_cross_entropy,
    scanpath_loss,
)
from saliency.metrics import CorrelationCoefficient, NormalisedScanpathSaliency
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network, Outputs, Task
from saliency.terms import LossTerm

from .consistency import consistency_term, linear_head
from .evaluators import MacroAUROC
from .losses import (
    asymmetric_shift_focal,
    binary_cross_entropy,
    class_weights_of,
    cross_entropy,
    probabilities,
    weighted_binary_cross_entropy,
)

CLASS_LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "bce": binary_cross_entropy,
    "cross_entropy": cross_entropy,
    "weighted_bce": weighted_binary_cross_entropy,
    "asymmetric_shift_focal": asymmetric_shift_focal,
}
DENSITY_LOSSES = {"kld": kl_divergence_loss, "correlation": correlation_loss}


def still_cut(network: Network, task: Task, losses: Collection[str]) -> Cut | None:
    """Up to where a network can be computed once for a task; None if it cannot.

    Args:
        network: with its frozen parts frozen, in training mode.
        task: that is trained.
        losses: names of what trains it.
    """
    cut = network.cuts.get(task)
    if cut is None or not is_still(network, cut):
        return None
    # What is not said by the logits would be lost.
    alone = cut.film or set(losses) <= CLASS_LOSSES.keys()
    return cut if alone else None


class CooperativeModule(TaskModule):
    """One or both tasks on one network, each loss over its own known rows.

    Args:
        network: with the logits that the task needs.
        settings: of the stage; its task decides which metrics are scored.

    Attributes:
        computed: what stands at the network's cut for the films of the stage; None to compute it in
            every step.
    """

    class_losses = frozenset(CLASS_LOSSES)

    def __init__(self, network: Network, settings: TaskSettings) -> None:
        super().__init__(network, settings)
        if settings.task in {"classify", "fuse", "joint"}:
            self.auroc = MacroAUROC()
        if settings.task in GAZE_TASKS:
            self.cc = CorrelationCoefficient()
            self.nss = NormalisedScanpathSaliency()
        self.computed: Computed | None = None
        self._last: Outputs | None = None
        self._consistency = settings.options.get("attention_consistency", {})
        if "attention_consistency" in settings.losses:
            linear_head(network, settings.task, self._consistency.get("maps", ("class",)))

    def forward(self, batch: Batch) -> Outputs:
        """The network's outputs for a batch."""
        context, task = self._context(batch), self.settings.task
        if self.computed is not None:
            values = self.computed.of(batch["index"])
            return self.network.from_cut(values, batch["image"], task, context)
        outputs: Outputs = self.network(batch["image"], task, context)
        return outputs

    def cut(self) -> Cut | None:
        """Up to where the network can be computed once; None if it cannot."""
        if self.settings.legacy.drifting_statistics:
            return None
        return still_cut(self.network, self.settings.task, self.settings.losses)

    def up_to_cut(self, batch: Batch) -> Tensor:
        """What stands at the cut, (B, ...)."""
        task = self.settings.task
        return self.network.up_to_cut(batch["image"], task, self._context(batch))

    def _context(self, batch: Batch) -> AttentionContext:
        return attention_context(batch, self.settings.organs, targets=True)

    def loss_terms(self, batch: Batch) -> dict[str, LossTerm]:
        """Class losses over stated labels, saliency losses over rows with gaze, modules' own."""
        outputs = self(batch)
        self._last = None if self.training else outputs
        terms = dict(outputs.get("losses", {}))
        for name in self.wanted_losses():
            if name in CLASS_LOSSES:
                terms[name] = self._class_term(name, outputs["class_logits"], batch["labels"])
            elif name in DENSITY_LOSSES:
                logits, film = outputs["saliency_logits"], self._film(batch)
                terms[name] = LossTerm(DENSITY_LOSSES[name](logits, batch["saliency"], film))
            elif name == "map_cross_entropy":
                logits, film = outputs["map_logits"], self._film(batch)
                terms[name] = LossTerm(map_cross_entropy(logits, batch["saliency"], film))
            elif name == "scanpath":
                logits, film = outputs["saliency_logits"], self._film(batch)
                terms[name] = LossTerm(scanpath_loss(logits, batch["fixations"], film))
            elif name == "attention_consistency":
                terms[name] = self._consistency_term(outputs, batch)
        return terms

    def _class_term(self, name: str, logits: Tensor, labels: Tensor) -> LossTerm:
        values = CLASS_LOSSES[name](logits, labels, **self.settings.options.get(name, {}))
        weights = self.settings.class_weights.get(name)
        if weights is None:
            return LossTerm(values)
        return LossTerm(values, class_weights_of(name, weights.to(labels), labels))

    def _consistency_term(self, outputs: Outputs, batch: Batch) -> LossTerm:
        maps = self._consistency.get("maps", ("class",))
        head = linear_head(self.network, self.settings.task, maps)
        return consistency_term(outputs, batch, head, maps, self._consistency.get("normalise"))

    def _film(self, batch: Batch) -> Tensor:
        """Over which pixels the predicted density is normalised."""
        legacy = self.settings.legacy.unmasked_softmax
        return torch.ones_like(batch["valid"]) if legacy else batch["valid"]

    def validate(self, batch: Batch) -> None:
        """AUROC, CC and NSS on the network grid."""
        outputs, self._last = self._last, None
        if outputs is None:
            return
        if hasattr(self, "auroc"):
            scores = probabilities(outputs["class_logits"], exclusive=self.settings.exclusive)
            self.auroc.update(scores, batch["labels"])
            self.log("valid/auroc", self.auroc)
        if hasattr(self, "cc"):
            predicted = density(outputs["saliency_logits"], self._film(batch))
            truth = (batch["saliency"], batch["fixations"], batch["valid"])
            self.cc.update(predicted, *truth)
            self.nss.update(predicted, *truth)
            self.log_dict({"valid/cc": self.cc, "valid/nss": self.nss})

"""The tasks of the multi-task network: classify, saliency, fuse and joint."""

from eye_gaze_data.batch import Batch
from saliency.context import attention_context
from saliency.density import density
from saliency.losses import correlation_loss, kl_divergence_loss
from saliency.metrics import CorrelationCoefficient, NormalisedScanpathSaliency
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network, Outputs
from saliency.terms import LossTerm

from .evaluators import MacroAUROC
from .losses import binary_cross_entropy, cross_entropy, probabilities

CLASS_LOSSES = {"bce": binary_cross_entropy, "cross_entropy": cross_entropy}
SALIENCY_LOSSES = {"kld": kl_divergence_loss, "correlation": correlation_loss}


class CooperativeModule(TaskModule):
    """One or both tasks on one network, each loss over its own known rows.

    Args:
        network: with the logits that the task needs.
        settings: of the stage; its task decides which metrics are scored.
    """

    def __init__(self, network: Network, settings: TaskSettings) -> None:
        super().__init__(network, settings)
        if settings.task in {"classify", "fuse", "joint"}:
            self.auroc = MacroAUROC()
        if settings.task in {"saliency", "joint"}:
            self.cc = CorrelationCoefficient()
            self.nss = NormalisedScanpathSaliency()
        self._last: Outputs | None = None

    def forward(self, batch: Batch) -> Outputs:
        """The network's outputs for a batch."""
        context = attention_context(batch, self.settings.organs, targets=True)
        outputs: Outputs = self.network(batch["image"], self.settings.task, context)
        return outputs

    def loss_terms(self, batch: Batch) -> dict[str, LossTerm]:
        """Class losses over stated labels, saliency losses over rows with gaze, modules' own."""
        outputs = self(batch)
        self._last = None if self.training else outputs
        terms = dict(outputs.get("losses", {}))
        for name in self.settings.losses:
            if name in CLASS_LOSSES:
                values = CLASS_LOSSES[name](outputs["class_logits"], batch["labels"])
                terms[name] = LossTerm(values)
            if name in SALIENCY_LOSSES:
                logits, truth, film = outputs["saliency_logits"], batch["saliency"], batch["valid"]
                terms[name] = LossTerm(SALIENCY_LOSSES[name](logits, truth, film))
        return terms

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
            predicted = density(outputs["saliency_logits"], batch["valid"])
            truth = (batch["saliency"], batch["fixations"], batch["valid"])
            self.cc.update(predicted, *truth)
            self.nss.update(predicted, *truth)
            self.log_dict({"valid/cc": self.cc, "valid/nss": self.nss})

"""The contrast task: an encoder learns to bring alike films together."""

import torch
from torch import Tensor
from torch.nn import functional as F

from eye_gaze_data.batch import Batch
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network

from .config import ContrastConfig
from .losses import label_pairs, triplet_loss


class ContrastModule(TaskModule):
    """Contrastive learning of one encoder of a network.

    Args:
        network: with an ``embed`` method.
        settings: of the stage.
        config: of the contrast.
    """

    def __init__(self, network: Network, settings: TaskSettings, config: ContrastConfig) -> None:
        super().__init__(network, settings)
        self.config = config

    def embed(self, image: Tensor) -> Tensor:
        """(B, D) embeddings that the loss compares."""
        embedding = self.network.embed(image, self.config.encoder)
        return F.normalize(embedding, dim=1) if self.config.normalise else embedding

    def loss_values(self, batch: Batch) -> dict[str, Tensor]:
        """The active triplets of the batch."""
        embeddings = self.embed(batch["image"])
        alike, unlike = label_pairs(batch["labels"], batch["index"], self.config.jaccard)
        return {"triplet": triplet_loss(embeddings, alike, unlike, self.config.margin)}

    def validate(self, batch: Batch) -> None:
        """Share of triplets in the right order: the loss alone shrinks when embeddings do."""
        embeddings = self.embed(batch["image"])
        alike, unlike = label_pairs(batch["labels"], batch["index"], self.config.jaccard)
        distance = torch.cdist(embeddings, embeddings)
        triplets = alike[:, :, None] & unlike[:, None, :]
        ordered = (distance[:, :, None] < distance[:, None, :])[triplets].float()
        if len(ordered):
            self.log("valid/ordered", ordered.mean(), batch_size=len(ordered), sync_dist=True)

    def exported(self) -> dict[str, Tensor]:
        """The encoder alone."""
        prefix = f"{self.config.encoder}."
        return {name: v for name, v in super().exported().items() if name.startswith(prefix)}

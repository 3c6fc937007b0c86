"""The adapter over lightly: what turns embedded rows into a loss, by the name of the loss.

A further method of lightly with one head and a loss of two views is one entry of ``METHODS``::

    "barlow": lambda width, o: ViewPair(BarlowTwinsProjectionHead(width, o.hidden, o.out),
                                        BarlowTwinsLoss())

and a class of options in ``config.py``.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lightly.loss import NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from lightly.models.modules.heads import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    SimCLRProjectionHead,
    VICRegProjectionHead,
)
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import Tensor, nn
from torch.nn import functional as F

from saliency.terms import LossTerm

from .config import (
    OPTIONS,
    BYOLOptions,
    NTXentOptions,
    SupConOptions,
    TripletOptions,
    VICRegOptions,
)
from .losses import semi_hard_triplet_loss, supcon_loss, triplet_loss


class Rows(NamedTuple):
    """The rows of all processes.

    Attributes:
        embeddings: (B, D) of the encoder, pooled.
        targets: (B, D) of the momentum encoder, without a graph; None if no method wants it.
        alike: bool (B, B), (anchor, positive).
        unlike: bool (B, B), (anchor, negative).
        view: int64 (B,) from 0; the rows of each view are in the same order.
    """

    embeddings: Tensor
    targets: Tensor | None
    alike: Tensor
    unlike: Tensor
    view: Tensor


class Method(nn.Module):
    """Base of the methods: a head, and a loss of what it gives.

    Attributes:
        momentum: of the momentum encoder that the method wants; None for none.
    """

    momentum: float | None = None

    def forward(self, rows: Rows) -> LossTerm:
        """The loss of a batch; no value where the batch holds nothing to compare."""
        raise NotImplementedError

    def follow(self, momentum: float) -> None:
        """After each step of the optimiser: move what follows the online weights."""


class Triplet(Method):
    """Triplets of the embeddings themselves, without a head."""

    def __init__(self, options: TripletOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, rows: Rows) -> LossTerm:
        """The active triplets; in validation all of them, so that epochs compare."""
        embeddings, margin = rows.embeddings, self.options.margin
        if self.options.normalise:
            embeddings = F.normalize(embeddings, dim=1)
        if self.training and self.options.mining == "semi_hard":
            return LossTerm(semi_hard_triplet_loss(embeddings, rows.alike, rows.unlike, margin))
        return LossTerm(
            triplet_loss(embeddings, rows.alike, rows.unlike, margin, active_only=self.training)
        )


class SupCon(Method):
    """Supervised contrast behind SimCLR's head."""

    def __init__(self, width: int, options: SupConOptions) -> None:
        super().__init__()
        self.temperature = options.temperature
        self.head = SimCLRProjectionHead(width, options.hidden, options.out)

    def forward(self, rows: Rows) -> LossTerm:
        """One value for each anchor with a positive and a negative."""
        if len(rows.embeddings) < 2:
            return nothing(rows.embeddings)
        projected = self.head(rows.embeddings)
        return LossTerm(supcon_loss(projected, rows.alike, rows.unlike, self.temperature))


class ViewPair(Method):
    """Any loss of lightly that compares the first view of each film with the second.

    Args:
        head: projects the embeddings, each view for itself as in lightly's examples.
        loss: of two views (B, D), reduced to a number.
    """

    def __init__(self, head: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.head, self.loss = head, loss

    def forward(self, rows: Rows) -> LossTerm:
        """One value, which counts as many films as the batch has."""
        one, other = (rows.embeddings[rows.view == view] for view in (0, 1))
        if len(one) < 2 or len(one) != len(other):
            return nothing(rows.embeddings)
        return of_rows(self.loss(self.head(one), self.head(other)), len(one))


class BYOL(Method):
    """The online encoder predicts what the momentum encoder says of the positives.

    Grill et al., "Bootstrap your own latent" (NeurIPS 2020), equation 2 as lightly has it: minus
    the cosine. With two views and no further positives the pairs are both orders of the views.
    """

    def __init__(self, width: int, options: BYOLOptions) -> None:
        super().__init__()
        self.momentum = options.momentum
        self.head = BYOLProjectionHead(width, options.hidden, options.out)
        self.predict = BYOLPredictionHead(options.out, options.hidden, options.out)
        self.target_head = copy.deepcopy(self.head)
        deactivate_requires_grad(self.target_head)
        self.loss = NegativeCosineSimilarity()

    def forward(self, rows: Rows) -> LossTerm:
        """One value, which counts as many rows as there are pairs."""
        anchors, positives = rows.alike.nonzero(as_tuple=True)
        if rows.targets is None or not len(anchors):
            return nothing(rows.embeddings)
        predicted, target = self.predict(self.head(rows.embeddings)), self.target_head(rows.targets)
        return of_rows(self.loss(predicted[anchors], target.detach()[positives]), len(anchors))

    def follow(self, momentum: float) -> None:
        """The target head follows the head."""
        update_momentum(self.head, self.target_head, momentum)


def nothing(embeddings: Tensor) -> LossTerm:
    """A term without values, with a graph to the embeddings."""
    return LossTerm(embeddings[:0].sum(1))


def of_rows(loss: Tensor, rows: int) -> LossTerm:
    """A term of a loss that is a mean over so many rows."""
    return LossTerm(loss[None], loss.new_tensor([float(rows)]))


def _nt_xent(width: int, options: NTXentOptions) -> Method:
    head = SimCLRProjectionHead(width, options.hidden, options.out)
    return ViewPair(head, NTXentLoss(options.temperature))


def _vicreg(width: int, options: VICRegOptions) -> Method:
    head = VICRegProjectionHead(width, options.hidden, options.out)
    return ViewPair(head, VICRegLoss(options.invariance, options.variance, options.covariance))


METHODS: dict[str, Callable[[int, Any], Method]] = {
    "triplet": lambda _, options: Triplet(options),
    "supcon": SupCon,
    "nt_xent": _nt_xent,
    "vicreg": _vicreg,
    "byol": BYOL,
}


def build_method(name: str, width: int, options: Mapping[str, Any]) -> Method:
    """A method by the name of its loss.

    Args:
        name: of the loss.
        width: D, of the embeddings.
        options: of the loss, checked by the class of its options.
    """
    return METHODS[name](width, OPTIONS[name].model_validate(dict(options)))

"""The contrast task: an encoder learns to bring alike films together."""

import copy
import zlib
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from eye_gaze_data.batch import Batch
from saliency.context import attention_context
from saliency.module import TaskModule, TaskSettings
from saliency.network import Network
from saliency.terms import LossTerm

from .config import ContrastConfig, Positives, TripletOptions
from .gather import gathered
from .gaze import cells_of, gaze_pairs
from .losses import pairwise_distance, unpooled_triplet_loss
from .methods import Method, Rows, build_method
from .positives import Pairs, group_pairs, label_pairs, numbered


class ContrastModule(TaskModule):
    """Contrastive learning of one encoder of a network, or of both.

    In training a contrast is drawn over the rows of all processes; in validation, where processes
    may have different numbers of batches, over each one's own.

    Args:
        network: whose encoder is trained.
        settings: of the stage.
        config: of the contrast.
        gaze: of ``film_gaze``, for positives by gaze.

    Attributes:
        methods: by the name of the loss.
        target: the momentum encoder's network; None if no method wants one.
    """

    def __init__(
        self,
        network: Network,
        settings: TaskSettings,
        config: ContrastConfig,
        gaze: Mapping[int, Tensor] | None = None,
    ) -> None:
        super().__init__(network, settings)
        self.config, self.gaze = config, gaze or {}
        width = sum(network.width(encoder) for encoder in config.encoders)
        with torch.random.fork_rng(devices=[]):
            # Heads depend on seed and stage alone.
            torch.manual_seed(zlib.crc32(repr((settings.seed, settings.stage)).encode()))
            self.methods = nn.ModuleDict(
                {
                    name: build_method(name, width, settings.options.get(name, {}))
                    for name in settings.losses
                }
            )
        self.target: Network | None = None
        if any(method.momentum is not None for _, method in self._methods()):
            self.target = copy.deepcopy(network)
            deactivate_requires_grad(self.target)
        self._last: tuple[Tensor, Pairs] | None = None

    def _methods(self) -> list[tuple[str, Method]]:
        return [(name, cast(Method, method)) for name, method in self.methods.items()]

    def setup(self, stage: str) -> None:
        """The momentum encoder begins where the encoder does: after the hand-over."""
        del stage
        if self.target is not None:
            self.target.load_state_dict(self.network.state_dict())

    def train(self, mode: bool = True) -> "ContrastModule":
        """As the network's modules stand, so do the momentum encoder's."""
        super().train(mode)
        if self.target is not None:
            for own, other in zip(self.network.modules(), self.target.modules(), strict=True):
                other.training = own.training
        return self

    def encode(self, batch: Batch, network: Network | None = None) -> list[Tensor]:
        """(B, D, h, w) the last map of each encoder."""
        context = attention_context(batch, self.settings.organs, targets=True)
        network = network or self.network
        return [network.encode(batch["image"], name, context) for name in self.config.encoders]

    def embed(self, maps: list[Tensor]) -> Tensor:
        """(B, D) the mean of each map, one encoder's behind the other's."""
        return torch.cat([features.mean((2, 3)) for features in maps], 1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, D) embeddings."""
        return self.embed(self.encode(batch))

    def loss_terms(self, batch: Batch) -> dict[str, LossTerm]:
        """Each method's loss over the rows of all processes."""
        maps = self.encode(batch)
        share = gathered if self.training else _own
        embeddings = share(self.embed(maps))
        targets = None
        if self.target is not None:
            with torch.no_grad():
                targets = share(self.embed(self.encode(batch, self.target)))
        kinds = {name: self.config.positives_of(name) for name in self.methods}
        pairs = {kind: self._pairs(batch, kind) for kind in dict.fromkeys(kinds.values())}
        if not self.training:
            self._last = embeddings, next(iter(pairs.values()))
        if self.settings.legacy.unpooled_triplet:
            return {"triplet": self._unpooled(share(maps[0]), *pairs["label"])}
        view = share(batch["view"])
        return {
            name: method(Rows(embeddings, targets, *pairs[kinds[name]], view))
            for name, method in self._methods()
        }

    def _pairs(self, batch: Batch, kind: Positives) -> Pairs:
        """What is alike and unlike among the rows of all processes."""
        share = gathered if self.training else _own
        index = share(batch["index"])
        if kind == "label":
            return label_pairs(share(batch["labels"]), index, self.config.jaccard)
        if kind == "gaze":
            return gaze_pairs(cells_of(self.gaze, index), index, self.config.gaze_correlation)
        if kind == "patient":
            return group_pairs(share(numbered(batch["patient_id"], index.device)))
        return group_pairs(index)

    def _unpooled(self, maps: Tensor, alike: Tensor, unlike: Tensor) -> LossTerm:
        options = TripletOptions.model_validate(dict(self.settings.options.get("triplet", {})))
        sums = unpooled_triplet_loss(maps, alike, unlike, options.margin)
        return LossTerm(sums.sum()[None] if self.training else sums)

    def validate(self, batch: Batch) -> None:
        """Share of triplets in the right order: the loss alone shrinks when embeddings do."""
        del batch
        last, self._last = self._last, None
        if last is None:
            return
        embeddings, (alike, unlike) = last
        distance = pairwise_distance(embeddings)
        triplets = alike[:, :, None] & unlike[:, None, :]
        self.tally("ordered", (distance[:, :, None] < distance[:, None, :])[triplets])

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's own
        """A step of the optimiser, then of what follows the online weights."""
        super().optimizer_step(*args, **kwargs)
        steps = self.planned_steps()
        for _, method in self._methods():
            if method.momentum is None or self.target is None:
                continue
            done = min(self.trainer.global_step, steps)
            momentum = cosine_schedule(done, steps, method.momentum, 1.0)
            for encoder in self.config.encoders:
                for own, other in zip(
                    _parts(self.network, encoder), _parts(self.target, encoder), strict=True
                ):
                    update_momentum(own, other, momentum)
            method.follow(momentum)

    def exported(self) -> dict[str, Tensor]:
        """The encoder alone, with the attention at its sites."""
        parts = tuple(
            prefix for name in self.config.encoders for prefix in (f"{name}.", f"attention.{name}.")
        )
        return {name: v for name, v in super().exported().items() if name.startswith(parts)}


def _own(rows: Tensor) -> Tensor:
    return rows


def _parts(network: Network, encoder: str) -> list[nn.Module]:
    """The encoder and the attention at its sites."""
    names = dict(network.named_modules())
    return [names[name] for name in (encoder, f"attention.{encoder}") if name in names]

"""What a config says of optimisers, schedules and attention; pydantic alone, quick to import."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Tasks that learn from gaze and are scored by it; the others need no gaze in their batches.
GAZE_TASKS = frozenset({"saliency", "joint"})


class AttentionConfig(BaseModel):
    """One entry of a model's ``attention`` list.

    Attributes:
        use: name of the module.
        at: glob over the sites of the network, e.g. ``skip.*``.
        options: of the module.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    use: str
    at: str
    options: dict[str, Any] = {}


class OptimiserConfig(BaseModel):
    """The optimiser of a stage.

    Attributes:
        name: of the method.
        lr: learning rate.
        weight_decay: decoupled from the gradient with ``adamw`` alone.
        momentum: of ``sgd``.
        clip: norm that the whole gradient is cut to.
        rates: glob over parameter names to a relative learning rate; the longest glob counts, what
            none matches has rate 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    clip: float | None = Field(default=None, gt=0)
    rates: dict[str, Annotated[float, Field(gt=0)]] = {}


class ScheduleConfig(BaseModel):
    """The learning rate over a stage.

    Attributes:
        name: ``constant``; ``cosine`` down to ``final`` of the rate; ``plateau``, which multiplies
            by ``factor`` after ``patience`` epochs without a better monitored value.
        warmup: share of the stage during which the rate rises linearly (constant and cosine).
        final: last rate of the cosine, relative.
        factor: of the plateau.
        patience: of the plateau, in epochs.
        threshold: smallest relative gain of a loss that counts as better for the plateau alone; the
            best weights are those of the best epoch, however small its gain.
        reload_best: at a plateau go back to the best weights and the optimiser's state with them.
        stop_below: end the stage when the rate falls below it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Literal["constant", "cosine", "plateau"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    final: float = Field(default=0.01, ge=0, le=1)
    factor: float = Field(default=0.1, gt=0, lt=1)
    patience: int = Field(default=40, ge=1)
    threshold: float = Field(default=0.0, ge=0, lt=1)
    reload_best: bool = False
    stop_below: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _warms_up(self) -> "ScheduleConfig":
        if self.name == "plateau" and self.warmup:
            raise ValueError(
                f"a plateau starts at the full rate, found warmup: {self.warmup:g}; leave it out, "
                "or take name: constant or cosine"
            )
        return self


class LegacyConfig(BaseModel):
    """Quirks of the released code that change numbers, off by default; see ``docs/legacy.md``.

    Attributes:
        unpooled_triplet: compare the encoder's last map as it is: distances over its last axis, a
            hinge an element, summed over all triplets of a batch.
        drifting_statistics: norms of frozen parts stay in training mode, so that they divide by the
            batch's statistics and their running statistics go on changing.
        unmasked_softmax: the density of losses and monitors is a softmax over all pixels, padding
            included.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unpooled_triplet: bool = False
    drifting_statistics: bool = False
    unmasked_softmax: bool = False

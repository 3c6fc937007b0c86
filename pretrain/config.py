"""What a config says of a contrast stage; pydantic alone, quick to import."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Positives = Literal["label", "augmentation", "patient", "gaze"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TripletOptions(_Strict):
    """Options of the loss ``triplet``.

    Attributes:
        margin: of the hinge.
        mining: ``all`` active triplets, or ``semi_hard``: for each anchor and positive the nearest
            negative beyond the positive.
        normalise: divide embeddings by their length.
    """

    margin: float = Field(default=1.0, gt=0)
    mining: Literal["all", "semi_hard"] = "all"
    normalise: bool = False


class SupConOptions(_Strict):
    """Options of the loss ``supcon``.

    Attributes:
        temperature: divides the cosine similarities.
        hidden: width of the head's hidden layer.
        out: width of what the loss compares.
    """

    temperature: float = Field(default=0.1, gt=1e-3)
    hidden: int = Field(default=2048, ge=1)
    out: int = Field(default=128, ge=1)


class NTXentOptions(SupConOptions):
    """Options of the loss ``nt_xent``: as of ``supcon``."""


class VICRegOptions(_Strict):
    """Options of the loss ``vicreg``; the paper's head is 8192 wide.

    Attributes:
        invariance: weight of the squared distance of the two views.
        variance: weight of the hinge on each dimension's deviation.
        covariance: weight of the squared covariances.
        hidden: width of the head's hidden layers.
        out: width of what the loss compares.
    """

    invariance: float = Field(default=25.0, ge=0)
    variance: float = Field(default=25.0, ge=0)
    covariance: float = Field(default=1.0, ge=0)
    hidden: int = Field(default=2048, ge=1)
    out: int = Field(default=2048, ge=2)


class BYOLOptions(_Strict):
    """Options of the loss ``byol``.

    Attributes:
        momentum: of the target encoder at the start; it rises to 1 along a cosine.
        hidden: width of the hidden layers of both heads.
        out: width of what the loss compares.
    """

    momentum: float = Field(default=0.996, ge=0, le=1)
    hidden: int = Field(default=4096, ge=1)
    out: int = Field(default=256, ge=1)


OPTIONS: dict[str, type[_Strict]] = {
    "triplet": TripletOptions,
    "supcon": SupConOptions,
    "nt_xent": NTXentOptions,
    "vicreg": VICRegOptions,
    "byol": BYOLOptions,
}
# What each method takes as positives, the default first.
POSITIVES: dict[str, tuple[Positives, ...]] = {
    "triplet": ("label", "augmentation", "patient", "gaze"),
    "supcon": ("label", "augmentation", "patient", "gaze"),
    "nt_xent": ("augmentation",),
    "vicreg": ("augmentation",),
    "byol": ("augmentation", "label", "patient", "gaze"),
}


class WatchConfig(_Strict):
    """How embeddings are watched while they are learned.

    Attributes:
        every: epochs between two looks; the last epoch is always looked at.
        films: at most so many training films as the bank, and validation films as the queries.
        neighbours: of the k-nearest-neighbour score.
    """

    every: int = Field(default=1, ge=1)
    films: int = Field(default=1000, ge=2)
    neighbours: int = Field(default=20, ge=1)


class ContrastConfig(_Strict):
    """What a contrast stage embeds, and which films it brings together.

    Attributes:
        encoder: which encoder of the network is trained and handed over; ``both`` embeds a film by
            the vectors of both, one behind the other.
        positives: films that belong together, beside the views of one film: those with alike
            findings (``label``), none (``augmentation``), those of one ``patient``, or those that
            were looked at alike (``gaze``). None for the method's own: label for triplet and
            supcon, augmentation for the others.
        jaccard: two films are alike if their findings overlap by at least this.
        gaze_correlation: two films were looked at alike if their densities correlate by at least
            this. McGIP's 0.7 is a threshold on other measures.
        watch: scores of the embeddings.
    """

    encoder: Literal["encoder_a", "encoder_b", "encoder", "both"] = "encoder_a"
    positives: Positives | None = None
    jaccard: float = Field(default=0.5, gt=0, le=1)
    gaze_correlation: float = Field(default=0.7, gt=-1, lt=1)
    watch: WatchConfig = WatchConfig()

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the encoders, in order."""
        return ("encoder_a", "encoder_b") if self.encoder == "both" else (self.encoder,)

    def positives_of(self, method: str) -> Positives:
        """What a method takes as positives."""
        return self.positives or POSITIVES[method][0]

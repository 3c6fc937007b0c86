"""What a config says of the anatomy stage; pydantic alone, quick to import."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class AnatomySegmenterConfig(BaseModel):
    """The segmenter; see ``AnatomySegmenter`` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    tasks: ClassVar[tuple[str, ...]] = ("segment",)
    built: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("anatomy",)

    kind: Literal["anatomy_segmenter"] = "anatomy_segmenter"
    organs: tuple[str, ...] = Field(min_length=1)
    backbone: str = "densenet121"
    backbone_options: dict[str, Any] = {}
    widths: tuple[PositiveInt, ...] | None = None
    pretrained: bool = False
    pad: bool = False


class TeacherConfig(BaseModel):
    """The mean teacher of a segment stage.

    Attributes:
        decay: of the teacher's weights once it has warmed up; 0.999 is the original's for long
            trainings, a stage of a few hundred steps wants less.
        ramp: share of the stage's steps over which the consistency grows to its weight.
        annotated_share: share of an epoch's films that have a mask, drawn again as often as that
            takes; the epoch is as long as without. None draws each film once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    decay: float = Field(default=0.999, ge=0, lt=1)
    ramp: float = Field(default=0.2, ge=0, le=1)
    annotated_share: float | None = Field(default=None, gt=0, le=1)

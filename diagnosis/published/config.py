"""The published systems as configs name them.

Systems whose ``built`` is false are declared so that runs can be written and checked; a run says
so before it starts. Fields state what is known or reconstructed of each system (specs: attention
systems).
"""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

GazeBranch = Literal["none", "class_map", "decoder"]


class _System(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    tasks: ClassVar[tuple[str, ...]] = ("classify",)
    built: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()

    pretrained: bool = False


class _Classifier(_System):
    tasks: ClassVar[tuple[str, ...]] = ("classify", "saliency", "joint")
    built: ClassVar[bool] = True

    backbone: str = "densenet121"
    backbone_options: dict[str, Any] = {}
    gaze_branch: GazeBranch = "none"


class AnatomyXNetConfig(_Classifier):
    """Anatomy-XNet; see ``AnatomyXNet`` for the fields."""

    requires: ClassVar[tuple[str, ...]] = ("anatomy",)

    kind: Literal["anatomy_xnet"] = "anatomy_xnet"
    organs: tuple[str, ...] = Field(min_length=1)
    ratio: float = Field(default=0.25, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    mask_weight: float = Field(default=0.0, ge=0, le=1)


class MSANetConfig(_Classifier):
    """MS-ANet; see ``MSANet`` for the fields."""

    kind: Literal["msanet"] = "msanet"
    width: PositiveInt = 256
    iterations: int = Field(default=2, ge=0)


class MSAIMNetConfig(_Classifier):
    """MSAIMNet; see ``MSAIMNet`` for the fields."""

    kind: Literal["msaimnet"] = "msaimnet"
    paths: int = Field(default=4, ge=1)
    reduction: int = Field(default=32, ge=1)
    branches: tuple[PositiveInt, ...] = Field(default=(1, 3, 5, 7), min_length=1)


class DualAttNetConfig(_System):
    """DualAttNet: a detector of torchvision with dual attention; see ``DualAttNet``."""

    tasks: ClassVar[tuple[str, ...]] = ("detect",)
    built: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]] = ("boxes",)

    kind: Literal["dualattnet"] = "dualattnet"
    detector: Literal["retinanet", "faster_rcnn"] = "retinanet"
    backbone: str = "resnet50"
    backbone_options: dict[str, Any] = {}
    width: int = Field(default=256, ge=16)
    anchor_scale: float = Field(default=1.0, gt=0)
    score_threshold: float = Field(default=0.05, ge=0, lt=1)
    supervision: Literal["ila_fgda", "ila", "none"] = "ila_fgda"
    global_reduce: Literal["sum", "mean"] = "sum"
    detach_class: bool = False

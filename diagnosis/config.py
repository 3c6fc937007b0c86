"""The networks that a config can name."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from saliency.config import AttentionConfig


class DualEncoderConfig(BaseModel):
    """The dual-encoder UNet; see ``DualEncoderUNet`` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    tasks: ClassVar[tuple[str, ...]] = ("contrast", "classify", "saliency", "fuse", "joint")
    built: ClassVar[bool] = True

    kind: Literal["dual_encoder"] = "dual_encoder"
    backbone: str = "densenet201"
    backbone_options: dict[str, Any] = {}
    pretrained: bool = False
    widths: tuple[PositiveInt, ...] = (64, 128, 256, 512, 1024)
    in_channels: Literal[1] = 1
    reduction: int = Field(default=16, ge=1)
    hidden: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.25, ge=0, lt=1)
    plain_head: bool = False
    attention: tuple[AttentionConfig, ...] = ()

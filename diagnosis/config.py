"""The networks that a config can name."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from saliency.config import AttentionConfig


class DualEncoderConfig(BaseModel):
    """The dual-encoder UNet; see ``DualEncoderUNet`` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    tasks: ClassVar[tuple[str, ...]] = ("contrast", "classify", "saliency", "fuse", "joint")
    encoders: ClassVar[tuple[str, ...]] = ("encoder_a", "encoder_b")
    built: ClassVar[bool] = True

    kind: Literal["dual_encoder"] = "dual_encoder"
    backbone: str = "densenet201"
    backbone_options: dict[str, Any] = {}
    pretrained: bool = False
    widths: tuple[PositiveInt, ...] = (64, 128, 256, 512, 1024)
    in_channels: int = Field(default=1, ge=1)
    reduction: int = Field(default=16, ge=1)
    hidden: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.25, ge=0, lt=1)
    plain_head: bool = False
    pad: bool = False
    checkpointing: bool = False
    attention: tuple[AttentionConfig, ...] = ()


class MTUNetConfig(BaseModel):
    """MT-UNet; see ``MTUNet`` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    tasks: ClassVar[tuple[str, ...]] = ("contrast", "classify", "saliency", "joint")
    encoders: ClassVar[tuple[str, ...]] = ("encoder",)
    built: ClassVar[bool] = True

    kind: Literal["mt_unet"] = "mt_unet"
    stages: Literal["plain", "res_se"] = "plain"
    widths: tuple[PositiveInt, ...] = Field(default=(64, 128, 256, 512, 1024), min_length=2)
    in_channels: int = Field(default=1, ge=1)
    hidden: int = Field(default=64, ge=1)
    dropout: float = Field(default=0.25, ge=0, lt=1)
    pad: bool = False
    checkpointing: bool = False
    attention: tuple[AttentionConfig, ...] = ()


class SmpUNetConfig(BaseModel):
    """smp's U-Net with a classification head; see ``SmpUNet`` for the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    tasks: ClassVar[tuple[str, ...]] = ("classify", "saliency", "joint")
    built: ClassVar[bool] = True

    kind: Literal["smp_unet"] = "smp_unet"
    encoder: str = "efficientnet-b0"
    encoder_options: dict[str, Any] = {}
    decoder_channels: tuple[PositiveInt, ...] = Field(
        default=(256, 128, 64, 32, 16), min_length=5, max_length=5
    )
    pretrained: bool = False
    in_channels: int = Field(default=1, ge=1)
    map: Literal["softmax", "sigmoid"] = "softmax"
    dropout: float = Field(default=0.0, ge=0, lt=1)
    pad: bool = False

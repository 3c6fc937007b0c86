"""How a stage computes on the device it gets: what ``auto`` in a config's ``trainer`` means."""

from dataclasses import dataclass
from typing import Literal

import torch

from .config import TrainerConfig
from .devices import choose_device
from .prepare_data import usable_cores

# Loader processes beyond these have nothing left to speed up (docs/stages.md).
_MOST_WORKERS = 8


@dataclass(frozen=True)
class DeviceFacts:
    """What the choice depends on.

    Attributes:
        kind: of device.
        bf16: whether it multiplies in bfloat16 itself, as GPUs since Ampere do.
        cores: CPU cores that this process may use.
    """

    kind: Literal["cpu", "cuda"]
    bf16: bool
    cores: int


@dataclass(frozen=True)
class Execution:
    """How a stage computes.

    Attributes:
        device: that it runs on.
        precision: Lightning's name.
        layout: of weights and feature maps.
        compile: whether the network is compiled.
        fused: whether the optimiser's step is one kernel.
        workers: loader processes; each reads two batches ahead.
        pinned: whether batches lie in pinned memory and are copied while the GPU computes.
    """

    device: Literal["cpu", "cuda"]
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    layout: Literal["nchw", "channels_last"]
    compile: bool
    fused: bool
    workers: int
    pinned: bool

    def __str__(self) -> str:
        parts = [
            f"device {self.device}",
            f"precision {self.precision}",
            f"layout {self.layout}",
            "compiled" if self.compile else "not compiled",
            "fused optimiser" if self.fused else "plain optimiser",
            f"{self.workers} loader processes",
            "pinned memory" if self.pinned else "pageable memory",
        ]
        return ", ".join(parts)


def choose_execution(config: TrainerConfig, device: DeviceFacts) -> Execution:
    """What a config means on a device; what is not ``auto`` is taken as it stands.

    On a CPU without bfloat16 units float32 in NCHW was measured to be right, and oneDNN has wrong
    gradients for some strided 1x1 convolutions in channels_last. On a GPU tensor cores want
    channels_last and half precision: bfloat16, which needs no scaling of gradients.

    Args:
        config: of the run.
        device: that a stage runs on.
    """
    gpu = device.kind == "cuda"
    precision, layout = config.precision, config.layout
    if precision == "auto":
        precision = "bf16-mixed" if gpu and device.bf16 else "32-true"
    if layout == "auto":
        layout = "channels_last" if gpu else "nchw"
    share = max(1, min(_MOST_WORKERS, device.cores // config.devices))
    workers = config.workers if config.workers != "auto" else share if gpu else 0
    # A fused step would unscale gradients itself, after they were clipped.
    fused = config.fused == "auto" and gpu and precision != "16-mixed"
    return Execution(device.kind, precision, layout, config.compile, fused, workers, pinned=gpu)


def execution_here(config: TrainerConfig) -> Execution:
    """The choice on this machine.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    return choose_execution(config, device_facts(config.device))


def device_facts(name: str) -> DeviceFacts:
    """Of a device by its name in a config.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    gpu = choose_device(name).type == "cuda"
    bf16 = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    return DeviceFacts("cuda" if gpu else "cpu", bf16, usable_cores())

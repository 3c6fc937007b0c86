"""What a run will need, before it starts: memory, time an epoch, disk. Estimates, and said so.

The network of each stage runs one step on the ``meta`` device, which has shapes and no numbers:
what autograd keeps for the backward pass is counted to the byte, the work to the operation. Time is
work over the speed of this machine's matrix product, at efficiencies that training steps reach.
"""

import math
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import GazedxError
from saliency.attention import AttentionContext
from saliency.frozen import freeze, hold_frozen
from saliency.network import Network

from .build import shapes_of
from .computed_once import fits_memory, stage_cut
from .config import RunConfig, StageConfig
from .stage_data import stage_classes

# Of the matrix product's speed, on two cores: small networks 5 to 11 %, full-size ones 45 to 52 %.
EFFICIENCY = (0.05, 0.6)
_MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}


@dataclass(frozen=True)
class StepCost:
    """One training step.

    Attributes:
        films: rows of the batch, views counted each.
        weights: bytes of parameters and buffers.
        trained: bytes of the parameters that train; gradients are as large.
        saved: bytes of activations that the backward pass needs.
        operations: floating-point operations, forward and backward.
        forward: of them, forward.
    """

    films: int
    weights: int
    trained: int
    saved: int
    operations: int
    forward: int

    def memory(self, optimiser: str) -> int:
        """Bytes that stand at once, at least: weights, gradients, moments, activations."""
        return self.weights + (1 + _MOMENTS[optimiser]) * self.trained + self.saved


def step_cost(network: Network, stage: StageConfig, device: str = "meta") -> StepCost:
    """The cost of a step of a stage.

    Args:
        network: of the stage; it is moved to ``device``.
        stage: what trains on what.
        device: ``meta`` computes nothing; on another the same is counted of a real step.

    Raises:
        RuntimeError: if the network looks at numbers, which ``meta`` has none of.
    """
    freeze(network, stage.train, stage.name)
    network = network.to(device).train()
    hold_frozen(network)
    views = len(stage.data.training_views())
    films = stage.batch_size * views
    image, context = _inputs(network, stage, films, device)
    own = [*network.parameters(), *network.buffers(), image]
    kept = _Kept({value.untyped_storage().data_ptr() for value in own} - {0}, own)
    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(kept.pack, lambda value: value):
            outputs = list(_outputs(network, stage, image, context))
            forward = counter.get_total_flops()
        total = torch.stack([value.float().sum() for value in outputs]).sum()
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]
    trained = [p for p in network.parameters() if p.requires_grad]
    return StepCost(
        films=films,
        weights=_bytes([*network.parameters(), *network.buffers()]),
        trained=_bytes(trained),
        saved=kept.total,
        operations=counter.get_total_flops(),
        forward=forward,
    )


def estimate_lines(config: RunConfig, cohort: Cohort, folder: Path) -> list[str]:
    """What ``gazedx config check`` says of each stage, and of the disk.

    Args:
        config: of the run.
        cohort: its data.
        folder: of the run; it need not exist.
    """
    lines, disk, on_disk = [], 0, [0]
    speed = matmul_speed(config.trainer.device)
    memory, where = _memory(config.trainer.device)
    for stage in config.stages:
        model = config.models[stage.model]
        if not model.built:
            continue
        classes, _ = stage_classes(stage, cohort)
        try:
            network = shapes_of(model, len(classes))
            cost = step_cost(network, stage)
            computed = computed_bytes(config, stage, network, cohort)
        except (RuntimeError, NotImplementedError, ValueError, KeyError, GazedxError) as error:
            lines.append(f"stage {stage.name}: not estimated ({str(error).splitlines()[0][:120]})")
            continue
        lines.append(_stage_line(config, stage, cost, cohort, speed))
        stays = fits_memory(computed, config.trainer.devices * config.trainer.nodes)
        need = cost.memory(stage.optimiser.name) + (computed if stays else 0)
        if need > memory:
            lines.append(
                f"warning: stage {stage.name} needs at least {_size(need)}, {where} has "
                f"{_size(memory)}; lower batch_size, or set checkpointing in the model"
            )
        disk += _weight_bytes(stage, cost)
        if computed:
            place = "in memory" if stays else "on disk while it trains"
            lines.append(f"stage {stage.name}: {_size(computed)} computed once, {place}")
            on_disk.append(0 if stays else computed)
    # Each stage removes what it computed.
    return [*lines, *_disk_lines(config, cohort, disk + max(on_disk), folder)]


def _weight_bytes(stage: StageConfig, cost: StepCost) -> int:
    """On disk: what is handed over is whole; the best and the checkpoint lack what is frozen."""
    # A mean teacher, or a momentum encoder, stands whole in the checkpoint.
    second = cost.weights * (stage.task == "segment" or "byol" in stage.losses)
    return cost.weights + (2 + _MOMENTS[stage.optimiser.name]) * cost.trained + second


def computed_bytes(config: RunConfig, stage: StageConfig, network: Network, cohort: Cohort) -> int:
    """Bytes of what a stage computes once for its films, in float32; 0 if it computes nothing once.

    Args:
        config: of the run.
        stage: of it.
        network: on the ``meta`` device, with its frozen parts frozen, in training mode.
        cohort: the data.
    """
    if stage_cut(config, stage, network) is None:
        return 0
    with torch.no_grad():
        image, context = _inputs(network, stage, 1, "meta")
        values = network.eval().up_to_cut(image, stage.task, context)
    names = list(stage.data.cohorts)
    train, valid = (len(cohort.rows_of(s, names)) for s in (stage.data.train, stage.data.valid))
    # The training split is filled up to whole batches.
    films = math.ceil(train / stage.batch_size) * stage.batch_size + valid
    return films * values.numel() * values.element_size()


def matmul_speed(device: str = "auto") -> float:
    """Operations a second of a float32 matrix product here, the best of a few."""
    cuda = device != "cpu" and torch.cuda.is_available()
    side = 4096 if cuda else 768
    one = torch.rand(side, side, device="cuda" if cuda else "cpu")
    best = math.inf
    for _ in range(10):
        begun = time.perf_counter()
        one @ one
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begun)
    return 2 * side**3 / best


class _Kept:
    """Counts the storages that autograd keeps, each once, those of others left out."""

    def __init__(self, others: set[int], own: list[Tensor]) -> None:
        self.others, self.own = others, {id(value) for value in own}
        self.storages: dict[int, torch.UntypedStorage] = {}

    def pack(self, value: Tensor) -> Tensor:
        """A hook of autograd."""
        storage = value.untyped_storage()
        base = value._base if value._base is not None else value
        if id(base) not in self.own and storage.data_ptr() not in self.others:
            # The storage itself is held, so that its place is not given to another.
            self.storages[storage._cdata] = storage
        return value

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(storage.nbytes() for storage in self.storages.values())


def _inputs(
    network: Network, stage: StageConfig, films: int, device: str
) -> tuple[Tensor, AttentionContext]:
    size, organs = stage.data.image_size, stage.anatomy.organs if stage.anatomy else ()
    context = AttentionContext(
        valid=torch.ones(films, 1, *size, dtype=torch.bool, device=device),
        anatomy=torch.rand(films, len(organs), *size, device=device) if organs else None,
        organs=organs,
        **(_no_boxes(films, device) if stage.task == "detect" else {}),
    )
    return torch.rand(films, network.in_channels, *size, device=device), context


def _outputs(
    network: Network, stage: StageConfig, image: Tensor, context: AttentionContext
) -> Iterator[Tensor]:
    """What the stage's losses start from."""
    if stage.task == "contrast":
        yield network.encode(image, stage.contrast.encoder, context).mean((2, 3))
        return
    outputs = network(image, stage.task, context)
    yield from outputs.get("attention_logits", {}).values()
    if stage.task == "detect":
        # Of no film: the matching of boxes is left out, the heads' graph is whole.
        yield outputs["losses"]["detection"].values
    for name in ("class_logits", "saliency_logits", "anatomy_logits"):
        if name in outputs:
            yield outputs[name]


def _no_boxes(films: int, device: str) -> dict[str, Any]:
    """Films whose list of boxes is not complete."""
    return {
        "boxes": [torch.zeros(0, 4, device=device)] * films,
        "box_labels": [torch.zeros(0, dtype=torch.int64, device=device)] * films,
        "boxes_known": torch.zeros(films, dtype=torch.bool),
    }


def _stage_line(
    config: RunConfig, stage: StageConfig, cost: StepCost, cohort: Cohort, speed: float
) -> str:
    films = {
        split: sum(cohort.rows_of(split, [name]).size for name in stage.data.cohorts)
        for split in (stage.data.train, stage.data.valid)
    }
    share = max(1, config.trainer.devices * config.trainer.nodes)
    steps = math.ceil(films[stage.data.train] / (stage.batch_size * share))
    checks = math.ceil(films[stage.data.valid] / stage.batch_size)
    work = steps * cost.operations + checks * cost.forward
    slow, quick = (work / (speed * efficiency) for efficiency in EFFICIENCY)
    return (
        f"stage {stage.name}: at least {_size(cost.memory(stage.optimiser.name))} of memory "
        f"({_size(cost.saved)} of it activations of {cost.films} films), "
        f"{cost.operations / 1e9:.3g} GFLOP a step, about {_duration(quick)} to {_duration(slow)} "
        f"an epoch here ({EFFICIENCY[0]:.0%} to {EFFICIENCY[1]:.0%} of {speed / 1e9:.0f} GFLOP/s; "
        "reading files comes on top)"
    )


def _disk_lines(config: RunConfig, cohort: Cohort, weights: int, folder: Path) -> list[str]:
    names = list(config.evaluate.cohorts or config.cohorts)
    scored = cohort.rows_of(config.evaluate.split, names).size
    stage = config.stage(config.evaluate.stage) if config.evaluate.stage else config.stages[-1]
    need = weights + scored * 4 * int(np.prod(stage.data.image_size))
    free = free_space(folder)
    line = f"disk: about {_size(need)} for the run, {_size(free)} free"
    if need > free:
        return [line, f"warning: {folder}: not enough space; choose another --out"]
    return [line]


def free_space(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _memory(device: str) -> tuple[int, str]:
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory, "the GPU"
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), "this machine"


def _bytes(values: list[nn.Parameter] | list[Tensor] | list[Tensor | nn.Parameter]) -> int:
    return sum(value.numel() * value.element_size() for value in values)


def _size(count: float) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

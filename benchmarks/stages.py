"""What computing frozen parts once is worth: wall time, all threads, files included.

The third stage of the full network: an epoch (training, validation, files) but the first, which
computes the vectors. And all stages of a medium network, against the gain that the counted
operations allow: there are two cuts, the first encoder under the saliency stage and the pooled
vectors under the fusion stage. The peer is the same run with ``trainer.computed_once: off``.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from experiments.config import RunConfig
from experiments.load import parse_config
from experiments.runner import run

from .table import Row, wall

FULL = {"kind": "dual_encoder"}
SMALL = {
    "kind": "dual_encoder",
    "backbone": "densenet121",
    "backbone_options": {"growth_rate": 16, "block_config": [2, 4, 4, 2]},
    "widths": [8, 16, 32, 64, 96],
}
# Large enough for arithmetic to outweigh what every epoch and every stage costs besides.
MEDIUM = SMALL | {
    "backbone_options": {"growth_rate": 32, "block_config": [2, 4, 4, 2]},
    "widths": [16, 32, 64, 128, 192],
}
SALIENCY = ["encoder_b.*", "decoder.*", "saliency_head.*"]
FILMS, SIDES, BATCH = 20, (320, 256), 4
MEDIUM_FILMS, MEDIUM_SIDES, EPOCHS = 70, (128, 128), 8
PEER = "computed in every step"


def rows() -> Iterator[Row]:
    yield fusion_row(FILMS, SIDES)
    yield schedule_row(MEDIUM_FILMS, EPOCHS)


def fusion_row(films: int, size: tuple[int, int], model: dict[str, Any] = FULL) -> Row:
    data = {"cohorts": "phantom", "image_size": list(size)}

    def epoch(mode: str, epochs: int) -> Callable[[], float]:
        stages = [stage("fuse", "fuse", ["fusion.*"], epochs, data=data, batch_size=BATCH)]
        settings = config(stages, model, films, mode)
        return lambda: statistics.median(seconds_of_epochs(settings))

    what = f"stage 3 of the full network, {films} films of {size[0]}x{size[1]}, an epoch"
    return Row(f"{what} after the first", epoch("auto", 4), PEER, epoch("off", 2),
               rounds=1, thrown=0)  # fmt: skip


def schedule_row(films: int, epochs: int) -> Row:
    data = {"cohorts": "phantom", "image_size": list(MEDIUM_SIDES)}
    encoder = {"encoder_a.": "encoder_a."}
    stages = [
        stage("contrast", "contrast", ["encoder_a.*"], 2, data=data),
        stage(
            "classify", "classify", ["encoder_a.*", "encoder_classifier.*"], 2, data=data,
            init=[{"stage": "contrast", "prefixes": encoder}],
        ),
        stage("saliency", "saliency", SALIENCY, epochs, data=data, init=[{"stage": "classify"}]),
        stage("fuse", "fuse", ["fusion.*"], epochs, data=data, init=[{"stage": "saliency"}]),
    ]  # fmt: skip
    auto, off = (config(stages, MEDIUM, films, mode) for mode in ("auto", "off"))
    # Counting comes first: it warms up, so that no round need be thrown away.
    allowed = counted(off) / counted(auto)
    side, times = MEDIUM_SIDES[0], f"2 + 2 + {epochs} + {epochs} epochs"
    what = f"staged schedule of a medium network, {films} films of {side}x{side}, {times}"
    return Row(what, wall(partial(whole, auto)), PEER, wall(partial(whole, off)),
               "the gain that operations allow", most=lambda: allowed,
               rounds=2, thrown=0)  # fmt: skip


def stage(name: str, task: str, train: list[str], epochs: int, **more: object) -> dict[str, Any]:
    losses = {"contrast": {"triplet": 1}, "saliency": {"kld": 1}}.get(task, {"bce": 1})
    monitor = {"metric": "valid/loss", "mode": "min"}
    kind = "pretrain" if task in {"contrast", "classify"} else "cooperative"
    return {
        "name": name, "kind": kind, "task": task, "train": train, "epochs": epochs,
        "losses": losses, "monitor": monitor, "batch_size": 16, "model": "network", **more,
    }  # fmt: skip


def config(stages: list[dict[str, Any]], model: dict[str, Any], films: int, mode: str) -> RunConfig:
    fractions = {"train": 0.7, "valid": 0.2, "test": 0.1}
    phantom = {"kind": "phantom", "n_patients": films, "height": 80, "width": 64}
    tree = {
        "name": "bench",
        "cohorts": {"phantom": phantom | {"fractions": fractions}},
        "models": {"network": model},
        "stages": stages,
        "trainer": {"device": "cpu", "computed_once": mode},
    }
    return parse_config(tree, Path("bench.yaml"))


def seconds_of_epochs(settings: RunConfig) -> list[float]:
    """From the end of each epoch to the end of the next."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run(settings, Path(folder) / "run", say=lambda _: ends.append(time.perf_counter()))
    return [after - before for before, after in pairwise(ends)]


def whole(settings: RunConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(settings, Path(folder) / "run", say=lambda _: None)


def counted(settings: RunConfig) -> int:
    """Operations of a run."""
    with FlopCounterMode(display=False) as counter:
        whole(settings)
    return int(counter.get_total_flops())

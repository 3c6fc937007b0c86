"""What computing frozen parts once is worth, and all triplets at once: CPU time, one thread.

    python -m benchmarks.stages [fusion] [schedule] [triplets] [--films N] [--runs N] [--size H W]

``fusion``: an epoch (training, validation, files) of the third stage of the full-size network, the
first one left out, which computes the vectors. ``schedule``: all stages of a small network, against
the gain that the counted operations allow; a stage's saving comes from two cuts, the first encoder
under the saliency stage and the pooled vectors under the fusion stage. ``triplets``: value and
gradient, against torch's triplet loss called for one triplet after the other.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from experiments.config import RunConfig
from experiments.load import parse_config
from experiments.runner import run
from pretrain.losses import label_pairs, triplet_loss

FULL = {"kind": "dual_encoder"}
SMALL = {
    "kind": "dual_encoder",
    "backbone": "densenet121",
    "backbone_options": {"growth_rate": 16, "block_config": [2, 4, 4, 2]},
    "widths": [8, 16, 32, 64, 96],
}
SALIENCY = ["encoder_b.*", "decoder.*", "saliency_head.*"]
RUNS = 3


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
    """CPU seconds from the end of each epoch to the end of the next."""
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        run(settings, Path(folder) / "run", say=lambda _: ends.append(time.process_time()))
    return [after - before for before, after in pairwise(ends)]


def fusion(films: int, size: tuple[int, int]) -> None:
    data = {"cohorts": "phantom", "image_size": list(size)}
    found = {}
    for mode, epochs in (("auto", 4), ("off", 2)):
        stages = [stage("fuse", "fuse", ["fusion.*"], epochs, data=data)]
        found[mode] = statistics.median(seconds_of_epochs(config(stages, FULL, films, mode)))
    print(
        f"| stage 3 of the full network, {films} films of {size[0]}x{size[1]}, an epoch after the "
        f"first | {found['auto']:.3f} s | computed in every step | {found['off']:.2f} s | "
        f"{found['off'] / found['auto']:.0f} times |",
        flush=True,
    )


def schedule(films: int, runs: int) -> None:
    data = {"cohorts": "phantom", "image_size": [96, 96]}
    encoder = {"encoder_a.": "encoder_a."}
    stages = [
        stage("contrast", "contrast", ["encoder_a.*"], 2, data=data),
        stage(
            "classify", "classify", ["encoder_a.*", "encoder_classifier.*"], 2, data=data,
            init=[{"stage": "contrast", "prefixes": encoder}],
        ),
        stage("saliency", "saliency", SALIENCY, 8, data=data, init=[{"stage": "classify"}]),
        stage("fuse", "fuse", ["fusion.*"], 8, data=data, init=[{"stage": "saliency"}]),
    ]  # fmt: skip
    settings = {mode: config(stages, SMALL, films, mode) for mode in ("auto", "off")}
    flops = {mode: counted(one) for mode, one in settings.items()}
    times: dict[str, list[float]] = {"auto": [], "off": []}
    for _ in range(runs):
        for mode, one in settings.items():
            times[mode].append(measured(lambda one=one: whole(one)))  # type: ignore[misc]
    mine, other = (statistics.median(times[mode]) for mode in ("auto", "off"))
    limit, gain = flops["off"] / flops["auto"], other / mine
    print(
        f"| a staged schedule, {films} films of 96x96 | {mine:.1f} s | computed in every step | "
        f"{other:.1f} s | {gain:.2f} times; operations allow {limit:.2f} "
        f"({flops['off'] / 1e9:.0f} / {flops['auto'] / 1e9:.0f} GFLOP); share {gain / limit:.2f} |",
        flush=True,
    )


def whole(settings: RunConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run(settings, Path(folder) / "run", say=lambda _: None)


def counted(settings: RunConfig) -> int:
    with FlopCounterMode(display=False) as counter:
        whole(settings)
    return int(counter.get_total_flops())


def measured(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def triplets(size: int, anchors: int) -> None:
    """The loop over some anchors stands for all, in proportion."""
    torch.manual_seed(0)
    embeddings = torch.randn(size, 64, requires_grad=True)
    alike, unlike = label_pairs(F.one_hot(torch.arange(size) % 3, 3).float())

    def ours() -> None:
        triplet_loss(embeddings, alike, unlike).sum().backward()  # type: ignore[no-untyped-call]

    def loop() -> None:
        total: Tensor = embeddings.new_zeros(())
        for a in range(anchors):
            for p in range(size):
                for n in range(size):
                    if alike[a, p] and unlike[a, n]:
                        one, like, other = embeddings[a], embeddings[p], embeddings[n]
                        total = total + F.triplet_margin_loss(one, like, other)
        total.backward()  # type: ignore[no-untyped-call]

    ours()
    pairs = [(min(measured(ours) for _ in range(20)), measured(loop)) for _ in range(RUNS)]
    mine = min(pair[0] for pair in pairs)
    other = min(pair[1] for pair in pairs) * size / anchors
    print(
        f"| all triplets of {size} | {mine * 1e3:.2f} ms | a triple loop"
        f"{'' if anchors == size else f', over {anchors} anchors'} | {other * 1e3:.0f} ms | "
        f"{other / mine:.0f} times |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", default=["triplets", "schedule", "fusion"])
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--runs", type=int, default=RUNS, help="of the schedule, each way")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 512], metavar=("H", "W"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| what | gazedx | peer | peer | gain |\n| --- | --- | --- | --- | --- |")
    if "triplets" in options.what:
        triplets(32, 32)
        triplets(128, 2)
    if "schedule" in options.what:
        schedule(options.films, options.runs)
    if "fusion" in options.what:
        fusion(options.films, tuple(options.size))


if __name__ == "__main__":
    main()

"""`make bench`: what gazedx does against an obvious way of doing it, interleaved in one run."""

import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from pretrain.losses import pairwise_distance, triplet_loss
from pretrain.positives import label_pairs
from saliency.metrics import fixation_auc

Row = tuple[str, str, Callable[[], object], Callable[[], object]]


def triplet_row() -> Row:
    torch.manual_seed(0)
    embeddings = torch.randn(32, 64)
    alike, unlike = label_pairs(torch.nn.functional.one_hot(torch.arange(32) % 3, 3).float())

    def loop() -> object:
        distance, values = pairwise_distance(embeddings), []
        for a in range(32):
            for p in range(32):
                for n in range(32):
                    if alike[a, p] and unlike[a, n]:
                        values.append(torch.relu(distance[a, p] - distance[a, n] + 1))
        return torch.stack(values).sum()

    return (
        "all triplets of 32",
        "a triple loop",
        lambda: triplet_loss(embeddings, alike, unlike),
        loop,
    )


def auc_row() -> Row:
    rng = np.random.default_rng(0)
    prediction = rng.random((480, 640))
    fixations = np.zeros((480, 640))
    fixations.ravel()[rng.choice(fixations.size, 60, replace=False)] = 1
    maps = torch.from_numpy(prediction)[None, None], torch.from_numpy(fixations)[None, None]

    def sklearn() -> object:
        positive = prediction[fixations > 0]
        scores = np.concatenate([positive, prediction.ravel()])
        labels = np.concatenate([np.ones(len(positive)), np.zeros(prediction.size)])
        return roc_auc_score(labels, scores)

    return "exact fixation AUC, 480x640", "scikit-learn", lambda: fixation_auc(*maps, None), sklearn


def measure(run: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def main() -> None:
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, one thread, CPU time, median of 5\n")
    print("| what | gazedx, ms | peer | peer, ms | times faster |\n| --- | --- | --- | --- | --- |")
    for what, peer, ours, theirs in (triplet_row(), auc_row()):
        ours(), theirs()
        pairs = [(measure(ours), measure(theirs)) for _ in range(5)]
        mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"| {what} | {mine * 1e3:.2f} | {peer} | {other * 1e3:.1f} | {other / mine:.0f} |")


if __name__ == "__main__":
    main()

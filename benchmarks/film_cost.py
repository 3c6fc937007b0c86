"""What one film of full size costs: the numbers that ``docs/scaling.md`` multiplies.

    python -m benchmarks.film_cost

CPU time on one thread, the least of several times: of preparing a film of 2500x3056 (read, shrink,
hash, write), and of a sample of it in training (read from the store, fit to 224x224, augment,
render gaze). Bytes of the store are exact. The network is the full-size dual encoder.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diagnosis.dual_encoder import DualEncoderUNet
from eye_gaze_data.cohort import Cohort, merge
from eye_gaze_data.config import AugmentConfig
from eye_gaze_data.csv_config import CsvConfig, GazeCsv, ImagesCsv
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.store.cohort import prepared_cohort
from eye_gaze_data.store.config import PreparedConfig, StoreConfig
from eye_gaze_data.store.prepare import prepare
from eye_gaze_data.tabular import csv_cohort

WIDTH, HEIGHT, FILMS, POINTS, INPUT = 2500, 3056, 6, 50, 224
MIMIC = 377_110
AUGMENT = AugmentConfig(degrees=5, shift=0.05, scale=(0.95, 1.05), brightness=0.1, contrast=0.1)


def write_films(root: Path, suffix: str) -> Cohort:
    """Smooth films with the noise of a detector, as a cohort."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = 120 + 80 * np.sin(across / 400) * np.cos(down / 500)
    names = [f"{number}{suffix}" for number in range(FILMS)]
    for name in names:
        film = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(film).save(root / name, quality=95)
    pd.DataFrame({"image": names}).to_csv(root / "images.csv", index=False)
    points = pd.DataFrame({"image": np.repeat(names, POINTS)})
    points["x"], points["y"] = (
        rng.uniform(0, WIDTH, len(points)),
        rng.uniform(0, HEIGHT, len(points)),
    )
    points.to_csv(root / "gaze.csv", index=False)
    tables = ImagesCsv(csv=root / "images.csv"), GazeCsv(csv=root / "gaze.csv")
    return csv_cohort(CsvConfig(images=tables[0], gaze=tables[1]), "films")


def least(run: Callable[[], object], times: int) -> float:
    """CPU milliseconds of the quickest call."""
    found = []
    for _ in range(times):
        begun = time.process_time()
        run()
        found.append(time.process_time() - begun)
    return 1e3 * min(found)


def film_rows(suffix: str, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        cohort = write_films(root, suffix)
        turns = iter(range(100))

        def store() -> None:
            prepare(cohort, root / f"ready{next(turns)}", StoreConfig(size=size))

        spent = least(store, 3) / FILMS
        ready = prepared_cohort(PreparedConfig(root=root / "ready0"), "films")
        height, width = ready.film_size(0)
        print(f"prepare {suffix[1:]} to {size}: {spent:.0f} ms a film, {height} x {width} = "
              f"{height * width:,} bytes, {MIMIC:,} films {MIMIC * height * width / 1e9:.1f} GB, "
              f"{MIMIC * spent / 3.6e6:.1f} core-hours")  # fmt: skip
        merged = merge([ready])
        for views in ((None,), (AUGMENT,)):
            dataset = GazeDataset(merged, (INPUT, INPUT), views=views)
            sample = least(lambda d=dataset: [d[0, row] for row in range(FILMS)], 5) / FILMS  # type: ignore[misc]
            how = "augmented" if views[0] else "as it is"
            print(f"sample of {INPUT} from a store of {size}, {how}: {sample:.1f} ms")


def main() -> None:
    for suffix, size in ((".png", 512), (".png", 224), (".jpg", 512)):
        film_rows(suffix, size)
    count = sum(one.numel() for one in DualEncoderUNet(14).parameters() if one.requires_grad)
    print(f"dual encoder, 14 classes: {count:,} parameters, {4 * count / 1e6:.1f} MB of gradients")
    for n in (2, 8, 16, 32):
        print(f"ring all-reduce of {n} processes: {2 * (n - 1) / n * 4 * count / 1e6:.0f} MB "
              "sent by each a step")  # fmt: skip


if __name__ == "__main__":
    main()

"""One reading's density against the full-resolution blur it replaces, by OpenCV and by scipy.

OpenCV is no dependency: ``make bench`` gives it an environment of its own.
All make the paper's map of a film of 3056x2544: counts, a Gaussian of 501 taps with reflect-101
borders, every fifth pixel of the film padded to 3200x2560, divided by the sum.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .table import Row

FILM, GRID, STEP, PAD, TAPS = (3056, 2544), (640, 512), 5, (72, 8), 501
SAMPLES = 1800  # half a minute at 60 Hz
PEERS = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"

Map = Any  # an array; numpy is all that the other environment has


def readings() -> dict[str, tuple[Map, Map]]:
    """Whole pixels (x, y) of a reading over the film, and of one along its borders."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, FILM[1], SAMPLES), rng.integers(0, FILM[0], SAMPLES)
    near = rng.integers(0, 120, SAMPLES)
    sides = rng.integers(0, 4, SAMPLES)
    border_x = np.choose(sides, [near, FILM[1] - 1 - near, x, x])
    border_y = np.choose(sides, [y, y, near, FILM[0] - 1 - near])
    return {"over the film": (x, y), "along the borders": (border_x, border_y)}


def by_opencv(x: Map, y: Map) -> Map:
    import cv2

    cv2.setNumThreads(1)
    return strided(cv2.GaussianBlur(counts(x, y), (TAPS, TAPS), 0))


def by_scipy(x: Map, y: Map) -> Map:
    from scipy.ndimage import gaussian_filter

    sigma = 0.3 * ((TAPS - 1) * 0.5 - 1) + 0.8
    return strided(gaussian_filter(counts(x, y), sigma, mode="mirror", radius=TAPS // 2))


def counts(x: Map, y: Map) -> Map:
    found = np.zeros(FILM, np.float32)
    np.add.at(found, (y, x), 1)
    return found


def strided(blurred: Map) -> Map:
    padded = np.pad(blurred, [(side, side) for side in PAD])
    return padded[::STEP, ::STEP] / padded[::STEP, ::STEP].sum(dtype=np.float64)


def measured(run: Callable[[], Map]) -> tuple[float, Map]:
    """CPU seconds of one call, and the map."""
    begun = time.process_time()
    result = run()
    return time.process_time() - begun, result


def elsewhere(python: str, x: Map, y: Map) -> tuple[float, Map]:
    """OpenCV measured by another Python, which runs this file."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "points.npz", Path(folder) / "map.npz"
        np.savez(given, x=x, y=y)
        command = [python, __file__, str(given), str(made)]
        subprocess.run(command, check=True)  # noqa: S603 - the user names the Python
        with np.load(made) as found:
            return float(found["seconds"]), found["density"]


def ours(x: Map, y: Map) -> Map:
    from eye_gaze_data.config import PRESETS
    from eye_gaze_data.density import gaze_density
    from eye_gaze_data.gaze import Gaze

    # Pixel (i, j) of the map is row 5 i - 72, column 5 j - 8 of the film: centres onto centres.
    shift = [(pad + 0.5 * (STEP - 1)) / STEP for pad in PAD]
    frame = np.array([[1 / STEP, 0, shift[1]], [0, 1 / STEP, shift[0]]])
    rows, columns = (STEP * np.arange(n) - pad for n, pad in zip(GRID, PAD, strict=True))
    on_film = [(at >= 0) & (at < side) for at, side in zip((rows, columns), FILM, strict=True)]
    unknown = np.full(len(x), np.nan)
    gaze = Gaze(x + 0.5, y + 0.5, unknown, unknown, np.full(len(x), "a", object))
    valid = np.logical_and.outer(*on_film)
    return gaze_density(gaze, PRESETS["paper"], frame, FILM, valid, np.nan, "film")


def rows() -> "Iterator[Row]":
    from .table import Row, cpu

    peers: dict[str, Callable[[Map, Map], tuple[float, Map]]] = {}
    if _has_opencv():
        peers["OpenCV's blur at full size"] = lambda x, y: measured(lambda: by_opencv(x, y))
    elif PEERS.is_file():
        peers["OpenCV's blur at full size"] = lambda x, y: elsewhere(str(PEERS), x, y)
    peers["scipy's blur at full size"] = lambda x, y: measured(lambda: by_scipy(x, y))
    for name, (x, y) in readings().items():
        density = ours(x, y)
        for peer, blur in peers.items():
            assert np.abs(density - blur(x, y)[1]).sum() < 1e-5
            what = f"density of one reading {name}, {FILM[1]}x{FILM[0]}, {SAMPLES} samples"
            yield Row(what, cpu(partial(ours, x, y)), peer,
                      partial(_seconds_of, blur, x, y), rounds=3)  # fmt: skip


def _seconds_of(blur: Callable[[Map, Map], tuple[float, Map]], x: Map, y: Map) -> float:
    return blur(x, y)[0]


def _has_opencv() -> bool:
    from importlib.util import find_spec

    return find_spec("cv2") is not None


if __name__ == "__main__":
    # The other environment runs this file: it has numpy and OpenCV, and not gazedx.
    with np.load(sys.argv[1]) as points:
        by_opencv(points["x"], points["y"])
        seconds, density = measured(lambda: by_opencv(points["x"], points["y"]))
    np.savez(sys.argv[2], seconds=seconds, density=density)

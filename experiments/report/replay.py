"""Scanpaths as the viewer replays them: by reader, in the order of time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Raw samples run into thousands a reader; fixations stay far below this.
MOST_POINTS = 400


def replays(
    gaze: NDArray[np.float64], reader: NDArray[np.int64], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The gaze of a case as plain values, one entry a reader.

    Args:
        gaze: (n, 4): x, y in the film's pixels, start and duration in seconds; times may be NaN.
        reader: (n,) positions in ``names``.
        names: the readers' names.

    Returns:
        For each reader its name; ``points`` of x, y, start since the first one's, and duration,
        None where unknown; ``timed``: whether all starts are known, else the rows keep their
        order; ``every``: one in so many points is kept.
    """
    placed = np.isfinite(gaze[:, :2]).all(axis=1)
    gaze, reader = gaze[placed], reader[placed]
    found = []
    for position in np.unique(reader).tolist():
        name = names[position] if 0 <= position < len(names) else f"reader {position}"
        own = gaze[reader == position]
        timed = bool(np.isfinite(own[:, 2]).all())
        if timed:
            own = own[np.argsort(own[:, 2], kind="stable")]
            own = own - np.array([0.0, 0.0, own[0, 2], 0.0])
        every = -(-len(own) // MOST_POINTS)
        points = [[_plain(value) for value in point] for point in own[::every].tolist()]
        found.append({"reader": name, "points": points, "timed": timed, "every": every})
    return found


def _plain(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None

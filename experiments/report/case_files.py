"""Reading the stored cases of a run: arrays of one image, checked before anything is drawn."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eye_gaze_data.errors import DataError

from .formatting import number

Arrays = dict[str, NDArray[np.generic]]
Density = NDArray[np.float64]


def load_case(path: Path) -> Arrays:
    """The arrays of a case.

    Raises:
        DataError: the file cannot be read, or its arrays do not belong together.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error}); evaluate the run again") from None
    film = arrays.get("film", np.empty(0))
    _require(
        film.ndim == 2 and film.size > 0 and film.dtype == np.uint8, path, "a uint8 film (h, w)"
    )
    pairs = [("gaze", "reader"), ("boxes", "box_labels")]
    pairs += [("predicted_boxes", f"predicted_{name}") for name in ("labels", "scores")]
    for first, second in pairs:
        if first in arrays and second in arrays:
            equal = len(arrays[first]) == len(arrays[second])
            _require(equal, path, f"one row of {second} for each of {first}")
    return arrays


def density_of(arrays: Arrays, name: str, path: Path) -> Density | None:
    """A density (h, w) of a case; None when it has none.

    Raises:
        DataError: it is not of the film's size.
    """
    if name not in arrays:
        return None
    density = np.asarray(arrays[name], dtype=np.float64)
    shape = arrays["film"].shape
    _require(density.shape == shape, path, f"{name} {shape} as the film, not {density.shape}")
    # All NaN is how a batch says that there was no gaze.
    return density if np.isfinite(density).any() else None


def peak_of(density: Density | None) -> float:
    """The highest value, 0 without a density."""
    return 0.0 if density is None else float(density[np.isfinite(density)].max())


def shared_top(*peaks: float) -> float:
    """The end of a colour scale that some densities share."""
    # The smallest number in place of an empty map's zero keeps the division defined.
    return max(*peaks, float(np.finfo(np.float32).tiny))


def film_pixels(arrays: Arrays) -> int:
    """Pixels of film: a uniform density is one over them."""
    return int(np.count_nonzero(arrays.get("valid", np.ones(arrays["film"].shape, bool))))


def gaze_of(arrays: Arrays) -> tuple[NDArray[np.float64], NDArray[np.int64], list[str]]:
    """Gaze (n, 4) of x, y, start and duration; (n,) positions among the readers; their names."""
    gaze = np.asarray(arrays.get("gaze", np.empty((0, 4))), dtype=np.float64).reshape(-1, 4)
    reader = np.asarray(arrays.get("reader", np.zeros(len(gaze))), dtype=np.int64)
    names = [str(name) for name in arrays.get("readers", np.empty(0, dtype=str)).tolist()]
    return gaze, reader, names


def boxes_of(arrays: Arrays) -> tuple[NDArray[np.float64], list[str]]:
    """Corners (m, 4) of boxes and their labels."""
    corners = np.asarray(arrays.get("boxes", np.empty((0, 4))), dtype=np.float64).reshape(-1, 4)
    labels = arrays.get("box_labels", np.full(len(corners), "")).tolist()
    return corners, [str(label) for label in labels]


def predicted_boxes_of(arrays: Arrays) -> tuple[NDArray[np.float64], list[str]]:
    """Corners (n, 4) and names with scores, the best last, so that it is drawn on top."""
    corners = np.asarray(arrays.get("predicted_boxes", np.empty((0, 4))), dtype=np.float64)
    labels = arrays.get("predicted_labels", np.empty(0, dtype=str)).tolist()
    scores = np.asarray(arrays.get("predicted_scores", np.empty(0)), dtype=np.float64).tolist()
    named = [f"{label} {number(score, 2)}" for label, score in zip(labels, scores, strict=True)]
    return corners.reshape(-1, 4)[::-1], named[::-1]


def _require(met: bool, path: Path, expected: str) -> None:
    if not met:
        raise DataError(f"{path}: expected {expected}; evaluate the run again")

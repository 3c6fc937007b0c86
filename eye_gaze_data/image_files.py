"""Films and organ masks that stand in files, read by row when asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .cohort import Pixels
from .errors import DataError
from .images import read_image, read_mask


class FileImages:
    """Reads pixels from files, by row.

    Args:
        paths: file of each row.
        read: how; ``dicom.read_legacy`` reads DICOM files as the paper's code does.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], Pixels] = read_image) -> None:
        self.paths, self.read = list(paths), read

    def __call__(self, row: int) -> Pixels:
        """float32 (H, W) in [0, 1]."""
        return self.read(self.paths[row])


class ArrayImages:
    """Films of one size that stand in one array, by row.

    Args:
        films: uint8 or uint16 (N, H, W).
        places: which film each row shows.
    """

    def __init__(self, films: npt.NDArray[np.unsignedinteger], places: Sequence[int]) -> None:
        self.films, self.places = films, list(places)

    def __call__(self, row: int) -> Pixels:
        """float32 (H, W) in [0, 1]."""
        film = self.films[self.places[row]]
        return np.asarray(film, np.float32) / np.float32(np.iinfo(self.films.dtype).max)


def read_archive(path: Path) -> npt.NDArray[np.unsignedinteger]:
    """The films of a NumPy archive.

    Returns:
        uint8 or uint16 (N, H, W).

    Raises:
        DataError: if the file is missing, damaged, or holds anything but one such array.
    """
    if not path.is_file():
        raise DataError(f"{path}: the file does not exist")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy and zipfile raise whatever a broken file provokes
        raise DataError(f"{path}: expected an .npz archive, cannot read it ({error})") from error
    found = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    films = next(iter(arrays.values())) if len(arrays) == 1 else None
    if films is None or films.ndim != 3 or films.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: expected one array (N, H, W) of uint8 or uint16, found {found}")
    return np.asarray(films)


class FileMasks:
    """Reads organ masks from files, by row; NaN planes where there is no file."""

    def __init__(
        self, paths: dict[tuple[int, int], Path], sizes: Sequence[tuple[int, int]], n_organs: int
    ) -> None:
        self.paths, self.sizes, self.n_organs = paths, list(sizes), n_organs

    def files(self, row: int) -> list[Path]:
        """Those of the organs of a row, in order."""
        places = ((row, organ) for organ in range(self.n_organs))
        return [self.paths[place] for place in places if place in self.paths]

    def __call__(self, row: int) -> Pixels:
        """float32 (M, H, W)."""
        masks = np.full((self.n_organs, *self.sizes[row]), np.nan, np.float32)
        for organ in range(self.n_organs):
            if (row, organ) in self.paths:
                masks[organ] = read_mask(self.paths[row, organ], self.sizes[row])
        return masks

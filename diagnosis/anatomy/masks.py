"""Masks that a segmenter gave: one film to 8 bits, and a folder of them keyed by the model."""

import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from eye_gaze_data.cohort import Pixels
from eye_gaze_data.errors import DataError
from eye_gaze_data.files import read_json, remove_leftovers, write_atomic, write_json
from eye_gaze_data.geometry import (
    Fit,
    compose,
    fit_frame,
    invert,
    valid_pixels,
    warp_pixels,
)
from saliency.network import Network

from .segmenter import OrganMasks

Levels = npt.NDArray[np.uint8]
KEY = "key.json"
# Films a file: 64 films of 512x512 with three organs are 50 MB before they are compressed.
SHARD = 64


class FilmSegmenter:
    """A segmenter as a function from a film to its masks, the same alone and in a cohort.

    Args:
        network: with its weights, in evaluation mode.
        size: (height, width) of its grid.
        fit: how a film is brought onto the grid; all of it must be shown.
    """

    def __init__(self, network: Network, size: tuple[int, int], fit: Fit = "pad") -> None:
        self.masks, self.size, self.fit = OrganMasks(network), size, fit

    def __call__(self, pixels: Pixels) -> Levels:
        """uint8 (M, h, w): 255 times the probability, over the whole film at the grid's scale.

        Args:
            pixels: float32 (H, W) in [0, 1], any size.
        """
        original = (int(pixels.shape[0]), int(pixels.shape[1]))
        frame = fit_frame(original, self.size, self.fit)
        valid = valid_pixels(original, frame, self.size)
        image = warp_pixels(torch.from_numpy(pixels)[None], frame, self.size)
        image = (image * valid).clamp(0, 1)[None]
        device = next(self.masks.parameters()).device
        # One film at a time: the last digits of a prediction depend on its neighbours.
        with torch.inference_mode():
            found = self.masks(image.to(device))[0].float().cpu()
        covers = tuple(
            max(1, round(side * scale))
            for side, scale in zip(original, (frame[1, 1], frame[0, 0]), strict=True)
        )
        small = (covers[0], covers[1])
        step = compose(fit_frame(original, small, "stretch"), invert(frame))
        # What the network says of padding has no part in the film's edge.
        stacked = torch.cat([found * valid, valid.to(found)])
        *mass, weight = warp_pixels(stacked, step, small, outside="edge")
        film = torch.stack(mass) / weight.clamp_min(1e-6)
        return np.asarray((film * 255).round().clamp(0, 255).to(torch.uint8).numpy())


def as_masks(levels: Levels) -> Pixels:
    """Stored levels as masks float32 (M, h, w) in [0, 1]."""
    return np.asarray(levels.astype(np.float32) / np.float32(255))


class MaskFolder:
    """Masks of a cohort's films by row, in files of ``SHARD`` films each.

    ``key.json`` says of which weights and data they are; a folder of others is replaced.

    Args:
        folder: of the masks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ensure(
        self,
        key: Mapping[str, object],
        n_films: int,
        segment: Callable[[int], Levels],
        step: Callable[[], None] = lambda: None,
    ) -> int:
        """Write what is not there yet; one file's films are in memory at a time.

        Args:
            key: of the weights and the data; plain values.
            n_films: rows of the cohort.
            segment: gives the masks of a row.
            step: called after each film that was segmented.

        Returns:
            films that were segmented.
        """
        remove_leftovers(self.folder)
        path = self.folder / KEY
        if not path.is_file() or read_json(path) != key:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_json(path, key)
        written = 0
        for start in range(0, n_films, SHARD):
            rows = range(start, min(start + SHARD, n_films))
            if self._path(start).is_file():
                continue
            found = {}
            for row in rows:
                found[str(row)] = segment(row)
                step()
            write_atomic(self._path(start), partial(_save, found))
            written += len(rows)
        return written

    def of(self, row: int) -> Levels:
        """The masks uint8 (M, h, w) of a row.

        Raises:
            DataError: if they are not there or cannot be read.
        """
        path = self._path(row)
        try:
            # Opened anew each time: loader processes must not share a place in a file.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return np.asarray(arrays[str(row)])
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{path}: expected the masks of row {row}, cannot read them ({error}); delete "
                f"{self.folder} and run again"
            ) from error

    def _path(self, row: int) -> Path:
        return self.folder / f"{row // SHARD:05d}.npz"


def _save(found: Mapping[str, Levels], file: BinaryIO) -> None:
    np.savez_compressed(file, **found)  # type: ignore[arg-type] # rows are no names of options


class SegmentedAnatomy:
    """An ``AnatomySource`` of a segmenter: its stored masks for a cohort, itself for other films.

    Args:
        organs: names of the planes, in order.
        segmented: names of the segmenter's planes.
        stored: masks of the cohort's films; None where there is no cohort.
        load: gives the segmenter when it is first needed: loader processes never need it.
    """

    def __init__(
        self,
        organs: Sequence[str],
        segmented: Sequence[str],
        stored: MaskFolder | None,
        load: Callable[[], FilmSegmenter],
    ) -> None:
        self.organs, self.stored = tuple(organs), stored
        self._planes = [list(segmented).index(name) for name in organs]
        self._load = load
        self._segmenter: FilmSegmenter | None = None

    @property
    def segmenter(self) -> FilmSegmenter:
        """The segmenter; ``segmenter.masks`` is a module, for export."""
        if self._segmenter is None:
            self._segmenter = self._load()
        return self._segmenter

    def __call__(self, row: int, size: tuple[int, int]) -> Pixels:
        """See ``AnatomySource``; at the segmenter's scale, whatever the film's.

        Raises:
            DataError: if there is no cohort.
        """
        del size
        if self.stored is None:
            raise DataError(f"a shared model has no cohort, asked for row {row}; use 'of_film'")
        return as_masks(self.stored.of(row)[self._planes])

    def of_film(self, pixels: Pixels) -> Pixels:
        """See ``AnatomySource``."""
        return as_masks(self.segmenter(pixels)[self._planes])

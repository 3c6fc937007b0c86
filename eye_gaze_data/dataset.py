"""From a row of a cohort to a sample: pixels, valid, gaze, labels, masks and boxes on one grid.

All randomness of a sample is a function of (seed, epoch, index, view), so results do not depend on
the number of workers, on what was drawn before, or on a restart.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as tv

from .anatomy import AnatomySource
from .batch import Sample
from .cohort import Cohort
from .config import AugmentConfig, GazeConfig
from .density import Map, count_fixations, gaze_density
from .errors import DataError
from .fitted import FittedFilms
from .gaze import Gaze
from .geometry import (
    Augmentation,
    Fit,
    Frame,
    augment_frame,
    compose,
    film_frame,
    fit_frame,
    map_boxes,
    valid_pixels,
    warp_pixels,
)

Key = tuple[int, ...]
Mask = npt.NDArray[np.bool_]


class GazeDataset(Dataset[list[Sample]]):
    """Samples of a cohort by ``(epoch, row)`` or ``(epoch, row, repeat)``.

    ``repeat`` counts how often an epoch has drawn the row before, so that an image that a weighted
    mix draws again is augmented anew.

    Args:
        cohort: the run's merged cohort.
        size: (height, width) of the network grid.
        seed: of the run.
        fit: how a film is brought onto the grid.
        stride: of the fit ``strided``.
        gaze: recipe and readers.
        classes: label columns, in order; all of the cohort if None.
        anatomy: where organ masks come from; None for none.
        views: the augmentation of each view that a row gives; None for the film as it is.
        maps: false if nobody reads the gaze of these samples: it is left unknown and not drawn.
        films: keeps films that were read, for this data set and others; None reads them each time.
    """

    def __init__(
        self,
        cohort: Cohort,
        size: tuple[int, int],
        seed: int = 0,
        *,
        fit: Fit = "pad",
        stride: int = 1,
        gaze: GazeConfig | None = None,
        classes: Sequence[str] | None = None,
        anatomy: AnatomySource | None = None,
        views: Sequence[AugmentConfig | None] = (None,),
        maps: bool = True,
        films: FittedFilms | None = None,
    ) -> None:
        self.cohort, self.size, self.seed = cohort, size, seed
        self.fit, self.stride = fit, stride
        self.gaze, self.anatomy, self.views = gaze or GazeConfig(), anatomy, tuple(views)
        self.recipe, self.maps = self.gaze.resolved(), maps
        names = list(cohort.pathologies if classes is None else classes)
        columns = [cohort.pathologies.index(name) for name in names]
        self._labels = torch.from_numpy(cohort.labels[:, columns])
        self._class_of = np.full(len(cohort.pathologies) + 1, -1, np.int64)
        self._class_of[columns] = np.arange(len(columns))
        self.films, self._grid = films, (size, fit, stride)

    def __len__(self) -> int:
        return len(self.cohort)

    def __getitem__(self, key: Key) -> list[Sample]:
        epoch, row, *repeat = key
        seeds = (self.seed, epoch, row, *repeat)
        return [self._sample(row, seeds, view) for view in range(len(self.views))]

    def _sample(self, row: int, seeds: Sequence[int], view: int) -> Sample:
        rng = np.random.default_rng([*seeds, view])
        augment = self.views[view]
        original = self.cohort.size_of(row)
        fitted = fit_frame(original, self.size, self.fit, self.stride)
        moved = np.eye(2, 3)
        if augment is not None:
            moved = augment_frame(self.size, _draw(augment, rng))
        frame = compose(moved, fitted)
        valid = valid_pixels(original, frame, self.size)
        image = warp_pixels(self._pixels(row, fitted), moved, self.size)
        if augment is not None:
            # The fitted pixels were moved: what a crop had cut off does not come back.
            valid &= valid_pixels(self.size, moved, self.size)
            image = _photometric(image, valid, augment, rng)
        saliency, fixations = self._gaze_maps(row, frame, valid[0].numpy(), rng)
        boxes, box_labels, known = self._boxes(row, frame)
        image_ids, patient_ids = self.cohort.ids
        return {
            "image": (image * valid).clamp(0, 1),
            "valid": valid,
            "frame": torch.from_numpy(frame).float(),
            "saliency": saliency,
            "fixations": fixations,
            "labels": self._labels[row],
            "anatomy": self._anatomy(row, frame),
            "boxes": boxes,
            "box_labels": box_labels,
            "boxes_known": known,
            "index": torch.tensor(row),
            "view": torch.tensor(view),
            "image_id": image_ids[row],
            "patient_id": patient_ids[row],
        }

    def _pixels(self, row: int, fitted: Frame) -> Tensor:
        """Pixels on the grid before augmentation."""
        kept = None if self.films is None else self.films.get(self._grid, row)
        if kept is not None:
            return kept
        pixels = self._read(row, fitted)
        if self.films is not None:
            self.films.keep(self._grid, row, pixels)
        return pixels

    def _read(self, row: int, fitted: Frame) -> Tensor:
        """A film on the grid; its edge is drawn out, so that augmentation darkens no padding."""
        film, size = self.cohort.images(row), self.cohort.film_size(row)
        if film.shape != size:
            name = self.cohort.ids[0][row]
            raise DataError(
                f"image '{name}': the table says {size} pixels (height, width), the reader "
                f"gave {film.shape}; gaze, masks and boxes would be misplaced"
            )
        frame = film_frame(fitted, self.cohort.size_of(row), size)
        # The released code takes single pixels.
        mode = "nearest" if self.fit == "strided" else "bilinear"
        pixels = torch.from_numpy(film)[None]
        return warp_pixels(pixels, frame, self.size, mode=mode, outside="edge")

    def _gaze_maps(
        self, row: int, frame: Frame, valid: Mask, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        gaze = None
        if self.maps and self.cohort.gaze is not None:
            gaze = self.cohort.gaze.of(row).within(self.cohort.size_of(row))
        density = None
        if gaze is not None and len(gaze):
            if self.gaze.readers == "sample":
                readers = gaze.readers
                gaze = gaze.of_reader(readers[int(rng.integers(len(readers)))])
            density = self.density(row, gaze, frame, valid)
        if gaze is None or density is None:
            unknown = torch.full((1, *self.size), torch.nan)
            return unknown, unknown.clone()
        counts, _ = count_fixations(gaze.x, gaze.y, frame, valid)
        return torch.from_numpy(density)[None].float(), torch.from_numpy(counts)[None].float()

    def density(self, row: int, gaze: Gaze, frame: Frame, valid: Mask) -> Map | None:
        """The density of some points of a row by the dataset's recipe, on the grid of ``valid``.

        Returns:
            float64 (H, W), or None if no point falls on the film.
        """
        name, original = self.cohort.ids[0][row], self.cohort.size_of(row)
        degree = self.cohort.gaze.pixels_per_degree[row] if self.cohort.gaze else np.nan
        parts = [gaze]
        if self.gaze.readers == "mean":
            parts = [gaze.of_reader(reader) for reader in gaze.readers]
        maps = [
            gaze_density(part, self.recipe, frame, original, valid, float(degree), name)
            for part in parts
        ]
        known = [density for density in maps if density is not None]
        return np.mean(known, axis=0) if known else None

    def _anatomy(self, row: int, frame: Frame) -> Tensor:
        if self.anatomy is None:
            return torch.zeros(0, *self.size)
        masks = torch.from_numpy(self.anatomy(row, self.cohort.film_size(row)))
        unknown = masks.isnan().flatten(1).any(1)
        height, width = masks.shape[1:]
        frame = film_frame(frame, self.cohort.size_of(row), (height, width))
        moved = warp_pixels(masks.nan_to_num(0.0), frame, self.size).clamp(0, 1)
        # Last, so that no interpolation spreads the NaN.
        moved[unknown] = torch.nan
        return moved

    def _boxes(self, row: int, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
        none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
        if self.cohort.boxes is None:
            return *none, torch.tensor(False)
        known = torch.tensor(bool(self.cohort.boxes.known[row]))
        boxes, labels = self.cohort.boxes.of(row)
        if not len(boxes):
            return *none, known
        labels = self._class_of[labels]
        boxes, labels = boxes[labels >= 0], labels[labels >= 0]
        moved, kept = map_boxes(frame, boxes, self.size)
        return torch.from_numpy(moved).float(), torch.from_numpy(labels[kept]), known


def _draw(ranges: AugmentConfig, rng: np.random.Generator) -> Augmentation:
    degrees, *shift = rng.uniform(-1, 1, 3)
    scale, flip, room = float(rng.uniform(*ranges.scale)), _flips(ranges, rng), 0.0
    middle = np.zeros(2)
    if ranges.crop < 1:
        # The crop's side, as a share of the grid's, and where its middle may lie.
        side = float(np.sqrt(rng.uniform(ranges.crop, 1)))
        scale, room = scale / side, (1 / side - 1) / 2
        middle = rng.uniform(-1, 1, 2)
    x, y = np.asarray(shift) * ranges.shift + middle * room
    return Augmentation(float(degrees) * ranges.degrees, scale, (float(x), float(y)), flip)


def _flips(ranges: AugmentConfig, rng: np.random.Generator) -> bool:
    at_random = bool(rng.random() < 0.5)
    return ranges.flip == "always" or (ranges.flip == "random" and at_random)


def _photometric(
    image: Tensor, valid: Tensor, ranges: AugmentConfig, rng: np.random.Generator
) -> Tensor:
    brightness, contrast = rng.uniform(-1, 1, 2)
    if ranges.gamma:
        image = image.clamp(0, 1) ** math.exp(ranges.gamma * rng.uniform(-1, 1))
    if ranges.blur:
        image = _blurred(image, ranges.blur * rng.uniform(0, 1) * image.shape[-2])
    mean = (image * valid).sum() / valid.sum().clamp_min(1)
    image = (image - mean) * (1 + ranges.contrast * contrast) + mean
    image = image + ranges.brightness * brightness
    if ranges.noise:
        noise = rng.standard_normal(image.shape, np.float32)
        image = image + ranges.noise * torch.from_numpy(noise)
    return image


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Below a tenth of a pixel a blur changes nothing."""
    if sigma < 0.1:
        return image
    blurred: Tensor = tv.gaussian_blur(image, [2 * math.ceil(3 * sigma) + 1] * 2, [sigma] * 2)
    return blurred

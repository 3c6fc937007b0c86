"""Where the organ masks of a stage come from: the cohort, ones, or (later) a stage of the run."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .cohort import Cohort, Pixels
from .errors import DataError


class AnatomySource(Protocol):
    """Gives the organ masks of a film; it travels with the weights into predict and export.

    Attributes:
        organs: names of the planes, in order.
    """

    organs: tuple[str, ...]

    def __call__(self, row: int | None, size: tuple[int, int]) -> Pixels:
        """The masks of a film.

        Args:
            row: of the cohort; None for a film from elsewhere.
            size: (height, width) of the film as it is read.

        Returns:
            float32 (M, height, width) in [0, 1]; a plane of NaN for an organ that is not known.
        """


class CohortAnatomy:
    """The masks that a cohort came with; unknown for films from elsewhere.

    Args:
        cohort: of the run.
        organs: the planes of the stage.
    """

    def __init__(self, cohort: Cohort, organs: Sequence[str]) -> None:
        self.cohort, self.organs = cohort, tuple(organs)
        self._known = [plane for plane, name in enumerate(organs) if name in cohort.organs]
        self._planes = [cohort.organs.index(self.organs[plane]) for plane in self._known]

    def __call__(self, row: int | None, size: tuple[int, int]) -> Pixels:
        """See ``AnatomySource``.

        Raises:
            DataError: if the cohort's masks are of another size than the film.
        """
        masks = np.full((len(self.organs), *size), np.nan, np.float32)
        if row is None or self.cohort.masks is None:
            return masks
        known = self.cohort.masks(row)
        if known.shape[1:] != size:
            raise DataError(
                f"image '{self.cohort.table['image_id'].iat[row]}': its film has {size} pixels "
                f"(height, width), its organ masks have {known.shape[1:]}; masks of another film?"
            )
        masks[self._known] = known[self._planes]
        return masks


class OnesAnatomy:
    """Ones everywhere: attention by anatomy without anatomy, as a control.

    Args:
        organs: the planes of the stage.
    """

    def __init__(self, organs: Sequence[str]) -> None:
        self.organs = tuple(organs)

    def __call__(self, row: int | None, size: tuple[int, int]) -> Pixels:
        """See ``AnatomySource``."""
        del row
        return np.ones((len(self.organs), *size), np.float32)


def checked_masks(cohort: Cohort, row: int, source: AnatomySource) -> Pixels:
    """The organ masks of a film, (M, H, W), on the film's own pixels.

    Raises:
        DataError: if a value is outside [0, 1], or NaN in a plane that has other values.
    """
    masks = source(row, cohort.film_size(row))
    for name, plane in zip(source.organs, masks, strict=True):
        if not (((plane >= 0) & (plane <= 1)).all() or np.isnan(plane).all()):
            raise DataError(
                f"image '{cohort.table['image_id'].iat[row]}': the mask of organ '{name}' must lie "
                f"in [0, 1], or be NaN throughout where it is not annotated; found "
                f"[{np.nanmin(plane):g}, {np.nanmax(plane):g}] and {int(np.isnan(plane).sum())} NaN"
            )
    return masks

"""Where the organ masks of a stage come from: the cohort, ones, or a segmenter (``diagnosis``)."""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .cohort import Cohort, Pixels
from .errors import DataError


class AnatomySource(Protocol):
    """Gives the organ masks of a film; it travels with the weights into predict and export.

    Attributes:
        organs: names of the planes, in order.
    """

    organs: tuple[str, ...]

    def __call__(self, row: int, size: tuple[int, int]) -> Pixels:
        """The masks of a film of the cohort.

        Args:
            row: of the cohort.
            size: (height, width) of the film as it is read.

        Returns:
            float32 (M, h, w) in [0, 1] over the whole film, at whatever resolution; a plane of NaN
            for an organ that is not known.
        """

    def of_film(self, pixels: Pixels) -> Pixels:
        """The masks of a film from elsewhere, likewise.

        Args:
            pixels: float32 (H, W) in [0, 1], the film.
        """


class CohortAnatomy:
    """The masks that a cohort came with; unknown for films from elsewhere.

    Args:
        cohort: of the run.
        organs: the planes of the stage.
        hidden: rows whose masks are not used, as if nobody had drawn them.
    """

    def __init__(
        self, cohort: Cohort, organs: Sequence[str], hidden: Collection[int] = frozenset()
    ) -> None:
        self.cohort, self.organs, self.hidden = cohort, tuple(organs), frozenset(hidden)
        self._known = [plane for plane, name in enumerate(organs) if name in cohort.organs]
        self._planes = [cohort.organs.index(self.organs[plane]) for plane in self._known]

    def __call__(self, row: int, size: tuple[int, int]) -> Pixels:
        """See ``AnatomySource``.

        Raises:
            DataError: if a mask is of another size than its film, not in [0, 1], or NaN in parts.
        """
        masks = np.full((len(self.organs), *size), np.nan, np.float32)
        if self.cohort.masks is None or row in self.hidden:
            return masks
        found = self.cohort.masks(row)
        if found.shape[1:] != size:
            raise DataError(
                f"{self._name(row)}: its film has {size} pixels (height, width), its organ masks "
                f"have {found.shape[1:]}; masks of another film?"
            )
        masks[self._known] = found[self._planes]
        for organ, mask in zip(self.organs, masks, strict=True):
            if not (((mask >= 0) & (mask <= 1)).all() or np.isnan(mask).all()):
                raise DataError(
                    f"{self._name(row)}: the mask of organ '{organ}' must lie in [0, 1], or be NaN "
                    f"throughout where it is not annotated; found [{np.nanmin(mask):g}, "
                    f"{np.nanmax(mask):g}] and {int(np.isnan(mask).sum())} NaN"
                )
        return masks

    def of_film(self, pixels: Pixels) -> Pixels:
        """See ``AnatomySource``."""
        return np.full((len(self.organs), *pixels.shape), np.nan, np.float32)

    def _name(self, row: int) -> str:
        return f"image '{self.cohort.table['image_id'].iat[row]}'"


class UnknownAnatomy:
    """No mask is known: what a model trained on a cohort's masks gets of films from elsewhere.

    Args:
        organs: the planes of the stage.
    """

    def __init__(self, organs: Sequence[str]) -> None:
        self.organs = tuple(organs)

    def __call__(self, row: int, size: tuple[int, int]) -> Pixels:
        """See ``AnatomySource``."""
        del row
        return np.full((len(self.organs), *size), np.nan, np.float32)

    def of_film(self, pixels: Pixels) -> Pixels:
        """See ``AnatomySource``."""
        return np.full((len(self.organs), *pixels.shape), np.nan, np.float32)


class OnesAnatomy:
    """Ones everywhere: attention by anatomy without anatomy, as a control.

    Args:
        organs: the planes of the stage.
    """

    def __init__(self, organs: Sequence[str]) -> None:
        self.organs = tuple(organs)

    def __call__(self, row: int, size: tuple[int, int]) -> Pixels:
        """See ``AnatomySource``."""
        del row
        return np.ones((len(self.organs), *size), np.float32)

    def of_film(self, pixels: Pixels) -> Pixels:
        """See ``AnatomySource``."""
        return np.ones((len(self.organs), *pixels.shape), np.float32)


def annotated_rows(
    source: AnatomySource, cohort: Cohort, rows: npt.NDArray[np.int64], most: int | None = None
) -> npt.NDArray[np.int64]:
    """Those of some rows for which an organ's mask is known, in the same order.

    Args:
        source: of the masks; each is read.
        cohort: of the run.
        rows: of it.
        most: stop after so many.

    Raises:
        DataError: if a mask is not as the source expects.
    """
    found: list[int] = []
    for row in rows.tolist():
        if len(found) == most:
            break
        masks = source(row, cohort.film_size(row))
        if not np.isnan(masks).any((1, 2)).all():
            found.append(row)
    return np.array(found, np.int64)

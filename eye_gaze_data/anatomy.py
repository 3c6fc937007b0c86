"""Where the organ masks of a stage come from: the cohort, ones, or (later) a stage of the run."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from .cohort import Cohort, Pixels


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
        """See ``AnatomySource``."""
        masks = np.full((len(self.organs), *size), np.nan, np.float32)
        if row is not None and self.cohort.masks is not None:
            masks[self._known] = self.cohort.masks(row)[self._planes]
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


class UnknownAnatomy:
    """No mask is known: what a model trained on a cohort's masks gets of films from elsewhere.

    Args:
        organs: the planes of the stage.
    """

    def __init__(self, organs: Sequence[str]) -> None:
        self.organs = tuple(organs)

    def __call__(self, row: int | None, size: tuple[int, int]) -> Pixels:
        """See ``AnatomySource``."""
        del row
        return np.full((len(self.organs), *size), np.nan, np.float32)

"""The fixations of other patients' images: what the shuffled AUC compares with."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import DataError

from .values import Points


class FixationPool:
    """All fixations of a set of images, by relative position and patient.

    Args:
        points: for each image x (n,) and y (n,) in original pixels, continuous.
        sizes: (height, width) of each image.
        patients: whose image it is.

    Attributes:
        n_dropped: fixations off their image, left out.
    """

    def __init__(
        self,
        points: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
        sizes: Sequence[tuple[int, int]],
        patients: Sequence[str],
    ) -> None:
        if not len(points) == len(sizes) == len(patients):
            raise DataError(
                "fixation pool: expected points, sizes and patients of the same images, found "
                f"{len(points)}, {len(sizes)} and {len(patients)}"
            )
        owner = np.repeat(np.arange(len(points)), [np.size(x) for x, _ in points])
        height, width = np.array(sizes, np.float64).reshape(-1, 2)[owner].T
        u = np.concatenate([np.zeros(0), *(np.asarray(x, np.float64) for x, _ in points)]) / width
        v = np.concatenate([np.zeros(0), *(np.asarray(y, np.float64) for _, y in points)]) / height
        inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1)
        self.n_dropped = int((~inside).sum())
        self._u, self._v = u[inside], v[inside]
        # Each patient's fixations, so that leaving them out need not look through all others.
        names, number = np.unique(np.asarray(patients, str), return_inverse=True)
        patient = number[owner[inside]]
        order = np.argsort(patient, kind="stable")
        parts = np.split(order, np.searchsorted(patient[order], np.arange(1, len(names))))
        self._own = dict(zip(names.tolist(), parts, strict=False))

    @classmethod
    def of_cohort(
        cls, cohort: Cohort, rows: Sequence[int] | npt.NDArray[np.int64]
    ) -> "FixationPool":
        """The gaze in some rows of a cohort.

        Raises:
            DataError: if the cohort has no gaze.
        """
        gaze = cohort.gaze
        if gaze is None:
            raise DataError(f"cohort '{cohort.name}': the fixation pool needs gaze, found none")
        points = [gaze.of(int(row)) for row in rows]
        return cls(
            [(point.x, point.y) for point in points],
            [cohort.size_of(int(row)) for row in rows],
            [str(cohort.table["patient_id"].iat[int(row)]) for row in rows],
        )

    def __len__(self) -> int:
        return len(self._u)

    def others(
        self, patient: str, size: tuple[int, int], *, limit: int | None = None, seed: int = 0
    ) -> Points:
        """The fixations of all other patients on a grid, with multiplicity.

        Args:
            patient: whose images are left out.
            size: (height, width) of the grid, which must show the whole image.
            limit: a sample of at most so many, without replacement; None for all.
            seed: of the sample.

        Returns:
            Their positions, rescaled by the size; none if there is no other patient.
        """
        own = self._own.get(str(patient), np.zeros(0, np.int64))
        left = len(self) - len(own)
        if limit is not None and left > limit:
            places = _sample(left, limit, seed)
            # From a place among the others to one among all: own fixations before it are passed.
            kept = places + np.searchsorted(own - np.arange(len(own)), places, side="right")
        else:
            kept = np.delete(np.arange(len(self)), own)
        height, width = size
        # A relative position below 1 may be rounded up to the border.
        x = np.minimum(self._u[kept] * width, np.nextafter(width, 0))
        y = np.minimum(self._v[kept] * height, np.nextafter(height, 0))
        return Points(x, y)


@lru_cache(maxsize=8)
def _sample(n: int, limit: int, seed: int) -> npt.NDArray[np.int64]:
    """Sorted places; kept, as patients with equally many fixations leave as many others."""
    places = np.sort(np.random.default_rng(seed).choice(n, limit, replace=False))
    places.flags.writeable = False
    return places

"""Ratios and means of what is defined: NaN where nothing is, never a zero in its place."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def ratio(total: Numbers, count: Numbers) -> Numbers:
    """(r,) total over count; NaN where nothing was counted."""
    found: Numbers = np.divide(total, count, np.full(len(count), np.nan), where=count > 0)
    return found


def mean_of_defined(values: Sequence[Numbers]) -> Numbers:
    """(r,) the mean over k findings or classes, of each r values; NaN where none is defined."""
    each = np.stack(values)
    defined = ~np.isnan(each)
    return ratio(np.where(defined, each, 0.0).sum(0), defined.sum(0).astype(np.float64))

"""NaN where nothing is defined."""

import numpy as np

from saliency.metrics import mean_of_defined, ratio

NAN = np.nan


def test_a_ratio_over_nothing_is_nan() -> None:
    found = ratio(np.array([3.0, 0.0, 5.0]), np.array([4.0, 2.0, 0.0]))
    np.testing.assert_array_equal(found, [0.75, 0.0, NAN])


def test_a_mean_leaves_out_what_is_undefined() -> None:
    each = [np.array([1.0, NAN, NAN]), np.array([2.0, 5.0, NAN]), np.array([6.0, NAN, NAN])]
    np.testing.assert_array_equal(mean_of_defined(each), [3.0, 5.0, NAN])

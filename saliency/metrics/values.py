"""What every saliency metric shares: one float64 value an image, or NaN and the reason for it."""

import math
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float64, Num, Shaped
from torch import Tensor

from eye_gaze_data.errors import DataError

Truth = Literal["density", "fixations"]

# (b, 1, h, w) or (b, h, w). Shapes and dtypes are checked by hand below, so that a user reads what
# was expected; hence the open annotation.
Maps = Shaped[Tensor, "..."]


_BLOCK = 65_536


class MetricValues(NamedTuple):
    """The metric of every image of a batch.

    Attributes:
        values: float64 (b,) on the CPU; NaN where the metric is undefined.
        reasons: b texts, empty where the metric is defined.
    """

    values: Float64[Tensor, " b"]
    reasons: list[str]


class ImagePixels(NamedTuple):
    """The valid pixels of one map: finite, and never none.

    Attributes:
        values: (pixels,) in the dtype they came in; ``blocks`` gives them as float64.
        low: the smallest value.
        high: the largest value.
    """

    values: Num[Tensor, " pixels"]
    low: float
    high: float

    @property
    def is_constant(self) -> bool:
        """Whether all pixels are equal; a rounded standard deviation of 5e-17 would not tell."""
        return self.low == self.high


Score = tuple[float, str]


def blocks(*maps: ImagePixels) -> Iterator[tuple[Float64[Tensor, " block"], ...]]:
    """Float64 copies of the pixels of maps, a cache-sized part of all maps at a time.

    Whole-image float64 temporaries cost several times as much at 2500 x 3056 pixels.
    """
    for parts in zip(*(torch.split(one.values, _BLOCK) for one in maps), strict=True):
        yield tuple(part.to(torch.float64, copy=True) for part in parts)


def undefined(reason: str) -> Score:
    """The score of an image for which the metric is undefined."""
    return math.nan, reason


def score_images(
    score: Callable[[ImagePixels, ImagePixels], Score],
    prediction: Maps,
    truth: Maps,
    valid: Maps | None,
    kind: Truth,
) -> MetricValues:
    """Apply a metric to the valid pixels of each image.

    Images are scored one by one on the CPU in float64: a value depends neither on the batch an
    image came in, nor on the device, nor on what padding holds.

    Args:
        score: gives the value and the reason (empty if defined) of one image.
        prediction: (b, 1, h, w) or (b, h, w), any real dtype.
        truth: of the same shape; all NaN where an image has no gaze.
        valid: bool of the same shape, the pixels that count; None for all.
        kind: whether the truth is a gaze density or fixation counts.

    Raises:
        DataError: if shapes or dtypes do not fit, or fixation counts are negative or fractional.
    """
    _check(prediction, truth, valid, kind)
    scores = []
    for row in range(len(prediction)):
        mask = None if valid is None else valid[row].detach().cpu().flatten()
        predicted = _pixels(prediction[row], mask)
        actual = _pixels(truth[row], mask)
        if kind == "fixations":
            _check_counts(actual, row)
        reason = _missing(predicted, actual)
        value, reason = undefined(reason) if reason else score(predicted, actual)
        scores.append((value, reason))
    values = torch.tensor([value for value, _ in scores], dtype=torch.float64)
    return MetricValues(values, [reason for _, reason in scores])


def _pixels(plane: Tensor, mask: Tensor | None) -> ImagePixels:
    values = plane.detach().cpu().flatten()
    if mask is not None and not bool(mask.all()):
        values = values.masked_select(mask)
    if not len(values):
        return ImagePixels(values, math.nan, math.nan)
    low, high = values.aminmax()
    return ImagePixels(values, low.item(), high.item())


def _missing(prediction: ImagePixels, truth: ImagePixels) -> str:
    """Why no metric at all can be computed; empty if one can."""
    if not len(truth.values):
        return "no valid pixels"
    # The extremes are NaN as soon as one pixel is.
    if math.isnan(truth.low) and bool(truth.values.isnan().all()):
        return "no gaze"
    for name, pixels in (("prediction", prediction), ("truth", truth)):
        if not (math.isfinite(pixels.low) and math.isfinite(pixels.high)):
            return f"the {name} is not finite"
        if math.isinf(pixels.high - pixels.low):
            return f"the {name} exceeds the range of float64"
    return ""


def _check(prediction: Tensor, truth: Tensor, valid: Tensor | None, kind: Truth) -> None:
    shape = tuple(prediction.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] != 1):
        raise DataError(f"prediction: expected shape (b, 1, h, w) or (b, h, w), found {shape}")
    others = {kind: truth} if valid is None else {kind: truth, "valid": valid}
    for name, other in others.items():
        if tuple(other.shape) != shape:
            raise DataError(
                f"{name}: expected the prediction's shape {shape}, found {tuple(other.shape)}; "
                "resample the prediction to the truth's grid first"
            )
    for name, numbers in (("prediction", prediction), (kind, truth)):
        if numbers.dtype == torch.bool or numbers.is_complex():
            raise DataError(f"{name}: expected real numbers, found {numbers.dtype}")
    if valid is not None and valid.dtype != torch.bool:
        raise DataError(f"valid: expected torch.bool, found {valid.dtype}")


def _check_counts(counts: ImagePixels, row: int) -> None:
    for (values,) in blocks(counts):
        wrong = (values < 0) | (values.isfinite() & (values != values.round()))
        if not bool(wrong.any()):
            continue
        raise DataError(
            f"fixations of row {row}: expected whole counts of at least 0, "
            f"found {values[wrong][0].item():.6g}; pass fixation counts, not the blurred density"
        )

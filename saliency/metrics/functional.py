r"""CC, KLD, SIM and NSS: one value an image, undefined ones named as such.

P is the prediction, G the gaze density, F the fixated pixels, over the N valid pixels of one image;
:math:`p = P / \sum P` and :math:`g = G / \sum G`. Formulas as in Bylinskii et al., "What do
different evaluation metrics tell us about saliency models?" (PAMI 2019); where implementations
disagree, the choice is stated here. All sums are float64.
"""

import math

from jaxtyping import Float64
from torch import Tensor

from .values import ImagePixels, Maps, MetricValues, Score, blocks, score_images, undefined

# Added after normalising, as the MIT benchmark does; added to a raw map, its scale would matter.
_KLD_EPSILON = 2.0**-52


def correlation_coefficient(
    prediction: Maps, density: Maps, valid: Maps | None = None
) -> MetricValues:
    r"""Pearson's correlation of prediction and gaze density over the valid pixels, -1 to 1.

    .. math:: \mathrm{CC} = \frac{\mathrm{cov}(P, G)}{\sigma_P \sigma_G}

    Undefined (NaN) if either map is constant, that is, its maximum equals its minimum.

    Args:
        prediction: (b, 1, h, w) or (b, h, w), any scale and offset.
        density: gaze density of the same shape; all NaN without gaze.
        valid: bool of the same shape; None for all pixels.

    Returns:
        float64 (b,) and the reasons of undefined ones. Higher is better.

    Raises:
        DataError: if shapes or dtypes do not fit.
    """
    return score_images(_correlation, prediction, density, valid, "density")


def kl_divergence(prediction: Maps, density: Maps, valid: Maps | None = None) -> MetricValues:
    r"""Kullback-Leibler divergence of the prediction from the gaze density, in nats, 0 to about 36.

    .. math:: \mathrm{KLD} = \sum g \log\left(\epsilon + \frac{g}{p + \epsilon}\right),
        \quad \epsilon = 2^{-52}

    From truth to prediction, natural logarithm. Undefined (NaN) for maps with a negative value or
    without mass: a zero truth would otherwise score a perfect 0.

    Args:
        prediction: (b, 1, h, w) or (b, h, w), at least 0, any scale.
        density: gaze density of the same shape; all NaN without gaze.
        valid: bool of the same shape; None for all pixels.

    Returns:
        float64 (b,) and the reasons of undefined ones. Lower is better.

    Raises:
        DataError: if shapes or dtypes do not fit.
    """
    return score_images(_divergence, prediction, density, valid, "density")


def similarity(prediction: Maps, density: Maps, valid: Maps | None = None) -> MetricValues:
    r"""Overlap of prediction and gaze density as distributions, 0 to 1.

    .. math:: \mathrm{SIM} = \sum \min(p, g)

    Without the min-max scaling that the MIT code applies first. Undefined (NaN) for maps with a
    negative value or without mass.

    Args:
        prediction: (b, 1, h, w) or (b, h, w), at least 0, any scale.
        density: gaze density of the same shape; all NaN without gaze.
        valid: bool of the same shape; None for all pixels.

    Returns:
        float64 (b,) and the reasons of undefined ones. Higher is better.

    Raises:
        DataError: if shapes or dtypes do not fit.
    """
    return score_images(_overlap, prediction, density, valid, "density")


def normalised_scanpath_saliency(
    prediction: Maps, fixations: Maps, valid: Maps | None = None
) -> MetricValues:
    r"""Mean standardised prediction at the fixations; 0 is chance.

    .. math:: \mathrm{NSS} = \frac{1}{|F|} \sum_{i \in F} \frac{P_i - \bar P}{\sigma_P}

    The standard deviation is the population's, over the valid pixels; a pixel fixated twice counts
    twice. Undefined (NaN) for a constant prediction (maximum equals minimum) and without fixations.
    Peters et al., "Components of bottom-up gaze allocation in natural images" (Vision Research,
    2005).

    Args:
        prediction: (b, 1, h, w) or (b, h, w), any scale and offset.
        fixations: fixation counts of the same shape; all NaN without gaze.
        valid: bool of the same shape; None for all pixels.

    Returns:
        float64 (b,) and the reasons of undefined ones. Higher is better.

    Raises:
        DataError: if shapes or dtypes do not fit, or counts are negative or fractional.
    """
    return score_images(_scanpath_saliency, prediction, fixations, valid, "fixations")


def _correlation(prediction: ImagePixels, truth: ImagePixels) -> Score:
    for name, pixels in (("prediction", prediction), ("truth", truth)):
        if pixels.is_constant:
            return undefined(f"the {name} is constant")
    means = _scaled_mean(prediction), _scaled_mean(truth)
    product = of_prediction = of_truth = 0.0
    for predicted, actual in blocks(prediction, truth):
        predicted = _scaled(predicted, prediction).sub_(means[0])
        actual = _scaled(actual, truth).sub_(means[1])
        product += float(predicted @ actual)
        of_prediction += float(predicted @ predicted)
        of_truth += float(actual @ actual)
    # Rounding may leave 1 + 2e-16; the norms of constant maps, excluded above, alone are 0.
    return max(-1.0, min(1.0, product / math.sqrt(of_prediction) / math.sqrt(of_truth))), ""


def _divergence(prediction: ImagePixels, truth: ImagePixels) -> Score:
    reason = _not_a_density(prediction, truth)
    if reason:
        return undefined(reason)
    masses = _mass(prediction), _mass(truth)
    total = 0.0
    for p, g in blocks(prediction, truth):
        g.div_(masses[1])
        ratio = g / p.div_(masses[0]).add_(_KLD_EPSILON)
        total += float(g @ ratio.add_(_KLD_EPSILON).log_())
    return total, ""


def _overlap(prediction: ImagePixels, truth: ImagePixels) -> Score:
    reason = _not_a_density(prediction, truth)
    if reason:
        return undefined(reason)
    masses = _mass(prediction), _mass(truth)
    shared = (p.div_(masses[0]).minimum(g.div_(masses[1])) for p, g in blocks(prediction, truth))
    return sum(float(part.sum()) for part in shared), ""


def _scanpath_saliency(prediction: ImagePixels, fixations: ImagePixels) -> Score:
    if fixations.high == 0:
        return undefined("no fixations")
    if prediction.is_constant:
        return undefined("the prediction is constant")
    mean = _scaled_mean(prediction)
    squares = at_fixations = n_fixations = 0.0
    for predicted, counts in blocks(prediction, fixations):
        deviations = _scaled(predicted, prediction).sub_(mean)
        squares += float(deviations @ deviations)
        at_fixations += float(deviations @ counts)
        n_fixations += float(counts.sum())
    return at_fixations / n_fixations / math.sqrt(squares / len(prediction.values)), ""


def _scaled(values: Float64[Tensor, " block"], pixels: ImagePixels) -> Float64[Tensor, " block"]:
    """The values from 0 to 1, in place: CC and NSS depend neither on scale nor on pedestal.

    Shifted before anything is summed: a mean of values like 1 + 1e-15 would be rounded away, and
    squares of values like 1e-200 would be 0.
    """
    return values.sub_(pixels.low).div_(pixels.high - pixels.low)


def _scaled_mean(pixels: ImagePixels) -> float:
    total = sum(float(_scaled(values, pixels).sum()) for (values,) in blocks(pixels))
    return total / len(pixels.values)


def _mass(pixels: ImagePixels) -> float:
    return sum(float(values.sum()) for (values,) in blocks(pixels))


def _not_a_density(prediction: ImagePixels, truth: ImagePixels) -> str:
    for name, pixels in (("prediction", prediction), ("truth", truth)):
        if pixels.low < 0:
            return f"the {name} has a negative value"
        if pixels.high == 0:
            return f"the {name} has no mass"
        if math.isinf(_mass(pixels)):
            return f"the mass of the {name} exceeds the range of float64"
    return ""

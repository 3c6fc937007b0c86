"""What each number means: the variants of the metrics, how means and intervals were made."""

from .formatting import count, percent, text
from .run_folder import Facts, section

DEFINITIONS = {
    "CC": "Pearson correlation of prediction and clinicians' density over the film's pixels; "
    "undefined when either is constant.",
    "NSS": "mean over fixations of the prediction standardised over the film's pixels with the "
    "population standard deviation; repeated fixations count each time; undefined for a constant "
    "map.",
    "KLD": "Σ g · ln(ε + g / (p + ε)), natural logarithm, from the truth g to the prediction p, "
    "ε = 2⁻⁵² after both are normalised to sum 1.",
    "SIM": "Σ min(p, g) of the two densities, each with sum 1, without min-max scaling.",
    "AUC": "exact area under the ROC curve: fixated pixels against all pixels of the film as "
    "negatives, ties count half, no jitter.",
    "sAUC": "as AUC, with the fixations of other patients of the group as negatives.",
    "IG": "mean over fixations of log₂ p − log₂ b over the centre bias b, in bits; a map that is "
    "no likelihood has none, and a single fixation where p is 0 makes the mean infinite.",
    "EMD": "earth mover's distance on a grid with a long side of 32, in fractions of the diagonal.",
    "AUROC": "exact area under the ROC curve of a finding, ties count half; images whose label is "
    "not stated are left out; undefined when only one class is present.",
    "AP": "average precision; its chance level is the prevalence among known labels.",
    "Macro AUROC": "unweighted mean over the findings whose AUROC is defined.",
    "Mean": "mean over images with a defined score; each image counts once. Undefined images are "
    "counted beside the mean, never replaced by a number. SD is the spread over images.",
    "Groups": "groups (sources) are reported one by one; nothing is pooled over them.",
    "Centre bias": "density of the fixations of other images, the floor that a model must beat.",
    "Uniform": "a constant map, by closed form.",
    "Temperature": "logits are divided by it before they become probabilities; rankings stay.",
}
TITLES = {
    "auroc": "AUROC",
    "average_precision": "AP",
    "macro_auroc": "Macro AUROC",
    "centre_bias": "Centre bias",
    "anatomical_prior": "Anatomical prior",
    "leave_one_reader_out": "Other readers",
    "model_one_reader": "Model, one reader",
    "class_activation": "Class activation",
    "operating_point": "F1 threshold",
    "in_boxes": "In boxes",
    "points": "Points",
    "interval": "Bootstrap",
    "resize": "Resize",
    "temperature": "Temperature",
    "sauc": "sAUC",
    "uniform": "Uniform",
    "mean": "Mean",
    "groups": "Groups",
}


def method_notes(metrics: Facts) -> tuple[tuple[str, str], ...]:
    """Names and explanations; what the evaluation says of itself replaces the standing text."""
    stated = {
        TITLES.get(key, key.upper() if key.upper() in DEFINITIONS else key): str(value)
        for key, value in section(metrics, "definitions").items()
        if value
    }
    notes = {**DEFINITIONS, "Interval": _interval(section(metrics, "bootstrap")), **stated}
    return tuple(notes.items())


def _interval(bootstrap: Facts) -> str:
    if not bootstrap:
        return "no bootstrap was recorded."
    unit = {"patient": "patients", "image": "images"}.get(
        str(bootstrap.get("unit")), text(bootstrap.get("unit"))
    )
    return (
        f"{percent(bootstrap.get('level'))} bootstrap over {unit}, "
        f"{count(bootstrap.get('resamples'))} resamples, seed {text(bootstrap.get('seed'))}."
    )

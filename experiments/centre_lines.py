"""What the centre bias scores in validation: the line that a learning curve has to cross."""

import numpy as np

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.density import count_fixations
from eye_gaze_data.errors import DataError
from eye_gaze_data.geometry import fit_frame, valid_pixels
from saliency.baselines import CentreBias
from saliency.config import GAZE_TASKS

from .config import RunConfig, StageConfig
from .floors import Rows
from .scoring import Truth, score_map
from .stage_data import stage_dataset

METRICS = ("cc", "nss")
# Images of each cohort at the most, drawn by seed: a constant line need not be exact.
MOST = 200


def centre_lines(config: RunConfig, stage: StageConfig, cohort: Cohort) -> dict[str, float]:
    """``valid/cc_centre_bias`` and ``valid/nss_centre_bias`` on the network grid.

    The centre bias is that of the training split; with ``readers: sample`` all readers are pooled.

    Returns:
        Nothing for a stage that does not train gaze, or whose splits have none.
    """
    if stage.task not in GAZE_TASKS:
        return {}
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for name in stage.data.cohorts:
        train, valid = (
            rows[cohort.has_gaze[rows]]
            for rows in (cohort.rows_of(split, [name]) for split in ("train", stage.data.valid))
        )
        if len(valid) > MOST:
            generator = np.random.default_rng([config.seed, 6])
            valid = np.sort(generator.choice(valid, MOST, replace=False))
        try:
            centre = CentreBias.of_cohort(cohort, train)
        except DataError:
            continue
        for metric, values in _score(config, stage, cohort, centre, valid).items():
            found[metric] += values
    means = {metric: np.array(values) for metric, values in found.items()}
    return {
        f"valid/{metric}_centre_bias": float(values[~np.isnan(values)].mean())
        for metric, values in means.items()
        if (~np.isnan(values)).any()
    }


def _score(
    config: RunConfig, stage: StageConfig, cohort: Cohort, centre: CentreBias, rows: Rows
) -> dict[str, list[float]]:
    dataset, size = stage_dataset(config, stage, cohort), stage.data.image_size
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for row in rows.tolist():
        if cohort.gaze is None:
            break
        original, gaze = cohort.size_of(row), cohort.gaze.of(row)
        frame = fit_frame(original, size, stage.data.fit, stage.data.stride)
        valid = valid_pixels(original, frame, size)[0].numpy()
        counts, _ = count_fixations(gaze.x, gaze.y, frame, valid)
        truth = Truth(dataset.density(row, gaze, frame, valid), counts, valid=valid)
        scores = score_map(centre.density(original, frame, size, valid), truth, METRICS)
        for metric, (value, _) in scores.items():
            found[metric].append(value)
    return found

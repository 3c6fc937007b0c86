"""The prior registered to the lungs: it follows them, and knows nothing else."""

import json

import numpy as np
import pytest

from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.geometry import fit_frame
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort
from saliency.baselines import AnatomicalPrior, CentreBias, lung_box
from saliency.baselines.anatomical import cohort_lung_box

Points = tuple[np.ndarray, np.ndarray]
Box = tuple[float, float, float, float]


def make_readings(
    seed: int, n: int, size: tuple[int, int] = (300, 240)
) -> tuple[list[Points], list[tuple[int, int]], list[Box]]:
    """Fixations at the lower left corner of lung boxes that differ in place and size."""
    rng = np.random.default_rng(seed)
    readings, boxes = [], []
    for _ in range(n):
        left, top = rng.uniform(10, 90), rng.uniform(10, 120)
        width, height = rng.uniform(70, 130), rng.uniform(90, 150)
        boxes.append((left, top, left + width, top + height))
        x = left + width * np.clip(rng.normal(0.25, 0.05, 30), 0, 1)
        y = top + height * np.clip(rng.normal(0.75, 0.05, 30), 0, 1)
        readings.append((x, y))
    return readings, [size] * n, boxes


def bits(density: np.ndarray, points: Points) -> float:
    """Bits a fixation over uniform on a grid of the image's own pixels."""
    x, y = points
    return float(np.log2(density[y.astype(int), x.astype(int)] * density.size).mean())


def test_the_box_of_masks() -> None:
    masks = np.zeros((2, 20, 30), np.float32)
    masks[0, 4:9, 3:7], masks[1, 2:6, 20:29] = 1, 0.7
    assert lung_box(masks) == (3.0, 2.0, 29.0, 9.0)
    masks[1] = np.nan
    assert lung_box(masks) == (3.0, 4.0, 7.0, 9.0)
    assert lung_box(np.zeros((1, 5, 5))) is None


def test_it_follows_the_lungs_where_the_centre_bias_cannot() -> None:
    readings, sizes, boxes = make_readings(0, 40)
    prior, centre = AnatomicalPrior.fit(readings, sizes, boxes), CentreBias.fit(readings, sizes)
    frame, valid = fit_frame((300, 240), (300, 240)), np.ones((300, 240), bool)
    gains = []
    for points, _, box in zip(*make_readings(1, 10), strict=True):
        density = prior.density(box, frame, (300, 240), valid)
        assert density.sum() == pytest.approx(1, abs=1e-12)
        assert density.min() > 0
        other = centre.density((300, 240), frame, (300, 240), valid)
        gains.append(bits(density, points) - bits(other, points))
    assert min(gains) > 0.5


def test_its_peak_lies_where_people_look_relative_to_the_box() -> None:
    prior = AnatomicalPrior.fit(*make_readings(2, 40))
    box = (40.0, 100.0, 140.0, 220.0)
    frame, valid = fit_frame((300, 240), (150, 120)), np.ones((150, 120), bool)
    density = prior.density(box, frame, (150, 120), valid)
    row, column = np.unravel_index(density.argmax(), density.shape)
    assert 2 * (column + 0.5) == pytest.approx(40 + 0.25 * 100, abs=4)
    assert 2 * (row + 0.5) == pytest.approx(100 + 0.75 * 120, abs=4)


def test_fixations_far_from_the_lungs_are_an_even_share_of_the_film() -> None:
    readings, sizes, boxes = make_readings(3, 30)
    readings = [(np.r_[x, 1.0, 239.0], np.r_[y, 1.0, 299.0]) for x, y in readings]
    prior = AnatomicalPrior.fit(readings, sizes, boxes, margin=0.0)
    assert prior.outside == pytest.approx(2 / 32, abs=0.02)
    valid = np.ones((300, 240), bool)
    density = prior.density(
        (100.0, 100.0, 140.0, 160.0), fit_frame((300, 240), (300, 240)), (300, 240), valid
    )
    away = density.copy()
    away[100:160, 100:140] = np.nan
    assert np.nanmin(away) == pytest.approx(prior.outside / valid.sum(), rel=1e-12)
    assert np.nanmax(away) == pytest.approx(prior.outside / valid.sum(), rel=1e-12)


def test_a_box_off_the_view_is_uniform() -> None:
    prior = AnatomicalPrior.fit(*make_readings(4, 10))
    valid = np.ones((30, 24), bool)
    frame = fit_frame((300, 240), (30, 24))
    found = prior.density((900.0, 900.0, 950.0, 950.0), frame, (30, 24), valid)
    assert found == pytest.approx(np.full((30, 24), 1 / 720))


def test_padding_has_no_density() -> None:
    prior = AnatomicalPrior.fit(*make_readings(5, 10))
    frame, valid = fit_frame((300, 240), (100, 100)), np.zeros((100, 100), bool)
    valid[:, 10:90] = True
    found = prior.density((50.0, 50.0, 150.0, 200.0), frame, (100, 100), valid)
    assert found[~valid].max() == 0
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_it_is_stored_and_read() -> None:
    prior = AnatomicalPrior.fit(*make_readings(6, 10))
    assert AnatomicalPrior.from_dict(json.loads(json.dumps(prior.to_dict()))) == prior
    with pytest.raises(DataError, match="expected prior, margin, outside"):
        AnatomicalPrior.from_dict({"prior": {}})


def test_bad_input_is_refused() -> None:
    readings, sizes, boxes = make_readings(7, 6)
    with pytest.raises(ConfigError, match="margin: expected a number of at least 0, found -1"):
        AnatomicalPrior.fit(readings, sizes, boxes, margin=-1.0)
    with pytest.raises(DataError, match="lung box: expected x1 < x2 and y1 < y2"):
        AnatomicalPrior.fit(readings, sizes, [(5.0, 5.0, 5.0, 9.0), *boxes[1:]])
    with pytest.raises(DataError, match="at least 2 patients"):
        AnatomicalPrior.fit(readings[:1], sizes[:1], boxes[:1])


def test_it_is_fitted_on_a_cohort_with_masks() -> None:
    cohort = phantom_cohort(PhantomConfig(n_patients=8, height=64, width=64, seed=3))
    organs = [name for name in cohort.organs if "lung" in name]
    prior = AnatomicalPrior.of_cohort(cohort, range(len(cohort)), organs)
    assert prior.prior.n_images == int(cohort.has_gaze.sum())
    assert prior.prior.information > 0
    box = cohort_lung_box(cohort, 0, organs)
    assert box is not None
    assert 0 <= box[0] < box[2] <= cohort.size_of(0)[1]
    with pytest.raises(ConfigError, match="organ 'left_lnug' is unknown; did you mean"):
        AnatomicalPrior.of_cohort(cohort, [0], ["left_lnug"])
    unseen = phantom_cohort(PhantomConfig(n_patients=2, height=64, width=64, gaze="none"))
    with pytest.raises(DataError, match=r"cohort '\w+': the prior needs gaze, found none"):
        AnatomicalPrior.of_cohort(unseen, [0], organs)

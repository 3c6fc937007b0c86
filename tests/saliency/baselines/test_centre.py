"""The floors: uniform and centre bias."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.density import render_density
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.gaze import GazeTable
from eye_gaze_data.geometry import Augmentation, augment_frame, compose, fit_frame, valid_pixels
from saliency.baselines import BANDWIDTHS, UNIFORM_SHARES, CentreBias, uniform_density

SIZE = (300, 240)  # height, width
Points = list[tuple[np.ndarray, np.ndarray]]


def centred_points(n_images: int, n_points: int, spread: float, seed: int = 0) -> Points:
    """Normal about the centre, standard deviation ``spread`` of the height."""
    rng = np.random.default_rng(seed)
    centre = np.array([SIZE[1], SIZE[0]]) / 2
    drawn = centre + spread * SIZE[0] * rng.normal(size=(n_images, n_points, 2))
    return [(points[:, 0], points[:, 1]) for points in drawn]


def fit(points: Points, **options: object) -> CentreBias:
    return CentreBias.fit(points, [SIZE] * len(points), **options)  # type: ignore[arg-type]


def grid_of(
    size: tuple[int, int], original: tuple[int, int] = SIZE
) -> tuple[np.ndarray, np.ndarray]:
    frame = fit_frame(original, size)
    return frame, valid_pixels(original, frame, size)[0].numpy()


def test_uniform_is_equal_over_the_film() -> None:
    valid = np.zeros((7, 9), bool)
    valid[1:6, 2:8] = True
    density = uniform_density(valid)
    assert density.sum() == pytest.approx(1, abs=1e-15)
    assert np.unique(density[valid]).tolist() == [1 / 30]
    assert not density[~valid].any()
    with pytest.raises(DataError, match=r"expected some film, found none in a map of \(7, 9\)"):
        uniform_density(np.zeros((7, 9), bool))


@pytest.mark.parametrize("size", [(64, 64), (97, 120), (300, 240), (640, 640)])
def test_density_sums_to_one_on_the_film_of_padded_frames(size: tuple[int, int]) -> None:
    bias = fit(centred_points(20, 15, 0.1))
    frame, valid = grid_of(size)
    density = bias.density(SIZE, frame, size, valid)
    assert density.dtype == np.float64
    assert density.sum() == pytest.approx(1, abs=1e-12)
    assert (density[valid] >= bias.uniform / valid.sum()).all()
    assert not density[~valid].any()
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    centre = (density * rows).sum() / size[0], (density * columns).sum() / size[1]
    assert centre == pytest.approx((0.5, 0.5), abs=0.02)


def test_information_is_that_of_the_true_distribution() -> None:
    """Much gaze from a normal distribution: the gain is the difference of the entropies."""
    points = centred_points(300, 40, 0.08)
    bias = fit(points)
    area = SIZE[1] / SIZE[0]
    expected = math.log2(area) - math.log2(2 * math.pi * math.e * 0.08**2)
    assert bias.information == pytest.approx(expected, abs=0.06)
    assert bias.n_images == 300
    assert bias.uniform <= 0.01


def test_it_beats_uniform_on_new_images_only_if_there_is_a_bias() -> None:
    frame, valid = grid_of((60, 48))

    def bits(bias: CentreBias, points: Points) -> float:
        density = bias.density(SIZE, frame, (60, 48), valid) * valid.sum()
        x, y = (np.concatenate(each).astype(int) // 5 for each in zip(*points, strict=True))
        inside = (x >= 0) & (x < 48) & (y >= 0) & (y < 60)
        return float(np.log2(density[y[inside], x[inside]]).mean())

    centred = fit(centred_points(30, 20, 0.12))
    assert bits(centred, centred_points(30, 20, 0.12, seed=9)) > 0.5
    rng = np.random.default_rng(0)
    anywhere = [(rng.uniform(0, SIZE[1], 20), rng.uniform(0, SIZE[0], 20)) for _ in range(60)]
    nothing = fit(anywhere[:30])
    assert bits(nothing, anywhere[30:]) == pytest.approx(0, abs=0.05)
    assert bits(nothing, anywhere[30:]) > bits(centred, anywhere[30:])


def test_little_gaze_asks_for_a_wider_kernel_than_much() -> None:
    few, many = fit(centred_points(6, 4, 0.15)), fit(centred_points(400, 40, 0.15))
    assert few.bandwidth > many.bandwidth
    assert BANDWIDTHS[0] <= many.bandwidth <= 0.08
    assert 0.03 <= few.bandwidth <= 0.25


def test_outliers_ask_for_a_uniform_share() -> None:
    points = centred_points(60, 20, 0.05)
    rng = np.random.default_rng(1)
    for x, y in points:
        x[:2], y[:2] = rng.uniform(0, SIZE[1], 2), rng.uniform(0, SIZE[0], 2)
    assert fit(points).uniform >= 0.05
    assert fit(centred_points(60, 20, 0.05)).uniform < 0.02


def test_the_choice_is_the_best_of_a_plain_loop() -> None:
    """Held-out likelihood computed point by point, without any of the matrices."""
    points = centred_points(7, 5, 0.1, seed=3)
    widths, shares = (0.03, 0.08, 0.2), (0.01, 0.3)

    def relative(image: int) -> np.ndarray:
        x, y = points[image]
        return (np.floor(np.stack([x / SIZE[1], y / SIZE[0]], 1) * 64) + 0.5) / 64

    centres = (np.arange(64) + 0.5) / 64

    def kernel(where: float, sigma: float) -> np.ndarray:
        images = np.array([[where], [-where], [2 - where]])
        values: np.ndarray = np.exp(-(((centres - images) / sigma) ** 2) / 2).sum(0)
        return values

    scores = {}
    for width in widths:
        for share in shares:
            images = []
            for image in range(7):
                others = [one for one in range(7) if one % 3 != image % 3]
                density = np.zeros((64, 64))
                for u, v in np.concatenate([relative(one) for one in others]):
                    density += np.outer(kernel(v, width), kernel(u, width * SIZE[0] / SIZE[1]))
                density = (1 - share) * density / density.sum() * 4096 + share
                cells = (relative(image) * 64).astype(int)
                images.append(np.mean(np.log2(density[cells[:, 1], cells[:, 0]])))
            scores[width, share] = float(np.mean(images))
    bias = fit(points, folds=3, bandwidths=widths, uniform_shares=shares)
    assert (bias.bandwidth, bias.uniform) == max(scores, key=lambda key: scores[key])
    assert bias.information == pytest.approx(max(scores.values()), abs=1e-10)


def test_patients_are_not_split_over_folds() -> None:
    """Copies of a patient's gaze would make the narrowest kernel look best."""
    points = [one for one in centred_points(12, 6, 0.15) for _ in range(2)]
    names = [f"patient {one // 2}" for one in range(24)]
    assert fit(points, groups=names).bandwidth > 0.03
    assert fit(points).information > fit(points, groups=names).information


def test_rendering_agrees_with_the_density_of_points() -> None:
    """Against ``render_density`` of the points themselves: binning and the mirror line differ."""
    points = centred_points(40, 25, 0.15)
    bias = fit(points, bandwidths=(0.06,), uniform_shares=(1e-9,))
    frame, valid = grid_of((150, 150))
    x, y = (np.concatenate(each) for each in zip(*points, strict=True))
    expected = render_density(
        x, y, np.ones(len(x)), 0.06 * SIZE[0], frame, SIZE, (150, 150), valid, border="reflect"
    )
    assert expected is not None
    found = bias.density(SIZE, frame, (150, 150), valid)
    assert np.abs(found - expected).sum() < 0.02


def test_other_image_sizes_scale_the_positions() -> None:
    points = centred_points(20, 15, 0.1)
    small = fit(points)
    doubled = CentreBias.fit([(2 * x, 2 * y) for x, y in points], [(600, 480)] * 20)
    assert small == doubled
    frame, valid = grid_of((64, 64), (512, 512))
    wide = small.density((512, 512), frame, (64, 64), valid)
    assert wide.sum() == pytest.approx(1, abs=1e-12)


def test_mirrored_and_cropped_frames_are_followed_and_rotations_refused() -> None:
    points = [(x * 0.5, y) for x, y in centred_points(20, 15, 0.1)]
    bias = fit(points)
    frame, valid = grid_of((64, 64))
    straight = bias.density(SIZE, frame, (64, 64), valid)
    mirror = compose(augment_frame((64, 64), Augmentation(flip=True)), frame)
    flipped = bias.density(SIZE, mirror, (64, 64), valid[:, ::-1])
    assert np.abs(flipped[:, ::-1] - straight).max() < 1e-12
    turned = compose(augment_frame((64, 64), Augmentation(degrees=5)), frame)
    with pytest.raises(ConfigError, match="expected a frame without rotation"):
        bias.density(SIZE, turned, (64, 64), valid)
    with pytest.raises(DataError, match=r"expected the grid's shape \(64, 64\), found \(64, 63\)"):
        bias.density(SIZE, frame, (64, 64), valid[:, 1:])


def test_a_fit_is_repeatable_and_survives_json() -> None:
    bias = fit(centred_points(10, 8, 0.1))
    assert bias == fit(centred_points(10, 8, 0.1))
    again = CentreBias.from_dict(json.loads(json.dumps(bias.to_dict())))
    assert again == bias
    frame, valid = grid_of((50, 50))
    first, second = (one.density(SIZE, frame, (50, 50), valid) for one in (bias, again))
    assert np.array_equal(first, second)


def test_a_broken_store_is_refused() -> None:
    stored = fit(centred_points(10, 8, 0.1)).to_dict()
    with pytest.raises(
        DataError, match=r"centre bias: expected \['bandwidth', .* found \['counts'"
    ):
        CentreBias.from_dict({"counts": stored["counts"]})
    with pytest.raises(DataError, match=r"expected counts of \(64, 64\), found \(63, 64\)"):
        CentreBias.from_dict({**stored, "counts": stored["counts"][1:]})


def test_points_off_the_film_are_dropped_and_counted() -> None:
    points = centred_points(10, 8, 0.05)
    points[0][0][0], points[1][1][2] = -0.01, SIZE[0]
    bias = fit(points)
    assert bias.n_dropped == 2
    assert np.sum(bias.counts) == 78


@pytest.mark.parametrize(
    ("n_images", "options", "error", "message"),
    [
        (1, {}, DataError, "at least 2 patients .* found 1"),
        (4, {"groups": ["a"] * 4}, DataError, "at least 2 patients .* found 1"),
        (
            4,
            {"bandwidths": (0.001,)},
            ConfigError,
            r"expected some in \[0.01, 0.5\], found \[0.001",
        ),
        (4, {"uniform_shares": (0.0,)}, ConfigError, r"uniform shares: .* found \[0.0\]"),
        (4, {"folds": 1}, ConfigError, "folds: expected at least 2, found 1"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(
    n_images: int, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit(centred_points(n_images, 5, 0.1), **options)


def test_images_without_gaze_do_not_enter() -> None:
    points = centred_points(10, 8, 0.1)
    empty = (np.array([]), np.array([]))
    assert fit([empty, *points, empty]) == fit(points)


def make_cohort() -> Cohort:
    points = centred_points(12, 8, 0.1)
    n = len(points)
    table = pd.DataFrame({
        "image_id": [f"i{row}" for row in range(n)],
        "patient_id": [f"p{row // 2}" for row in range(n)],
        "study_id": "s", "split": ["train"] * 8 + ["test"] * 4, "path": "", "source": "",
        "height": SIZE[0], "width": SIZE[1], "finding": 0.0,
    })  # fmt: skip
    rows = np.repeat(np.arange(n), 8)
    x, y = (np.concatenate(each) for each in zip(*points, strict=True))
    gaze = pd.DataFrame({"row": rows, "x": x, "y": y, "duration": 0.2, "start": 0.0, "reader": "r"})
    return Cohort(
        name="made", table=table, pathologies=("finding",),
        images=lambda _row: np.zeros(SIZE, np.float32), gaze=GazeTable(gaze, n),
    )  # fmt: skip


def test_of_a_cohort_uses_the_rows_asked_for_and_their_patients() -> None:
    cohort = make_cohort()
    bias = CentreBias.of_cohort(cohort, cohort.rows_of("train"))
    points = centred_points(12, 8, 0.1)[:8]
    assert bias == fit(points, groups=[f"p{row // 2}" for row in range(8)])
    assert len(UNIFORM_SHARES) > 1


def test_an_image_is_left_out_of_what_it_was_fitted_on() -> None:
    rng = np.random.default_rng(0)
    points = [(rng.uniform(0, 80, n), rng.uniform(0, 60, n)) for n in (9, 14, 11)]
    sizes = [(60, 80)] * 3
    bias = CentreBias.fit(points, sizes, bandwidths=[0.1], uniform_shares=[0.1])
    others = CentreBias.fit(points[1:], sizes[1:], bandwidths=[0.1], uniform_shares=[0.1])
    found = bias.without(points[0], (60, 80))
    assert found.counts == others.counts
    assert (found.n_images, bias.n_images) == (2, 3)
    assert (found.bandwidth, found.information) == (bias.bandwidth, bias.information)
    with pytest.raises(DataError, match="must be a part of those it was fitted on"):
        found.without(points[0], (60, 80))

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import correlate1d, gaussian_filter

from eye_gaze_data.config import PRESETS, Recipe
from eye_gaze_data.density import (
    Map,
    count_fixations,
    gaze_density,
    point_sigmas,
    point_weights,
    render_density,
    sigma_pixels,
)
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.gaze import WINDOW_COLUMNS, Gaze
from eye_gaze_data.geometry import (
    Augmentation,
    Frame,
    augment_frame,
    compose,
    fit_frame,
    invert,
    map_points,
    valid_pixels,
    warp_pixels,
)

IDENTITY = np.eye(2, 3)
FILM = (41, 33)


def _known(density: Map | None) -> Map:
    assert density is not None
    return density


def _render(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    sigma: float = 3.7,
    frame: Frame = IDENTITY,
    original: tuple[int, int] = FILM,
    size: tuple[int, int] = FILM,
    recipe: Recipe | None = None,
) -> Map | None:
    recipe = recipe or Recipe(sigma=0.1)
    return render_density(
        x,
        y,
        np.ones(np.shape(x)) if weights is None else weights,
        sigma,
        frame,
        original,
        size,
        valid_pixels(original, frame, size)[0].numpy(),
        border=recipe.border,
        cut=recipe.cut,
    )


def _loop(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    sigma: float,
    frame: Frame,
    size: tuple[int, int],
    *,
    reflect: bool,
) -> Map:
    """Round Gaussians in original pixels, looked up at every grid centre mapped back."""
    height, width = FILM

    def folded(place: float, length: int) -> list[float]:
        return [place, 1 - place, 2 * length - 1 - place] if reflect else [place]

    images = [
        (u, v)
        for p, q in zip(x.tolist(), y.tolist(), strict=True)
        for u in folded(p, width)
        for v in folded(q, height)
    ]
    back = invert(frame)
    values = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            at = back[:, :2] @ (column + 0.5, row + 0.5) + back[:, 2]
            if 0 <= at[0] < width and 0 <= at[1] < height:
                values[row, column] = sum(
                    math.exp(-((at[0] - p) ** 2 + (at[1] - q) ** 2) / (2 * sigma**2))
                    for p, q in images
                )
    return np.asarray(values / values.sum())


def _gaze(duration: list[float]) -> Gaze:
    n = len(duration)
    return Gaze(
        np.zeros(n), np.zeros(n), np.array(duration), np.zeros(n), np.array(["a"] * n, object)
    )


def test_the_paper_recipe_is_the_released_codes_heat_map() -> None:
    """3056 x 2544, 501 taps of OpenCV, reflect-101, padded to 3200 x 2560, every fifth pixel."""
    rng = np.random.default_rng(0)
    height, width = 3056, 2544
    rows, columns = rng.integers(0, height, 40), rng.integers(0, width, 40)
    rows[:9] = [0, 0, 1, 249, 250, 251, height - 1, height - 2, 1500]  # borders and one corner
    columns[:9] = [0, 1200, 1, 250, 251, 249, width - 1, width - 251, 1500]
    rows[9:12], columns[9:12] = 700, 800  # three samples on one pixel
    taps = np.exp(-(np.arange(-250, 251.0) ** 2) / (2 * 75.5**2))
    taps /= taps.sum()

    def blurred(places: npt.NDArray[np.int64], length: int, at: npt.NDArray[np.int64]) -> Map:
        """One blurred impulse a point: the blur is separable, so their products are the blur."""
        impulses = np.zeros((len(places), length))
        impulses[np.arange(len(places)), places] = 1.0
        return np.asarray(correlate1d(impulses, taps, axis=1, mode="mirror")[:, at])

    film_rows, film_columns = 5 * np.arange(640) - 72, 5 * np.arange(512) - 8
    seen_rows = (film_rows >= 0) & (film_rows < height)
    seen_columns = (film_columns >= 0) & (film_columns < width)
    reference = np.zeros((640, 512))
    reference[np.ix_(seen_rows, seen_columns)] = blurred(
        rows, height, film_rows[seen_rows]
    ).T @ blurred(columns, width, film_columns[seen_columns])
    reference /= reference.sum()

    frame = np.array([[1 / 5, 0, 2.0], [0, 1 / 5, 14.8]])
    recipe = PRESETS["paper"]
    sigma = sigma_pixels(recipe, height, math.nan, "film")
    assert sigma == pytest.approx(75.5)
    density = _known(
        _render(
            columns + 0.5,
            rows + 0.5,
            sigma=sigma,
            frame=frame,
            original=(height, width),
            size=(640, 512),
            recipe=recipe,
        )
    )
    assert np.abs(density - reference).sum() < 1e-6
    np.testing.assert_array_equal(density > 0, reference > 0)


@pytest.mark.parametrize("border", ["reflect", "cut"])
@pytest.mark.parametrize("step", [1, 3])
def test_density_is_a_blurred_count_map_sampled_at_points(border: str, step: int) -> None:
    rng = np.random.default_rng(1)
    rows, columns = rng.integers(0, FILM[0], 25), rng.integers(0, FILM[1], 25)
    rows[:4], columns[:4] = [0, 0, FILM[0] - 1, 20], [0, 16, FILM[1] - 1, 16]
    counts = np.zeros(FILM)
    np.add.at(counts, (rows, columns), 1.0)
    mode = "mirror" if border == "reflect" else "constant"
    full = gaussian_filter(counts, 3.7, mode=mode, radius=14)  # type: ignore[arg-type]
    reference = full[::step, ::step] / full[::step, ::step].sum()
    # Pixel (i, j) of the map is row step * i, column step * j: its centre maps to step * i + 0.5.
    frame = np.array([[1 / step, 0, 0.5 - 0.5 / step], [0, 1 / step, 0.5 - 0.5 / step]])
    recipe = Recipe(sigma=0.1, border=border, cut=14 / 3.7)  # type: ignore[arg-type]
    size = (reference.shape[0], reference.shape[1])
    density = _known(_render(columns + 0.5, rows + 0.5, frame=frame, size=size, recipe=recipe))
    np.testing.assert_allclose(density, reference, atol=1e-12)


def test_without_a_cut_the_tails_go_on() -> None:
    counts = np.zeros(FILM)
    counts[3, 20] = counts[30, 8] = counts[3, 4] = 1
    full = gaussian_filter(counts, 3.7, mode="mirror", radius=39)
    rows, columns = np.nonzero(counts)
    density = _known(_render(columns + 0.5, rows + 0.5))
    assert np.abs(density - full / full.sum()).sum() < 1e-3
    assert (density > 0).all()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["pad", "crop"]),
    st.builds(
        Augmentation,
        degrees=st.floats(-180, 180),
        scale=st.floats(0.6, 1.6),
        shift=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
        flip=st.booleans(),
    ),
    st.sampled_from(["reflect", "cut"]),
)
def test_density_is_a_sum_of_round_gaussians_on_the_film(
    fit: str, draw: Augmentation, border: str
) -> None:
    size = (14, 17)
    frame = compose(augment_frame(size, draw), fit_frame(FILM, size, fit))  # type: ignore[arg-type]
    x, y = np.array([2.2, 16.4, 31.9]), np.array([39.1, 20.7, 1.8])
    recipe = Recipe(sigma=0.1, border=border)  # type: ignore[arg-type]
    density = _known(_render(x, y, frame=frame, size=size, recipe=recipe))
    reference = _loop(x, y, 3.7, frame, size, reflect=border == "reflect")
    assert np.abs(density - reference).sum() < 2e-3
    assert density.sum() == pytest.approx(1, abs=1e-12)
    outside = ~valid_pixels(FILM, frame, size)[0].numpy()
    assert not density[outside].any()


def test_sigma_follows_an_anisotropic_stretch() -> None:
    size = (41, 99)  # three times as wide, as high as before
    frame = fit_frame(FILM, size, "stretch")
    density = _known(_render([16.5], [20.5], sigma=2.0, frame=frame, size=size))
    columns, rows = np.arange(99) + 0.5, np.arange(41) + 0.5
    across, down = density.sum(0), density.sum(1)
    assert (across * columns).sum() == pytest.approx(49.5)
    assert math.sqrt((across * (columns - 49.5) ** 2).sum()) == pytest.approx(6, rel=1e-3)
    assert math.sqrt((down * (rows - 20.5) ** 2).sum()) == pytest.approx(2, rel=1e-3)


def test_density_of_rotated_points_is_the_rotated_density() -> None:
    size = original = (96, 96)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(28, 68, 8), rng.uniform(28, 68, 8)
    upright = _known(_render(x, y, sigma=5.0, original=original, size=size))
    for degrees in (13.0, -47.0, 90.0, 171.0):
        frame = augment_frame(size, Augmentation(degrees=degrees))
        moved = map_points(frame, x, y)
        of_points = _known(_render(*moved, sigma=5.0, original=original, size=size))
        of_frame = _known(_render(x, y, sigma=5.0, frame=frame, original=original, size=size))
        turned = warp_pixels(torch.from_numpy(upright)[None].float(), frame, size)[0].numpy()
        for density in (of_points, of_frame):
            assert np.corrcoef(density.ravel(), turned.ravel())[0, 1] > 0.999


def test_the_cut_is_ignored_under_a_rotation_and_kept_under_half_a_turn() -> None:
    recipe = Recipe(sigma=0.1, cut=1.0)
    turned = augment_frame(FILM, Augmentation(degrees=10))
    assert (_known(_render([16.5], [20.5], frame=turned, recipe=recipe)) > 0).sum() > 1000
    half = augment_frame(FILM, Augmentation(degrees=180))
    assert (_known(_render([16.5], [20.5], frame=half, recipe=recipe)) > 0).sum() == 7 * 7


def test_shear_is_refused() -> None:
    frame = compose(
        augment_frame(FILM, Augmentation(degrees=3)), fit_frame(FILM, FILM[::-1], "stretch")
    )
    with pytest.raises(ConfigError, match="shear"):
        _render([16.5], [20.5], frame=frame)


def test_mass_is_kept_in_a_corner_when_reflected_and_lost_when_cut() -> None:
    film = (200, 200)
    # One point deep inside, one next to the corner: a quarter of its Gaussian lies on the film.
    for border, share in (("reflect", 1 / 2), ("cut", 0.25 / 1.25)):
        recipe = Recipe(sigma=0.1, border=border)  # type: ignore[arg-type]
        density = _known(
            _render([150, 0.501], [150, 0.501], sigma=10.0, original=film, size=film, recipe=recipe)
        )
        assert density[:75, :75].sum() == pytest.approx(share, abs=0.03)


def test_weights_share_the_mass() -> None:
    film = (40, 160)
    density = _known(
        _render([40, 120], [20, 20], weights=[0.3, 0.1], sigma=4.0, original=film, size=film)
    )
    assert density[:, :80].sum() == pytest.approx(0.75, abs=1e-9)


def test_points_off_the_film_have_no_say_and_none_left_is_none() -> None:
    off_x, off_y = [-0.001, FILM[1], 5.0, 5.0, math.nan], [5.0, 5.0, -3.0, FILM[0], 5.0]
    assert _render(off_x, off_y) is None
    assert _render([], []) is None
    assert _render([5.0], [5.0], weights=[0.0]) is None
    alone = _known(_render([9.5], [8.5]))
    np.testing.assert_array_equal(_known(_render([9.5, *off_x], [8.5, *off_y])), alone)


def test_a_film_beyond_the_grid_is_none() -> None:
    nowhere = np.array([[1.0, 0, 1000], [0, 1, 0]])
    assert _render([5.0], [5.0], frame=nowhere) is None


def test_sigma_is_a_share_of_the_height_or_degrees() -> None:
    assert sigma_pixels(Recipe(sigma=0.1), 500, math.nan, "a") == pytest.approx(50)
    degree = PRESETS["degree"]
    assert sigma_pixels(degree, 500, 31.5, "a") == pytest.approx(31.5)
    with pytest.raises(ConfigError, match="image 'films/7'.* cohort has no pixels per degree"):
        sigma_pixels(degree, 500, math.nan, "films/7")


def test_a_point_counts_one_or_its_seconds() -> None:
    gaze = _gaze([0.25, 1.5])
    assert point_weights(gaze, "count", "a").tolist() == [1, 1]
    assert point_weights(gaze, "duration", "a").tolist() == [0.25, 1.5]
    unknown = _gaze([0.25, math.nan])
    assert point_weights(unknown, "count", "a").tolist() == [1, 1]
    with pytest.raises(ConfigError, match=r"image 'films/7'.*declare the duration column"):
        point_weights(unknown, "duration", "films/7")


def test_counts_keep_multiplicity_and_report_what_is_outside() -> None:
    valid = np.ones((4, 6), bool)
    x = [2.1, 2.9, 2.5, 0.0, 6 - 1e-9, 6.0, -0.2, -1e-12, 3.0, math.nan, 1e17, -1e17]
    y = [1.0, 1.9, 1.2, 0.0, 4 - 1e-9, 1.0, 1.0, 1.0, 4.0, 1.0, 1.0, 1.0]
    counts, outside = count_fixations(x, y, IDENTITY, valid)
    expected = np.zeros((4, 6))
    expected[1, 2], expected[0, 0], expected[3, 5] = 3, 1, 1
    np.testing.assert_array_equal(counts, expected)
    assert outside == 7


def test_counts_drop_what_falls_on_padding() -> None:
    frame = fit_frame((10, 5), (10, 10))  # film in columns 2.5 to 7.5
    valid = valid_pixels((10, 5), frame, (10, 10))[0].numpy()
    counts, outside = count_fixations([-1.0, 0.0, 4.9, 5.0, 6.0], [5.0] * 5, frame, valid)
    # Pixel 2 has its centre on the film's left edge and is film, pixel 7 on its right edge and not.
    assert np.flatnonzero(counts.sum(0)).tolist() == [2]
    assert outside == 4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-20, 60), st.floats(-20, 60)), max_size=30),
    st.builds(
        Augmentation, degrees=st.floats(-180, 180), scale=st.floats(0.5, 2), flip=st.booleans()
    ),
)
def test_counts_equal_those_of_a_loop(
    points: list[tuple[float, float]], draw: Augmentation
) -> None:
    size = (13, 11)
    frame = compose(augment_frame(size, draw), fit_frame(FILM, size))
    valid = valid_pixels(FILM, frame, size)[0].numpy()
    expected, missed = np.zeros(size), 0
    for x, y in points:
        at = frame[:, :2] @ (x, y) + frame[:, 2]
        column, row = math.floor(at[0]), math.floor(at[1])
        if 0 <= row < size[0] and 0 <= column < size[1] and valid[row, column]:
            expected[row, column] += 1
        else:
            missed += 1
    counts, outside = count_fixations([x for x, _ in points], [y for _, y in points], frame, valid)
    np.testing.assert_array_equal(counts, expected)
    assert outside == missed


def _looks(
    x: list[float],
    y: list[float],
    duration: list[float] | None = None,
    ppd: tuple[list[float], list[float]] | None = None,
    windows: list[tuple[float, float, float, float]] | None = None,
    reader: str = "",
) -> Gaze:
    n = len(x)
    optional = {} if ppd is None else {"ppd_x": np.array(ppd[0]), "ppd_y": np.array(ppd[1])}
    if windows is not None:
        optional |= dict(zip(WINDOW_COLUMNS, np.array(windows).T, strict=True))
    seconds = np.ones(n) if duration is None else np.array(duration)
    start = np.concatenate([[0.0], np.cumsum(seconds)[:-1]])
    names = np.array(list(reader or "a" * n), object)
    return Gaze(np.array(x), np.array(y), seconds, start, names, optional)


def _by_recipe(
    gaze: Gaze,
    recipe: Recipe,
    frame: Frame = IDENTITY,
    original: tuple[int, int] = FILM,
    size: tuple[int, int] = FILM,
    degree: float = math.nan,
) -> Map | None:
    valid = valid_pixels(original, frame, size)[0].numpy()
    return gaze_density(gaze, recipe, frame, original, valid, degree, "films/7")


def _reflacx_loop(gaze: Gaze, size: tuple[int, int]) -> Map:
    """The authors' map: one normal density a fixation on the pixels shown, all others 0."""
    total = np.zeros(size)
    x1, y1, x2, y2 = (gaze.optional[name].astype(int) for name in WINDOW_COLUMNS)
    for i in range(len(gaze)):
        sigma_x, sigma_y = gaze.optional["ppd_x"][i], gaze.optional["ppd_y"][i]
        for row in range(y1[i], y2[i]):
            for column in range(x1[i], x2[i]):
                # Pixel indices, as the authors count: the published position is one.
                across = (column - (gaze.x[i] - 0.5)) / sigma_x
                down = (row - (gaze.y[i] - 0.5)) / sigma_y
                pdf = math.exp(-(across**2 + down**2) / 2) / (2 * math.pi * sigma_x * sigma_y)
                total[row, column] += pdf * gaze.duration[i]
    return np.asarray(total / total.sum())


def _zoomed() -> Gaze:
    return _looks(
        [5.5, 20.5, 30.5],
        [8.5, 30.5, 20.5],
        [0.2, 0.7, 0.4],
        ([4.0, 2.0, 6.0], [3.0, 5.0, 6.0]),
        [(0, 0, 33, 41), (12, 20, 29, 36), (25, 10, 33, 41)],
    )


def test_the_reflacx_recipe_is_its_authors_map() -> None:
    gaze = _zoomed()
    density = _known(_by_recipe(gaze, PRESETS["reflacx"]))
    np.testing.assert_allclose(density, _reflacx_loop(gaze, FILM), atol=1e-14)


def test_a_zoomed_fixation_does_not_light_up_what_was_not_shown() -> None:
    gaze = _looks([20.0], [30.0], [0.3], ([9.0], [9.0]), [(12, 20, 29, 36)])
    density = _known(_by_recipe(gaze, PRESETS["reflacx"]))
    rows, columns = np.nonzero(density)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 35, 12, 28)
    small = fit_frame(FILM, (82, 66))
    twice = _known(_by_recipe(gaze, PRESETS["reflacx"], small, size=(82, 66)))
    rows, columns = np.nonzero(twice)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 71, 24, 57)


@pytest.mark.parametrize("degrees", [0, 90, 180, 31])
@pytest.mark.parametrize("flip", [False, True])
def test_windows_and_sigmas_of_points_turn_with_the_film(degrees: float, flip: bool) -> None:
    """Every grid pixel is looked up on the film, whatever the way the density is rendered."""
    size = (50, 50)
    turn = augment_frame(size, Augmentation(degrees=degrees, flip=flip, shift=(0.03, 0.01)))
    frame = compose(turn, fit_frame(FILM, size))
    gaze, recipe = _zoomed(), PRESETS["reflacx"]
    density = _known(_by_recipe(gaze, recipe, frame, size=size))
    back, expected = invert(frame), np.zeros(size)
    x1, y1, x2, y2 = (gaze.optional[name] for name in WINDOW_COLUMNS)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = back[:, :2] @ (column + 0.5, row + 0.5) + back[:, 2]
            if 0 <= x < FILM[1] and 0 <= y < FILM[0]:
                shown = (x >= x1) & (x < x2) & (y >= y1) & (y < y2)
                across = (x - gaze.x) / gaze.optional["ppd_x"]
                down = (y - gaze.y) / gaze.optional["ppd_y"]
                area = gaze.optional["ppd_x"] * gaze.optional["ppd_y"]
                mass = gaze.duration / area * np.exp(-(across**2 + down**2) / 2)
                expected[row, column] = mass[shown].sum()
    np.testing.assert_allclose(density, expected / expected.sum(), atol=1e-9)


def test_the_egd_authors_recipe_is_scipys_blur_of_counts() -> None:
    film = (700, 620)
    rng = np.random.default_rng(3)
    rows, columns = rng.integers(0, film[0], 12), rng.integers(0, film[1], 12)
    rows[:3], columns[:3] = [0, 699, 350], [0, 100, 619]
    counts = np.zeros(film)
    np.add.at(counts, (rows, columns), 1.0)
    blurred = gaussian_filter(counts, 150)  # as they call it: reflect, cut at 4 sigma
    gaze = _looks((columns + 0.5).tolist(), (rows + 0.5).tolist())
    density = _known(_by_recipe(gaze, PRESETS["egd_authors"], original=film, size=film))
    assert np.abs(density - blurred / blurred.sum()).sum() < 1e-9


def test_a_symmetric_border_is_not_a_mirrored_one() -> None:
    counts = np.zeros(FILM)
    counts[0, 16] = counts[20, 32] = 1
    gaze = _looks([16.5, 32.5], [0.5, 20.5])
    for border, mode in (("symmetric", "reflect"), ("reflect", "mirror")):
        recipe = Recipe(sigma=3.7, unit="pixel", border=border, cut=4.0)  # type: ignore[arg-type]
        full = gaussian_filter(counts, 3.7, mode=mode, radius=14)  # type: ignore[arg-type]
        density = _known(_by_recipe(gaze, recipe))
        np.testing.assert_allclose(density, full / full.sum(), atol=1e-9)


def test_the_gazegnn_recipe_is_its_log_map_on_single_pixels() -> None:
    gaze = _looks([3.5, 20.5, 9.5], [4.5, 30.5, 7.5], [0.3, 0.5, 0.1])
    end = gaze.start + gaze.duration
    times = [end[0], end[1] - end[0], end[2] - end[1]]
    theirs = np.zeros(FILM)
    theirs[[4, 30, 7], [3, 20, 9]] = times
    theirs = np.log(theirs + 0.01)
    theirs = (theirs - theirs.min()) / (theirs.max() - theirs.min())
    density = _known(_by_recipe(gaze, PRESETS["gazegnn"]))
    np.testing.assert_allclose(density, theirs / theirs.sum(), atol=1e-14)


def test_intervals_start_anew_with_each_reader() -> None:
    gaze = _looks([1.0] * 4, [1.0] * 4, [0.2, 0.4, 0.3, 0.6], reader="aabb")
    gaze.start[:] = [0.1, 0.5, 0.2, 1.0]
    weights = point_weights(gaze, "log_interval", "films/7")
    np.testing.assert_allclose(weights, np.log1p(100 * np.array([0.3, 0.6, 0.5, 1.1])))
    gaze.start[2] = math.nan
    with pytest.raises(ConfigError, match=r"films/7.*weighs by log_interval"):
        point_weights(gaze, "log_interval", "films/7")


def test_single_pixels_follow_the_frame_and_none_on_film_is_none() -> None:
    frame = fit_frame((20, 12), (10, 10))  # half the size, film in columns 2 to 7
    gaze = _looks([1.0, 1.9, 11.0], [2.0, 2.1, 19.0])
    density = _known(_by_recipe(gaze, Recipe(sigma=0), frame, (20, 12), (10, 10)))
    expected = np.zeros((10, 10))
    expected[1, 2], expected[9, 7] = 2 / 3, 1 / 3
    np.testing.assert_allclose(density, expected)
    assert _by_recipe(_looks([-5.0], [3.0]), Recipe(sigma=0)) is None


def test_a_recipe_that_asks_for_the_unknown_is_refused() -> None:
    gaze = _looks([5.0, 6.0], [5.0, 6.0])
    with pytest.raises(ConfigError, match=r"films/7.*degrees of each point.*unit 'degree'"):
        _by_recipe(gaze, PRESETS["reflacx"])
    half = _looks([5.0, 6.0], [5.0, 6.0], ppd=([3.0, math.nan], [3.0, 3.0]))
    with pytest.raises(ConfigError, match="degrees of each point"):
        point_sigmas(half, PRESETS["reflacx"], 41, math.nan, "films/7")
    known = _looks([5.0, 6.0], [5.0, 6.0], ppd=([3.0, 3.0], [3.0, 3.0]))
    with pytest.raises(ConfigError, match=r"films/7.*on the screen.*set window to false"):
        _by_recipe(known, PRESETS["reflacx"])
    unknown = [(0.0, 0.0, 33.0, math.nan)] * 2
    shown = _looks([5.0, 6.0], [5.0, 6.0], ppd=([3.0, 3.0], [3.0, 3.0]), windows=unknown)
    with pytest.raises(ConfigError, match="on the screen"):
        _by_recipe(shown, PRESETS["reflacx"])
    with pytest.raises(ConfigError, match=r"films/7.*150 original pixels.*height of 41.*full size"):
        _by_recipe(gaze, PRESETS["egd_authors"])


def test_sigma_of_a_point_is_that_of_the_film_where_it_has_none_of_its_own() -> None:
    gaze = _looks([5.0, 6.0], [5.0, 6.0])
    across, down = point_sigmas(gaze, Recipe(sigma=0.1), 500, math.nan, "a")
    assert across.tolist() == down.tolist() == [50, 50]
    across, down = point_sigmas(gaze, Recipe(sigma=7, unit="pixel"), 500, math.nan, "a")
    assert across.tolist() == down.tolist() == [7, 7]
    own = _looks([5.0, 6.0], [5.0, 6.0], ppd=([3.0, 4.0], [5.0, 6.0]))
    across, down = point_sigmas(own, Recipe(sigma=2, unit="point"), 500, math.nan, "a")
    assert (across.tolist(), down.tolist()) == ([6, 8], [10, 12])


@pytest.mark.parametrize("flip", [False, True])
def test_many_points_in_tiles_equal_few_in_one_product(flip: bool) -> None:
    """The first of many points, one by one, and the many at once."""
    film, size = (300, 410), (150, 205)
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 410, 700), rng.uniform(0, 300, 700)
    frame = fit_frame(film, size)
    if flip:
        frame = compose(augment_frame(size, Augmentation(flip=True)), frame)
    recipe = Recipe(sigma=0.03, cut=3.0)
    whole = _known(_render(x, y, sigma=9.0, frame=frame, original=film, size=size, recipe=recipe))
    parts = np.zeros(size)
    for begin in range(0, 700, 100):
        part = slice(begin, begin + 100)
        one = _render(
            x[part], y[part], sigma=9.0, frame=frame, original=film, size=size, recipe=recipe
        )
        parts += _known(one)
    # Reflection keeps all mass on the film, so that equal parts have equal sums.
    np.testing.assert_allclose(whole, parts / 7, atol=2e-7)

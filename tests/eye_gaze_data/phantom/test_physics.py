import numpy as np
import numpy.typing as npt
import pytest

from eye_gaze_data.phantom.physics import (
    Exposure,
    Placement,
    broad_blur,
    detected,
    draw_tubes,
    expose,
    root,
    smooth_noise,
    smoothstep,
    upsample,
)

UPRIGHT = Placement(256, 256, 1.0, 0.0, (0.0, 0.0))
TILTED = Placement(120, 90, 1.07, 0.06, (0.7, -1.2))


def _exposure(dose: float = 1.0) -> Exposure:
    return Exposure(dose, scatter=0.3, low=0.5, high=4.0, gamma=1.0, seed=(1,))


@pytest.mark.parametrize("placement", [UPRIGHT, TILTED])
def test_grid_and_to_pixels_are_inverse(placement: Placement) -> None:
    x, y = placement.grid()
    assert x.shape == (placement.height, placement.width)
    assert x.dtype == np.float32
    across, down = placement.to_pixels(x.ravel(), y.ravel())
    rows, columns = np.mgrid[0 : placement.height, 0 : placement.width]
    np.testing.assert_allclose(across, columns.ravel() + 0.5, atol=1e-3)
    np.testing.assert_allclose(down, rows.ravel() + 0.5, atol=1e-3)


def test_the_short_side_spans_36_centimetres() -> None:
    x, y = UPRIGHT.grid()
    assert x[0, -1] - x[0, 0] == pytest.approx(36 * 255 / 256, rel=1e-5)
    assert y[-1, 0] - y[0, 0] == pytest.approx(36 * 255 / 256, rel=1e-5)


def test_a_box_is_clipped_to_the_film() -> None:
    assert UPRIGHT.box_to_pixels((-18, -50, 0, 9)) == pytest.approx((0, 0, 128, 192))


def test_a_thumbnail_keeps_the_field() -> None:
    small = TILTED.thumbnail(30)
    assert (small.height, small.width) == (40, 30)
    np.testing.assert_allclose(
        small.to_pixels([3.0], [4.0]), np.array(TILTED.to_pixels([3.0], [4.0])) / 3
    )


def test_smoothstep_and_root_stop_at_their_ends() -> None:
    values = np.array([-2, 0, 0.5, 1, 4], np.float32)
    np.testing.assert_allclose(smoothstep(values), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(root(values), [0, 0, np.sqrt(0.5), 1, 2])


def test_a_tube_is_as_deep_as_wide() -> None:
    path = np.zeros((256, 256), np.float32)
    draw_tubes(path, UPRIGHT, np.array([[-6.0, 0, 1.0, 6.0, 0, 1.0]]))
    assert path.max() == pytest.approx(2.0, rel=0.01)
    # Its cross-section is a disc.
    column = path[:, 128].sum() / UPRIGHT.pixels_per_centimetre
    assert column == pytest.approx(np.pi, rel=0.02)


def test_a_tube_thinner_than_a_pixel_keeps_its_cross_section() -> None:
    path = np.zeros((256, 256), np.float32)
    draw_tubes(path, UPRIGHT, np.array([[-6.0, 0.07, 0.03, 6.0, 0.07, 0.03]]))
    column = path[:, 100:150].sum(0).mean() / UPRIGHT.pixels_per_centimetre
    assert column == pytest.approx(np.pi * 0.03 * 0.03 * (0.7 / 7.111 / 0.03), rel=0.15)


def test_tubes_that_meet_do_not_add_and_those_off_the_film_do_not_matter() -> None:
    once, twice = np.zeros((2, 256, 256), np.float32)
    tube = np.array([[-6.0, 0, 0.5, 6.0, 3.0, 0.2]])
    draw_tubes(once, UPRIGHT, tube)
    draw_tubes(twice, UPRIGHT, np.concatenate([tube, tube, tube + 100, tube - 100]))
    np.testing.assert_array_equal(once, twice)


@pytest.mark.parametrize("shape", [(64, 64), (40, 100), (301, 200)])
def test_resampling_keeps_a_constant(shape: tuple[int, int]) -> None:
    coarse = np.full((7, 5), 3.0, np.float32)
    np.testing.assert_allclose(upsample(coarse, shape), 3.0, rtol=1e-5)
    np.testing.assert_allclose(broad_blur(np.full(shape, 2.0, np.float32), 0.05), 2.0, rtol=1e-4)


def test_broad_blur_spreads_a_point_by_its_sigma() -> None:
    image = np.zeros((200, 200), np.float32)
    image[98:102, 98:102] = 1
    blurred = broad_blur(image, 0.08)
    weights = blurred.sum(0) / blurred.sum()
    position = np.arange(200) + 0.5
    spread = np.sqrt((weights * (position - 100) ** 2).sum())
    # 16 pixels, and a little of the coarse grid and its splines.
    assert spread == pytest.approx(16, abs=1.5)


def test_smooth_noise_is_about_standard_normal_and_of_the_asked_grain() -> None:
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_noise(rng, (64, 96), 16) for _ in range(40)])
    assert abs(fields.mean()) < 0.05
    assert fields.std() == pytest.approx(1, abs=0.15)
    neighbour = np.corrcoef(fields[:, :, :-1].ravel(), fields[:, :, 1:].ravel())[0, 1]
    far = np.corrcoef(fields[:, :, :-16].ravel(), fields[:, :, 16:].ravel())[0, 1]
    assert neighbour > 0.9
    assert abs(far) < 0.1


def test_beer_lambert_and_the_veil_of_scatter() -> None:
    thick = np.full((64, 64), 3.0, np.float32)
    np.testing.assert_allclose(detected(thick, 0.0), np.exp(-3), rtol=1e-4)
    np.testing.assert_allclose(detected(thick, 0.4), 1.4 * np.exp(-3), rtol=1e-3)


def _flat(dose: float) -> npt.NDArray[np.floating]:
    # Away from the border, where the coarse blur is exact.
    film = expose(np.full((128, 128), 2.5, np.float32), _exposure(dose), UPRIGHT.thumbnail(128))
    return film[16:-16, 16:-16]


def test_quantum_noise_falls_with_the_root_of_the_dose() -> None:
    low, high = _flat(1.0), _flat(16.0)
    assert low.mean() == pytest.approx(high.mean(), abs=2e-3)
    assert low.std() / high.std() == pytest.approx(4, rel=0.1)


def test_more_attenuation_is_brighter_and_all_stays_in_range() -> None:
    ramp = np.repeat(np.linspace(0, 12, 128, dtype=np.float32)[None], 128, 0)
    film = expose(ramp, _exposure(), UPRIGHT.thumbnail(128))
    assert film.dtype == np.float32
    assert film.min() >= 0
    assert film.max() <= 1
    profile = film.mean(0)
    assert profile[5] < 0.1
    assert profile[60] > profile[35] > profile[15]

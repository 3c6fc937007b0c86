import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eye_gaze_data.errors import ConfigError
from eye_gaze_data.geometry import (
    Augmentation,
    Fit,
    Frame,
    augment_frame,
    compose,
    fit_frame,
    grid_centres,
    invert,
    map_boxes,
    map_points,
    scales,
    valid_pixels,
    warp_pixels,
)

Floats = npt.NDArray[np.float64]

sides = st.integers(3, 60)
sizes = st.tuples(sides, sides)
draws = st.builds(
    Augmentation,
    degrees=st.floats(-180, 180),
    scale=st.floats(0.3, 3),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    flip=st.booleans(),
)
quick = settings(max_examples=60, deadline=None)


def _square(frame: Frame) -> Floats:
    return np.vstack([frame, [0.0, 0.0, 1.0]])


def _bilinear(pixels: Floats, back: Frame, size: tuple[int, int]) -> Floats:
    """Pixel by pixel, clamped at the film's edge, zero beyond it."""
    height, width = pixels.shape
    moved = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = back[:, :2] @ (column + 0.5, row + 0.5) + back[:, 2]
            if not (0 <= x < width and 0 <= y < height):
                continue
            left, top = math.floor(x - 0.5), math.floor(y - 0.5)
            for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
                share = (1 - abs(x - 0.5 - left - j)) * (1 - abs(y - 0.5 - top - i))
                inner = min(max(top + i, 0), height - 1), min(max(left + j, 0), width - 1)
                moved[row, column] += share * pixels[inner]
    return moved


def _exact_valid(
    original: tuple[int, int], size: tuple[int, int], fit: Fit
) -> npt.NDArray[np.bool_]:
    ratios = [Fraction(to, of) for to, of in zip(size, original, strict=True)]
    if fit != "stretch":
        ratios = [min(ratios) if fit == "pad" else max(ratios)] * 2
    axes = []
    for of, to, ratio in zip(original, size, ratios, strict=True):
        shift = (to - ratio * of) / 2
        axes.append([0 <= (i + Fraction(1, 2) - shift) / ratio < of for i in range(to)])
    return np.logical_and.outer(*axes)


@quick
@given(sizes, sizes, st.sampled_from(["pad", "crop"]), draws)
def test_inverse_brings_points_back(
    original: tuple[int, int], size: tuple[int, int], fit: Fit, draw: Augmentation
) -> None:
    frame = compose(augment_frame(size, draw), fit_frame(original, size, fit))
    x, y = np.array([0.0, 1.5, original[1]]), np.array([0.0, original[0], 2.25])
    back_x, back_y = map_points(invert(frame), *map_points(frame, x, y))
    np.testing.assert_allclose(back_x, x, atol=1e-9)
    np.testing.assert_allclose(back_y, y, atol=1e-9)


@quick
@given(sizes, draws, draws)
def test_compose_and_invert_are_those_of_square_matrices(
    size: tuple[int, int], inner: Augmentation, outer: Augmentation
) -> None:
    first, second = augment_frame(size, inner), augment_frame(size, outer)
    np.testing.assert_allclose(
        _square(compose(second, first)), _square(second) @ _square(first), atol=1e-9
    )
    np.testing.assert_allclose(_square(invert(first)), np.linalg.inv(_square(first)), atol=1e-9)


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        ("pad", [[0.6, 0, 15], [0, 0.6, 0]]),
        ("crop", [[1.2, 0, 0], [0, 1.2, -30]]),
        ("stretch", [[1.2, 0, 0], [0, 0.6, 0]]),
    ],
)
def test_fit_frame_has_its_closed_form(fit: Fit, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(fit_frame((100, 50), (60, 60), fit), expected, atol=1e-12)


def test_augmentation_turns_enlarges_shifts_and_mirrors_about_the_centre() -> None:
    size = (40, 60)
    x, y = np.array([30.0, 30.0, 40.0]), np.array([20.0, 10.0, 20.0])

    def moved(draw: Augmentation) -> list[list[float]]:
        points = np.stack(map_points(augment_frame(size, draw), x, y), 1)
        return [[round(float(value), 9) for value in point] for point in points]

    assert moved(Augmentation()) == [[30, 20], [30, 10], [40, 20]]
    # Clockwise on the screen: what was above the centre comes to its right.
    assert moved(Augmentation(degrees=90)) == [[30, 20], [40, 20], [30, 30]]
    assert moved(Augmentation(scale=2)) == [[30, 20], [30, 0], [50, 20]]
    assert moved(Augmentation(shift=(0.5, -0.25))) == [[60, 10], [60, 0], [70, 10]]
    assert moved(Augmentation(flip=True)) == [[30, 20], [30, 10], [20, 20]]


@quick
@given(sizes, st.lists(st.floats(-10, 70), min_size=1, max_size=5))
def test_flip_maps_x_to_width_minus_x(size: tuple[int, int], x: list[float]) -> None:
    y = np.arange(len(x), dtype=np.float64)
    flipped_x, flipped_y = map_points(augment_frame(size, Augmentation(flip=True)), x, y)
    np.testing.assert_allclose(flipped_x, size[1] - np.array(x), atol=1e-9)
    np.testing.assert_allclose(flipped_y, y, atol=1e-9)


def test_identity_returns_the_very_pixels() -> None:
    pixels = torch.rand(2, 7, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(warp_pixels(pixels, np.eye(2, 3), (7, 5)), pixels)


def test_a_hundred_thousandth_of_a_scale_is_no_identity() -> None:
    pixels = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(0))
    frame = augment_frame((64, 64), Augmentation(scale=1.00001))
    assert not torch.equal(warp_pixels(pixels, frame, (64, 64)), pixels)


def test_flip_and_whole_shifts_move_pixels_exactly() -> None:
    pixels = torch.rand(1, 6, 9, generator=torch.Generator().manual_seed(1))
    flipped = warp_pixels(pixels, augment_frame((6, 9), Augmentation(flip=True)), (6, 9))
    torch.testing.assert_close(flipped, pixels.flip(2), atol=1e-6, rtol=0)
    shifted = warp_pixels(pixels, np.array([[1.0, 0, 2], [0, 1, -1]]), (6, 9))
    torch.testing.assert_close(shifted[:, :5, 2:], pixels[:, 1:, :7], atol=1e-6, rtol=0)
    assert not shifted[:, 5].any()
    assert not shifted[:, :, :2].any()


@pytest.mark.parametrize(
    "draw",
    [
        Augmentation(degrees=17, shift=(0.1, -0.05)),
        Augmentation(degrees=-90),
        Augmentation(degrees=120, flip=True),
        Augmentation(scale=1.7, degrees=5),
    ],
)
def test_warp_is_bilinear_between_pixel_centres(draw: Augmentation) -> None:
    pixels = np.random.default_rng(0).random((11, 14))
    frame = compose(augment_frame((13, 9), draw), np.array([[1.0, 0, -2], [0, 1, 1]]))
    warped = warp_pixels(torch.from_numpy(pixels)[None].float(), frame, (13, 9))[0].numpy()
    np.testing.assert_allclose(warped, _bilinear(pixels, invert(frame), (13, 9)), atol=2e-5)


def test_shrinking_is_antialiased_as_pillow_does_it() -> None:
    pixels = np.random.default_rng(0).random((61, 47)).astype(np.float32)
    size = (20, 12)
    warped = warp_pixels(torch.from_numpy(pixels)[None], fit_frame((61, 47), size, "stretch"), size)
    expected = Image.fromarray(pixels).resize((12, 20), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(warped[0].numpy(), np.asarray(expected), atol=1e-5)


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize(
    "draw",
    [
        Augmentation(),
        Augmentation(degrees=23),
        Augmentation(scale=0.7),
        Augmentation(scale=1.6),
        Augmentation(shift=(0.11, -0.07)),
        Augmentation(flip=True),
        Augmentation(degrees=-140, scale=0.8, shift=(-0.05, 0.1), flip=True),
    ],
)
@pytest.mark.parametrize(("original", "size"), [((61, 47), (33, 29)), ((37, 53), (64, 75))])
def test_a_bright_spot_lands_where_its_point_is_mapped(
    original: tuple[int, int], size: tuple[int, int], draw: Augmentation, fit: Fit
) -> None:
    x, y = original[1] * 0.62, original[0] * 0.41  # off the centre and off every axis of symmetry
    columns, rows = np.arange(original[1]) + 0.5, np.arange(original[0])[:, None] + 0.5
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.8**2)).astype(np.float32)
    frame = compose(augment_frame(size, draw), fit_frame(original, size, fit))
    warped = warp_pixels(torch.from_numpy(spot)[None], frame, size)[0].numpy()
    found = (
        (warped * (np.arange(size[1]) + 0.5)).sum() / warped.sum(),
        (warped * (np.arange(size[0])[:, None] + 0.5)).sum() / warped.sum(),
    )
    mapped = np.ravel(map_points(frame, [x], [y]))
    np.testing.assert_allclose(found, mapped, atol=0.06)


def test_nearest_keeps_a_mask_binary() -> None:
    mask = (np.random.default_rng(0).random((1, 40, 40)) > 0.5).astype(np.float32)
    frame = augment_frame((21, 33), Augmentation(degrees=30, scale=0.4))
    moved = warp_pixels(torch.from_numpy(mask), frame, (21, 33), mode="nearest")
    assert set(moved.numpy().ravel().tolist()) == {0.0, 1.0}


@quick
@given(sizes, sizes, st.sampled_from(["pad", "crop", "stretch"]))
def test_film_is_exact_and_a_white_film_is_white_on_it(
    original: tuple[int, int], size: tuple[int, int], fit: Fit
) -> None:
    frame = fit_frame(original, size, fit)
    valid = valid_pixels(original, frame, size)
    np.testing.assert_array_equal(valid[0].numpy(), _exact_valid(original, size, fit))
    white = warp_pixels(torch.ones(1, *original), frame, size)
    torch.testing.assert_close(white, valid.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("original", "size"),
    [((48, 48), (36, 17)), ((20, 30), (41, 57)), ((54, 45), (42, 56)), ((33, 33), (19, 30))],
)
def test_a_centre_on_the_border_is_not_left_to_rounding(
    original: tuple[int, int], size: tuple[int, int]
) -> None:
    frame = fit_frame(original, size)
    valid = valid_pixels(original, frame, size)
    np.testing.assert_array_equal(valid[0].numpy(), _exact_valid(original, size, "pad"))
    white = warp_pixels(torch.ones(1, *original), frame, size)
    torch.testing.assert_close(white, valid.float(), atol=1e-5, rtol=0)


def test_grid_centres_are_mapped_back() -> None:
    x, y = grid_centres(np.array([[2.0, 0, 1], [0, 3, -1]]), (2, 3))
    np.testing.assert_allclose(x, [[2, 4, 6], [2, 4, 6]])
    np.testing.assert_allclose(y, [[0.5, 0.5, 0.5], [3.5, 3.5, 3.5]])


def test_boxes_are_clipped_dropped_and_named() -> None:
    boxes = np.array(
        [
            [2.0, 1, 5, 4],  # inside
            [-4, 2, 4, 6],  # half of it is left
            [18.5, 2, 40, 6],  # 7 % of it is left
            [30, 30, 40, 40],  # outside
            [20, 2, 30, 6],  # touches the edge from outside
        ]
    )
    moved, kept = map_boxes(np.eye(2, 3), boxes, (10, 20))
    np.testing.assert_allclose(moved, [[2, 1, 5, 4], [0, 2, 4, 6]])
    assert kept.tolist() == [True, True, False, False, False]
    moved, kept = map_boxes(np.eye(2, 3), boxes, (10, 20), keep_area=0)
    expected = np.array([[2, 1, 5, 4], [0, 2, 4, 6], [18.5, 2, 20, 6]])
    np.testing.assert_allclose(moved, expected)
    assert kept.tolist() == [True, True, True, False, False]


def test_no_boxes_stay_none() -> None:
    moved, kept = map_boxes(np.eye(2, 3), np.zeros((0, 4)), (10, 20))
    assert moved.shape == (0, 4)
    assert kept.shape == (0,)


def test_a_box_is_flipped_and_turned() -> None:
    box = np.array([[2.0, 1, 5, 3]])
    flipped, _ = map_boxes(augment_frame((10, 20), Augmentation(flip=True)), box, (10, 20))
    np.testing.assert_allclose(flipped, [[15, 1, 18, 3]])
    turned, _ = map_boxes(augment_frame((20, 20), Augmentation(degrees=90)), box, (20, 20))
    np.testing.assert_allclose(turned, [[17, 2, 19, 5]])
    half, _ = map_boxes(augment_frame((20, 20), Augmentation(degrees=45)), box + 7, (20, 20))
    side = 5 / math.sqrt(2)  # 3 wide and 2 high, on its corner
    np.testing.assert_allclose(half[0, 2:] - half[0, :2], [side, side])


@quick
@given(
    sizes,
    draws,
    st.tuples(st.floats(0, 20), st.floats(0, 20), st.floats(1, 20), st.floats(1, 20)),
)
def test_a_box_is_the_hull_of_its_corner_points(
    size: tuple[int, int], draw: Augmentation, sized: tuple[float, float, float, float]
) -> None:
    left, top, width, height = sized
    frame = augment_frame(size, draw)
    corners = [(left, top), (left + width, top), (left, top + height), (left + width, top + height)]
    x, y = map_points(frame, [x for x, _ in corners], [y for _, y in corners])
    whole = np.array([[x.min(), y.min(), x.max(), y.max()]])
    box = np.array([[left, top, left + width, top + height]])
    everywhere = (10_000, 10_000)
    apart = np.array([[1.0, 0, 5000], [0, 1, 5000]])  # far from the edges: nothing is clipped
    moved, kept = map_boxes(compose(apart, frame), box, everywhere)
    assert kept.all()
    np.testing.assert_allclose(moved, whole + 5000, atol=1e-7)


@quick
@given(sizes, draws)
def test_scales_are_lengths_of_the_mapped_axes(size: tuple[int, int], draw: Augmentation) -> None:
    frame = augment_frame(size, draw)
    x, y = map_points(frame, [0, 1, 0], [0, 0, 1])
    lengths = math.dist((x[0], y[0]), (x[1], y[1])), math.dist((x[0], y[0]), (x[2], y[2]))
    assert scales(frame) == pytest.approx(lengths, rel=1e-9)
    assert scales(frame) == pytest.approx((draw.scale, draw.scale), rel=1e-9)


def test_scales_of_a_stretch_differ_and_shear_is_refused() -> None:
    stretch = fit_frame((100, 50), (60, 60), "stretch")
    assert scales(stretch) == pytest.approx((1.2, 0.6))
    with pytest.raises(ConfigError, match=r"without shear.*use fit 'pad' or 'crop'"):
        scales(compose(augment_frame((60, 60), Augmentation(degrees=5)), stretch))
    with pytest.raises(ConfigError, match="without shear"):
        scales(np.array([[1.0, 0.2, 0], [0, 1, 0]]))
    # Half a turn of a stretch is upright again.
    turned = compose(augment_frame((60, 60), Augmentation(degrees=180)), stretch)
    assert scales(turned) == pytest.approx((1.2, 0.6))

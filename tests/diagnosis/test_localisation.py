"""Localisation against sums by hand; chance levels; what is undefined; running means."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from diagnosis.evaluators import MassInside, PointingGame
from diagnosis.metrics import BoxRegion, lift, mass_inside, pointing_game
from eye_gaze_data.errors import DataError

Array = npt.NDArray[np.float64]


def region(*boxes: tuple[float, float, float, float], size: tuple[int, int] = (6, 8)) -> BoxRegion:
    given = np.array(boxes, np.float64)
    return BoxRegion.of(given, size, tolerance=0.13)  # about a pixel of 8


def noise(size: tuple[int, int] = (6, 8)) -> Array:
    values: Array = np.random.default_rng(0).random(size)
    return values


def test_a_box_holds_the_pixels_whose_centres_it_holds() -> None:
    one = region((1, 2, 3, 4))
    assert np.argwhere(one.inside).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    assert one.area == pytest.approx(4 / 48)
    # Within 1.04 pixels of the box: its neighbours by side and, at 0.71, by corner.
    assert one.near.sum() == 16
    assert one.near_area == pytest.approx(16 / 48)
    assert region((1.6, 2, 3, 4)).inside.sum() == 2


def test_boxes_that_overlap_count_once() -> None:
    both = region((1, 2, 3, 4), (2, 2, 4, 4))
    assert both.inside.sum() == 6
    values = noise()
    assert mass_inside(values, both) == pytest.approx(values[2:4, 1:4].sum() / values.sum())


def test_a_uniform_map_scores_exactly_its_chance() -> None:
    one = region((1, 2, 3, 4), (5, 0, 8, 2))
    assert mass_inside(np.full((6, 8), 0.3), one) == pytest.approx(one.area)
    assert pointing_game(np.full((6, 8), 0.3), one) == pytest.approx(one.near_area)


def test_mass_and_highest_pixel_by_hand() -> None:
    values = np.zeros((6, 8))
    values[2, 1], values[5, 7] = 3, 1
    assert mass_inside(values, region((1, 2, 3, 4))) == 0.75
    assert pointing_game(values, region((1, 2, 3, 4))) == 1
    assert pointing_game(values, region((5, 3, 7, 5))) == 0
    values[5, 7] = 3  # a tie, one of two beside the box (5, 3, 7, 5)
    assert pointing_game(values, region((5, 3, 7, 5))) == 0.5


def test_the_tolerance_is_a_share_of_the_long_side() -> None:
    values = np.zeros((100, 50))
    values[52, 25] = 1
    for tolerance, hit in ((0.02, 0), (0.03, 1)):  # the centre lies 2.5 pixels below the box
        box = BoxRegion.of(np.array([[20, 40, 30, 50.0]]), (100, 50), tolerance=tolerance)
        assert pointing_game(values, box) == hit


def test_padding_has_no_say() -> None:
    film = np.ones((6, 8), bool)
    film[:, 6:] = False
    values = noise()
    values[:, 6:] = np.nan
    one = BoxRegion.of(np.array([[4.0, 0, 8, 6]]), (6, 8), film)
    assert one.area == pytest.approx(12 / 36)
    inside = values[:, 4:6].sum() / values[:, :6].sum()
    assert mass_inside(values, one) == pytest.approx(inside)
    assert pointing_game(values, one) in {0.0, 1.0}


def test_what_has_no_score_is_nan() -> None:
    one, values = region((1, 2, 3, 4)), noise()
    nowhere = region((1.6, 2.6, 1.9, 2.9))  # between the centres
    assert math.isnan(nowhere.area)
    assert math.isnan(nowhere.near_area)
    assert math.isnan(mass_inside(values, nowhere))
    assert math.isnan(pointing_game(values, nowhere))
    assert math.isnan(mass_inside(np.zeros((6, 8)), one))
    assert math.isnan(mass_inside(values - 0.5, one))
    for bad in (np.nan, np.inf):
        broken = values.copy()
        broken[0, 0] = bad
        assert math.isnan(mass_inside(broken, one))
    broken[0, 0] = np.nan
    assert math.isnan(pointing_game(broken, one))


@pytest.mark.parametrize("box", [(3, 2, 1, 4), (1, 4, 3, 4), (1, math.nan, 3, 4)])
def test_a_box_turned_round_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(DataError, match="must have x1 < x2 and y1 < y2"):
        region(box)


def test_a_map_of_another_grid_is_refused() -> None:
    with pytest.raises(DataError, match=r"a map on the boxes' grid \(6, 8\): found \(6, 9\)"):
        mass_inside(np.ones((6, 9)), region((1, 2, 3, 4)))


def test_the_lift_is_a_ratio_of_means() -> None:
    inside, area = np.array([0.5, 0.1, math.nan]), np.array([0.1, 0.1, 0.9])
    assert lift(inside, area) == pytest.approx(3)
    # A tiny box, hit, does not decide it: the mean of the ratios would be 50.5.
    assert lift(np.array([0.1, 0.5]), np.array([0.001, 0.499])) == pytest.approx(1.2)
    assert math.isnan(lift(np.array([math.nan]), np.array([0.1])))


def test_running_means_are_over_defined_maps_whatever_the_batches() -> None:
    maps = torch.from_numpy(np.stack([noise()] * 3))[:, None].float()
    maps[1] = maps[1].flip(2)
    maps[2] = 0
    boxes = [torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[4.0, 0, 8, 3]]), torch.zeros(0, 4)]
    for metric, function in ((MassInside(), mass_inside), (PointingGame(), pointing_game)):
        values = [
            function(maps[i, 0].double().numpy(), BoxRegion.of(boxes[i].numpy(), (6, 8)))
            for i in range(2)
        ]
        metric.update(maps, boxes)
        assert metric.compute().item() == pytest.approx(np.mean(values))
        metric.reset()
        for i in range(3):
            metric.update(maps[i : i + 1], boxes[i : i + 1])
        assert metric.compute().item() == pytest.approx(np.mean(values))
        metric.reset()
        metric.update(maps[2:], boxes[2:])
        assert math.isnan(metric.compute().item())


def test_padding_is_left_out_of_running_means_too() -> None:
    maps = torch.from_numpy(noise())[None, None]
    valid = torch.ones(1, 1, 6, 8, dtype=torch.bool)
    valid[..., 6:] = False
    metric = MassInside()
    metric.update(maps, [torch.tensor([[4.0, 0, 8, 6]])], valid)
    expected = maps[..., 4:6].sum() / maps[..., :6].sum()
    assert metric.compute().item() == pytest.approx(expected.item())

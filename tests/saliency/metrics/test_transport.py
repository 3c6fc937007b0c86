"""EMD against closed forms and an exact solver that knows all routes."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

from eye_gaze_data.errors import DataError
from saliency.metrics import earth_movers_distance, transport
from saliency.metrics.transport import transport_cost


def emd_by_all_routes(supply: np.ndarray, demand: np.ndarray, positions: np.ndarray) -> float:
    """The whole linear programme, common mass and zero flows included."""
    n = len(supply)
    rows, columns = np.repeat(np.eye(n), n, 1), np.tile(np.eye(n), n)
    found = linprog(
        cdist(positions, positions).ravel(),
        A_eq=np.r_[rows, columns],
        b_eq=np.r_[supply, demand],
        method="highs-ipm",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert found.fun is not None
    return float(found.fun)


def one_hot(shape: tuple[int, int], row: int, column: int) -> torch.Tensor:
    plane = torch.zeros(1, *shape)
    plane[0, row, column] = 1
    return plane


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_whole_programme(seed: int) -> None:
    rng = np.random.default_rng(seed)
    supply, demand = rng.gamma(0.4, size=(2, 30))
    supply[rng.random(30) < 0.3] = 0
    supply, demand = supply / supply.sum(), demand / demand.sum()
    positions = rng.random((30, 2))
    expected = emd_by_all_routes(supply, demand, positions)
    assert transport_cost(supply, demand, positions) == pytest.approx(expected, abs=1e-9)


def test_agrees_with_scipy_in_one_dimension() -> None:
    rng = np.random.default_rng(5)
    supply, demand = rng.gamma(0.5, size=(2, 60))
    supply, demand = supply / supply.sum(), demand / demand.sum()
    places = np.sort(rng.random(60))
    expected = wasserstein_distance(places, places, supply, demand)
    assert transport_cost(supply, demand, places[:, None]) == pytest.approx(expected, abs=1e-10)


def test_a_shifted_spot_moves_by_its_shift() -> None:
    """Cells of 2 pixels, so whole cells are moved: 8 pixels right and 6 down are 10."""
    first, second = one_hot((64, 48), 21, 11), one_hot((64, 48), 27, 19)
    found = earth_movers_distance(first, second)
    assert found.values.item() == pytest.approx(10 / math.hypot(64, 48), abs=1e-12)
    assert earth_movers_distance(first, first).values.item() == 0


def test_the_grid_does_not_depend_on_the_size_of_the_map() -> None:
    """32 cells, whatever the size: a map and its enlargement are equally far."""
    rng = np.random.default_rng(6)
    prediction, truth = torch.from_numpy(
        rng.random((2, 1, 8, 6)) * (rng.random((2, 1, 8, 6)) < 0.2)
    )
    small = earth_movers_distance(prediction, truth).values.item()
    large = earth_movers_distance(
        *(one.repeat_interleave(7, 1).repeat_interleave(7, 2) for one in (prediction, truth))
    )
    assert large.values.item() == pytest.approx(small, abs=1e-9)


def test_it_is_a_metric() -> None:
    rng = np.random.default_rng(7)
    maps = rng.gamma(0.5, size=(3, 40))
    maps /= maps.sum(1, keepdims=True)
    positions = rng.random((40, 2))
    between = {
        (a, b): transport_cost(maps[a], maps[b], positions)
        for a, b in itertools.permutations(range(3), 2)
    }
    for a, b, c in itertools.permutations(range(3)):
        assert between[a, b] == pytest.approx(between[b, a], abs=1e-9)
        assert between[a, c] <= between[a, b] + between[b, c] + 1e-12
        assert 0 < between[a, b] < 1


def test_scale_is_irrelevant_and_padding_too() -> None:
    rng = np.random.default_rng(8)
    prediction, truth = torch.from_numpy(rng.random((2, 1, 16, 16)) ** 30)
    valid = torch.ones(1, 16, 16, dtype=torch.bool)
    valid[:, :, 10:] = False
    expected = earth_movers_distance(prediction, truth, valid).values.item()
    prediction, truth = prediction.clone(), truth.clone()
    prediction[~valid], truth[~valid] = 1e9, math.nan
    found = earth_movers_distance(prediction * 7, truth * 1e-6, valid).values.item()
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_a_full_grid_is_optimal_by_its_dual() -> None:
    """Any 1-Lipschitz potential bounds the distance from below; a smooth shift reaches it."""
    y, x = np.mgrid[0:96, 0:128]
    blob = np.exp(-((x - 40) ** 2 + (y - 50) ** 2) / 90)
    shifted = np.roll(blob, 32, 1)
    found = earth_movers_distance(
        torch.from_numpy(blob)[None], torch.from_numpy(shifted)[None]
    ).values.item()
    bound = ((shifted - blob) * x).sum() / blob.sum() / math.hypot(96, 128)
    assert found == pytest.approx(bound, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (-1.0, "the prediction has a negative value"),
        (math.nan, "the prediction is not finite"),
        (0.0, "the prediction has no mass"),
    ],
)
def test_bad_maps_are_undefined(value: float, reason: str) -> None:
    prediction = torch.zeros(1, 6, 6)
    prediction[0, 2, 2] = value
    found = earth_movers_distance(prediction, torch.rand(1, 6, 6))
    assert found.reasons == [reason]
    assert math.isnan(found.values.item())


def test_a_solver_that_gives_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gave_up = SimpleNamespace(status=4, message="numerical difficulties")
    monkeypatch.setattr(transport, "linprog", lambda *_, **__: gave_up)
    with pytest.raises(DataError, match="distance: the solver gave up: numerical difficulties"):
        transport_cost(np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([[0.0], [1.0]]))

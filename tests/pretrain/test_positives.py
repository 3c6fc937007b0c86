"""Positives by image, patient and gaze, against loops; films without gaze."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from eye_gaze_data.batch import collate
from eye_gaze_data.config import AugmentConfig
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.geometry import Fit
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort
from pretrain.gaze import CELLS, cells_of, coarse_gaze, correlations, film_gaze, gaze_pairs
from pretrain.positives import group_pairs, numbered

NAN = math.nan


def test_rows_of_a_group_are_alike_and_all_others_unlike() -> None:
    alike, unlike = group_pairs(torch.tensor([4, 7, 4, 9]))
    assert alike.nonzero().tolist() == [[0, 2], [2, 0]]
    assert torch.equal(alike | unlike, ~torch.eye(4, dtype=torch.bool))
    assert not (alike & unlike).any()


def test_a_name_has_one_number_everywhere() -> None:
    names = ["p1", "p2", "p1", ""]
    found = numbered(names, torch.device("cpu"))
    assert found.dtype == torch.int64
    assert found.tolist()[0] == 8361833091136382792
    assert [[a == b for b in found.tolist()] for a in found.tolist()] == [
        [a == b for b in names] for a in names
    ]


def make_cells(rows: int = 7, cells: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(rows, cells, generator=generator) ** 3 * 1e-4
    found[torch.rand(rows, cells, generator=generator) < 0.2] = NAN
    found[2] = NAN  # no gaze
    found[5] = 2.5e-5  # looked everywhere alike
    return found


@pytest.mark.parametrize("cells", [3, 12, 256])
def test_correlations_are_numpy_s_over_the_cells_that_both_know(cells: int) -> None:
    given = make_cells(cells=cells, seed=cells)
    found = correlations(given)
    for i, one in enumerate(given.numpy()):
        for j, other in enumerate(given.numpy()):
            both = ~np.isnan(one) & ~np.isnan(other)
            if both.sum() < 2 or np.ptp(one[both]) == 0 or np.ptp(other[both]) == 0:
                assert found[i, j].isnan(), (i, j)
            else:
                expected = np.corrcoef(one[both].astype(float), other[both].astype(float))[0, 1]
                assert found[i, j].item() == pytest.approx(expected, abs=1e-6), (i, j)


def test_films_that_were_looked_at_alike_are_positives() -> None:
    cells = make_cells(6, 30)
    cells[1] = cells[0] * 3  # the same place, another unit
    cells[2] = NAN
    index = torch.tensor([0, 1, 2, 3, 2, 3])
    cells[5] = cells[3].flip(0)
    alike, unlike = gaze_pairs(cells, index, 0.9)
    known = correlations(cells)
    assert alike[0, 1]
    assert known[3, 5] < 0.9
    assert alike[3, 5], "views of one film are alike wherever they were moved"
    assert alike[2].nonzero()[:, 0].tolist() == [4], "without gaze there is only the other view"
    assert not unlike[2].any()
    for i in range(6):
        for j in range(6):
            if i == j:
                assert not alike[i, j]
                assert not unlike[i, j]
            elif index[i] != index[j]:
                assert bool(alike[i, j]) == (known[i, j].item() >= 0.9)
                assert bool(unlike[i, j]) == (known[i, j].item() < 0.9)


@pytest.mark.parametrize(("size", "side"), [((8, 8), 4), ((6, 9), 3), ((64, 48), 16)])
def test_coarse_gaze_is_the_mean_density_of_the_film_in_a_cell(
    size: tuple[int, int], side: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    valid = torch.ones(3, 1, *size, dtype=torch.bool)
    valid[1, :, :, : size[1] // 2 + 1] = False
    saliency = torch.rand(3, 1, *size, generator=generator) * valid
    saliency[2] = NAN
    found = coarse_gaze(saliency, valid, side).view(3, side, side)
    step = (size[0] // side, size[1] // side)
    for row in range(2):
        for y in range(side):
            for x in range(side):
                place = (row, 0, slice(y * step[0], (y + 1) * step[0]),
                         slice(x * step[1], (x + 1) * step[1]))  # fmt: skip
                film = valid[place].float().mean()
                if film < 0.5:
                    assert found[row, y, x].isnan()
                else:
                    expected = saliency[place][valid[place]].mean()
                    torch.testing.assert_close(found[row, y, x], expected)
    assert found[1].isnan().any()
    assert found[2].isnan().all()


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_films_are_compared_before_they_are_moved(fit: Fit) -> None:
    config = PhantomConfig(n_patients=6, height=96, width=80, readers=2)
    cohort = phantom_cohort(config, "phantom")
    moved = AugmentConfig.model_validate("radiograph")
    plain = GazeDataset(cohort, (64, 64), fit=fit)
    found = film_gaze(GazeDataset(cohort, (64, 64), fit=fit, views=(moved, moved)), range(6))
    batch = collate([plain[0, row] for row in range(6)])
    expected = coarse_gaze(batch["saliency"], batch["valid"])
    assert found.keys() == set(np.flatnonzero(cohort.has_gaze[:6]))
    for row, cells in found.items():
        torch.testing.assert_close(cells, expected[row], equal_nan=True)
    assert expected.isnan().any() == (fit == "pad")
    gone = next(iter(found))
    del found[gone]
    rows = torch.tensor([3, gone, 3])
    cells = cells_of(found, rows)
    assert cells.shape == (3, CELLS**2)
    assert cells[1].isnan().all() or gone == 3
    torch.testing.assert_close(cells[0], cells[2], equal_nan=True)


def test_a_cohort_without_gaze_has_none_to_compare() -> None:
    cohort = phantom_cohort(PhantomConfig(n_patients=2, gaze="none"), "phantom")
    assert film_gaze(GazeDataset(cohort, (32, 32)), range(2)) == {}
    assert cells_of({}, torch.tensor([0, 1])).isnan().all()

"""Dice by hand and against scikit-learn, over batches of any size, organs that are not known."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import Tensor

from diagnosis.anatomy.dice import OrganDice, dice


def draw(films: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, masks of which some planes are unknown, and film with a margin."""
    generator = torch.Generator().manual_seed(0)
    masks = (torch.rand(films, 3, 6, 5, generator=generator) < 0.4).float()
    guess = 0.3 * masks + 0.65 * torch.rand(masks.shape, generator=generator)
    masks[::3, 1], masks[1::4, 2] = torch.nan, torch.nan
    valid = torch.ones(films, 1, 6, 5, dtype=torch.bool)
    valid[:, :, 0] = False
    return guess, masks, valid


def test_by_hand() -> None:
    truth = torch.tensor([[1.0, 1, 0], [0, 0, 0]])[None, None]
    guess = torch.tensor([[0.9, 0.2, 0.5], [0, 0, 0.7]])[None, None]
    # One pixel in both; 3 and 2 pixels.
    assert dice(guess, truth).tolist() == [[pytest.approx(2 / 5)]]
    valid = torch.tensor([[True, True, True], [True, True, False]])[None, None]
    assert dice(guess, truth, valid).tolist() == [[pytest.approx(2 / 4)]]
    assert dice(guess * 0, truth).tolist() == [[0]]
    assert dice(guess, truth * 0).tolist() == [[0]]
    assert dice(guess * 0, truth * 0).isnan().all()
    truth[0, 0, 1, 1] = torch.nan
    assert dice(guess, truth).isnan().all()


def test_agrees_with_scikit_learn_on_the_film() -> None:
    guess, masks, valid = draw()
    found = dice(guess, masks, valid)
    for row in range(len(masks)):
        for organ in range(3):
            if masks[row, organ].isnan().any():
                assert found[row, organ].isnan()
                continue
            film = valid[row, 0]
            truth, said = masks[row, organ][film] >= 0.5, guess[row, organ][film] >= 0.5
            assert found[row, organ] == pytest.approx(f1_score(truth.numpy(), said.numpy()))


@pytest.mark.parametrize("sizes", [(12,), (5, 1, 6), (1,) * 12])
def test_is_the_mean_over_organs_of_means_over_films(sizes: tuple[int, ...]) -> None:
    guess, masks, valid = draw()
    metric = OrganDice(3)
    for start, stop in pairwise(np.cumsum((0, *sizes)).tolist()):
        metric.update(guess[start:stop], masks[start:stop], valid[start:stop])
    values = dice(guess, masks, valid).numpy()
    expected = np.nanmean(values, axis=0).mean()
    # Organs count alike although they are known on different numbers of films.
    assert metric.compute().item() == pytest.approx(expected)
    assert metric.compute().item() != pytest.approx(np.nanmean(values), abs=1e-5)


def test_an_organ_that_nobody_drew_is_left_out() -> None:
    guess, masks, valid = draw()
    masks[:, 2] = torch.nan
    metric = OrganDice(3)
    metric.update(guess, masks, valid)
    values = dice(guess, masks, valid)[:, :2].numpy()
    assert metric.compute().item() == pytest.approx(np.nanmean(values, axis=0).mean())
    metric.reset()
    metric.update(guess, masks * torch.nan, valid)
    assert metric.compute().isnan()

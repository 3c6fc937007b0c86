"""Average precision: against torchmetrics, by hand, and of resampled films."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torchvision.ops import box_iou

from diagnosis.detection_module import Pair, monitored_precision
from diagnosis.metrics import (
    FilmBoxes,
    Matches,
    average_precisions,
    match_boxes,
    mean_average_precision,
    overlaps,
    side_by_side,
)
from diagnosis.metrics.detection import _needed

HALF = slice(0, 1)


def film(
    boxes: list[list[float]], labels: list[int], scores: list[float] | None = None
) -> FilmBoxes:
    return FilmBoxes(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array(labels, np.int64),
        None if scores is None else np.array(scores, np.float64),
    )


def drawn(seed: int, films: int = 30) -> tuple[list[FilmBoxes], list[FilmBoxes]]:
    """Predictions near the truth and beside it; class 3 is never true."""
    rng = np.random.default_rng(seed)

    def some(most: int) -> np.ndarray:
        n = int(rng.integers(0, most))
        low = rng.uniform(0, 50, (n, 2))
        return np.concatenate([low, low + rng.uniform(6, 40, (n, 2))], 1)

    predicted, true = [], []
    for _ in range(films):
        truth = some(5)
        kinds = rng.integers(0, 3, len(truth))
        near, astray = truth + rng.uniform(-3, 3, truth.shape), some(30)
        boxes = np.concatenate([near, near + rng.uniform(-1, 1, near.shape), astray])
        labels = np.concatenate([kinds, kinds, rng.integers(0, 4, len(astray))])
        # As single floats, the precision of the peer's input.
        scores = rng.uniform(size=len(boxes)).astype(np.float32).astype(np.float64)
        exact = [values.astype(np.float32).astype(np.float64) for values in (boxes, truth)]
        predicted.append(FilmBoxes(exact[0], labels, scores))
        true.append(FilmBoxes(exact[1], kinds))
    return predicted, true


def pairs_of(predicted: list[FilmBoxes], true: list[FilmBoxes]) -> list[Pair]:
    def tensors(one: FilmBoxes) -> dict[str, torch.Tensor]:
        found = {
            "boxes": torch.from_numpy(one.boxes).float(),
            "labels": torch.from_numpy(one.labels),
        }
        return found if one.scores is None else found | {
            "scores": torch.from_numpy(one.scores).float()
        }  # fmt: skip

    return [(tensors(one), tensors(two)) for one, two in zip(predicted, true, strict=True)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_values_are_those_of_torchmetrics(seed: int) -> None:
    predicted, true = drawn(seed)
    matches = match_boxes(predicted, true, 4)
    expected = monitored_precision(pairs_of(predicted, true))
    ones = np.ones((1, len(true)))
    assert 0.02 < expected["map"] < expected["ap50"] < 0.98
    assert_allclose(mean_average_precision(matches, ones), [expected["map"].item()], atol=1e-6)
    assert_allclose(
        mean_average_precision(matches, ones, HALF), [expected["ap50"].item()], atol=1e-6
    )
    assert math.isnan(average_precisions(matches[3], ones)[0])


def test_a_resample_is_the_metric_of_films_drawn_so_often() -> None:
    predicted, true = drawn(3, 12)
    weights = np.random.default_rng(0).integers(0, 3, (5, 12)).astype(np.float64)
    found = mean_average_precision(match_boxes(predicted, true, 4), weights)
    for value, weight in zip(found, weights, strict=True):
        rows = np.repeat(np.arange(12), weight.astype(int)).tolist()
        again = match_boxes([predicted[r] for r in rows], [true[r] for r in rows], 4)
        assert_allclose(mean_average_precision(again, np.ones((1, len(rows))))[0], value)


def test_average_precision_by_hand() -> None:
    square = [0.0, 0.0, 10.0, 10.0]
    true = [film([square], [0]), film([[20.0, 0.0, 30.0, 10.0]], [0]), film([], [])]
    # Right at 0.9, wrong at 0.8, right at 0.7 with an overlap of 60 %, again at 0.6: wrong.
    predicted = [
        film([square], [0], [0.9]),
        film([[20.0, 0.0, 30.0, 6.0], [20.0, 0.0, 30.0, 6.0]], [0, 0], [0.7, 0.6]),
        film([square], [0], [0.8]),
    ]
    (matches,) = match_boxes(predicted, true, 1)
    assert matches.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert matches.films.tolist() == [0, 2, 1, 1]
    assert matches.hits[0].tolist() == [True, False, True, False]
    assert matches.hits[:, 2].tolist() == [True] * 3 + [False] * 7
    # Precision 1 up to a recall of 0.5 (51 of 101 recalls), beyond it 2 of 3.
    ones = np.ones((1, 3))
    at_half = (51 + 50 * 2 / 3) / 101
    assert_allclose(average_precisions(matches, ones, HALF), [at_half])
    assert_allclose(average_precisions(matches, ones), [(3 * at_half + 7 * 51 / 101) / 10])
    # Without the film that has no box its false alarm is gone; without any box nothing is known.
    weights = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert_allclose(average_precisions(matches, weights, HALF), [1.0, np.nan])


def precision_by_loop(matches: Matches, kept: np.ndarray) -> float:
    """Mean over thresholds and recalls of the highest precision that reaches the recall."""
    total = matches.true[kept].sum()
    if not total:
        return math.nan
    rows = [row for row, of in enumerate(matches.films.tolist()) if kept[of]]
    heights = []
    for hits in matches.hits:
        right = np.cumsum(hits[rows])
        precision = [float(found / (place + 1)) for place, found in enumerate(right)]
        for recall in np.linspace(0, 1, 101):
            reach = [
                p for p, found in zip(precision, right, strict=True) if found / total >= recall
            ]
            heights.append(max(reach, default=0.0))
    return float(np.mean(heights))


@pytest.mark.parametrize("boxes_a_film", [1, 5])
@pytest.mark.parametrize("films_a_patient", [1, 3])
@pytest.mark.parametrize("digits", [0, 1, 6])
def test_without_a_patient_it_is_the_metric_of_the_others(
    boxes_a_film: int, films_a_patient: int, digits: int
) -> None:
    rng = np.random.default_rng(boxes_a_film + 10 * films_a_patient)
    n = 8 * films_a_patient
    true = rng.integers(0, 3, n).astype(np.float64)
    true[:films_a_patient] = 0  # a patient without a true box
    films = np.repeat(np.arange(n), rng.integers(0, boxes_a_film + 1, n))
    films = films[films // films_a_patient != 1]  # one without predicted boxes
    overlap = rng.random(len(films)) * (true[films] > 0)
    first = np.r_[True, films[1:] != films[:-1]]
    scores = (rng.random(len(films)) + 0.5 * (overlap > 0.5)).round(digits)
    order = np.argsort(-scores, kind="stable")
    hits = (overlap * first >= np.linspace(0.5, 0.95, 10)[:, None])[:, order]
    matches = Matches(films[order], hits, true, scores[order])
    weights = 1.0 - np.repeat(np.eye(8), films_a_patient, 1)
    found = average_precisions(matches, np.concatenate([np.ones((1, n)), weights]))
    kept = [np.ones(n, bool), *(weights > 0)]
    assert_allclose(found, [precision_by_loop(matches, own) for own in kept], rtol=1e-12)
    assert len(set(found.tolist())) > 3


def test_recalls_ask_for_the_right_boxes_that_a_search_finds() -> None:
    recalls = np.linspace(0, 1, 101)
    sizes = np.array([*range(1, 400), 99_999, 123_457], np.float64)
    for size, needed in zip(sizes, _needed(sizes), strict=True):
        shares = np.arange(size + 1) / size
        assert needed.tolist() == np.searchsorted(shares, recalls, side="left").tolist()


def test_nothing_predicted_is_zero_and_nothing_true_is_unknown() -> None:
    nothing, one = film([], [], []), film([[0.0, 0.0, 4.0, 4.0]], [0])
    ones = np.ones((1, 1))
    missed = match_boxes([nothing], [one], 2)
    assert [average_precisions(part, ones)[0] for part in missed] == [
        0.0,
        pytest.approx(np.nan, nan_ok=True),
    ]
    assert mean_average_precision(missed, ones)[0] == 0.0
    assert math.isnan(mean_average_precision(match_boxes([nothing], [nothing], 2), ones)[0])
    unknown = monitored_precision([])
    assert math.isnan(unknown["map"])
    assert math.isnan(unknown["ap50"])
    found = pairs_of([nothing], [one])
    assert monitored_precision(found)["map"] == 0.0


def test_two_predictions_side_by_side_are_two_sets_of_films() -> None:
    (first, true), (second, _) = drawn(4, 8), drawn(5, 8)
    one, other = (match_boxes(guess, true, 4) for guess in (first, second))
    both = [side_by_side(*parts) for parts in zip(one, other, strict=True)]
    ones, zeros = np.ones((1, 8)), np.zeros((1, 8))
    assert_allclose(
        mean_average_precision(both, np.concatenate([ones, zeros], 1)),
        mean_average_precision(one, ones),
    )
    assert_allclose(
        mean_average_precision(both, np.concatenate([zeros, ones], 1)),
        mean_average_precision(other, ones),
    )


def test_overlaps_are_those_of_torchvision() -> None:
    predicted, true = drawn(6, 1)[0][0].boxes, drawn(9, 1)[0][0].boxes
    expected = box_iou(torch.from_numpy(predicted), torch.from_numpy(true)).numpy()
    assert expected.max() > 0.1
    assert_allclose(overlaps(predicted, true), expected)

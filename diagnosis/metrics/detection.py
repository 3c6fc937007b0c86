"""Average precision of boxes as COCO defines it, also for resampled films.

Matches of predicted to true boxes are found once; resamples of whole films then only weigh them. A
test holds the values against torchmetrics' ``MeanAveragePrecision``, which monitors training. Equal
scores keep the films' order, which COCO leaves to chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64
from scipy.sparse import csr_array

from saliency.metrics import mean_of_defined

Numbers = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
_BLOCK_ELEMENTS = 1_000_000


@dataclass(frozen=True)
class FilmBoxes:
    """Boxes of one film.

    Attributes:
        boxes: (n, 4) x1, y1, x2, y2 in pixels.
        labels: (n,) classes.
        scores: (n,) of predicted boxes; None for true ones.
    """

    boxes: Numbers
    labels: npt.NDArray[np.int64]
    scores: Numbers | None = None


@dataclass(frozen=True)
class Matches:
    """The predicted boxes of one class in all films, the highest score first.

    Attributes:
        films: (n,) film of each.
        hits: (10, n) whether each has a true box at each IoU threshold.
        true: (films,) number of true boxes.
        scores: (n,) of each.
    """

    films: npt.NDArray[np.int64]
    hits: Bools
    true: Numbers
    scores: Numbers

    @cached_property
    def marks(self) -> npt.NDArray[np.int64]:
        """(m,) places of those that are right at any threshold; precision peaks only there."""
        return np.flatnonzero(self.hits.any(0))

    @cached_property
    def steps(self) -> csr_array:
        """(m, films) boxes of each film after the mark before, up to this mark."""
        n = self.marks[-1] + 1 if len(self.marks) else 0
        mark = np.searchsorted(self.marks, np.arange(n))
        shape = len(self.marks), len(self.true)
        return csr_array((np.ones(n), (mark, self.films[:n])), shape)


def match_boxes(
    predicted: Sequence[FilmBoxes], true: Sequence[FilmBoxes], classes: int
) -> list[Matches]:
    """Match boxes film by film and class by class, the best score first.

    Each predicted box takes the free true box with which it overlaps most, if by the threshold.

    Args:
        predicted: of each film, at most 100 boxes a class count.
        true: of the same films, their lists complete.
        classes: K.

    Returns:
        The matches of each class.
    """
    found = []
    for label in range(classes):
        films, scores, hits = [], [], []
        counts = np.zeros(len(true))
        for film, (guess, truth) in enumerate(zip(predicted, true, strict=True)):
            own, targets = guess.labels == label, truth.boxes[truth.labels == label]
            given = guess.scores if guess.scores is not None else np.ones(len(guess.labels))
            order = np.argsort(-given[own], kind="stable")[:100]
            films.append(np.full(len(order), film))
            scores.append(given[own][order])
            hits.append(_hits(overlaps(guess.boxes[own][order], targets)))
            counts[film] = len(targets)
        every = np.concatenate([np.zeros((len(THRESHOLDS), 0), bool), *hits], 1)
        at = np.concatenate([np.zeros(0, np.int64), *films])
        found.append(_ranked(at, every, counts, np.concatenate([np.zeros(0), *scores])))
    return found


def side_by_side(one: Matches, other: Matches) -> Matches:
    """The matches of two predictions of the same films, as of twice as many films."""
    return _ranked(
        np.concatenate([one.films, len(one.true) + other.films]),
        np.concatenate([one.hits, other.hits], 1),
        np.concatenate([one.true, other.true]),
        np.concatenate([one.scores, other.scores]),
    )


def _ranked(films: npt.NDArray[np.int64], hits: Bools, true: Numbers, scores: Numbers) -> Matches:
    order = np.argsort(-scores, kind="stable")
    return Matches(films[order], hits[:, order], true, scores[order])


def overlaps(
    first: Float64[np.ndarray, "n 4"], second: Float64[np.ndarray, "m 4"]
) -> Float64[np.ndarray, "n m"]:
    """Intersection over union of boxes of positive area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.asarray(shared / union, np.float64)


def _hits(overlap: Numbers) -> Bools:
    """(10, n) which predicted boxes, best first, find a true one."""
    n, m = overlap.shape
    hits = np.zeros((len(THRESHOLDS), n), bool)
    if not m:
        return hits
    for place, threshold in enumerate(THRESHOLDS):
        free = np.ones(m, bool)
        for guess in range(n):
            best = int(np.where(free, overlap[guess], -1).argmax())
            # COCO's own tolerance below the threshold.
            if free[best] and overlap[guess, best] >= min(threshold, 1 - 1e-10):
                hits[place, guess], free[best] = True, False
    return hits


def average_precisions(
    matches: Matches, weights: Float64[np.ndarray, "r films"], thresholds: slice = slice(None)
) -> Float64[np.ndarray, " r"]:
    """The mean over IoU thresholds of COCO's interpolated average precision, for each resample.

    Args:
        matches: of one class.
        weights: how often each film counts, whole numbers.
        thresholds: which of 0.5, 0.55, ... 0.95.

    Returns:
        NaN where no film that counts has a true box.
    """
    hits, totals = matches.hits[thresholds][:, matches.marks], weights @ matches.true
    values = np.full(len(weights), np.nan)
    known = np.flatnonzero(totals > 0)
    block = max(1, _BLOCK_ELEMENTS // max(1, len(matches.marks)))
    for start in range(0, len(known), block):
        part = known[start : start + block]
        own = weights[part]
        drawn = np.cumsum((matches.steps @ own.T).T, 1)
        counts = own.take(matches.films[matches.marks], 1)
        needed = _needed(totals[part])
        heights = [_heights(counts[:, hit], drawn[:, hit], needed) for hit in hits]
        values[part] = np.stack(heights, 1).reshape(len(part), -1).mean(1)
    return values


def _needed(totals: Float64[np.ndarray, " r"]) -> Float64[np.ndarray, "r 101"]:
    """The least number of right boxes whose share of the true ones is each recall or more."""
    needed = np.floor(RECALLS * totals[:, None])
    for _ in range(2):  # The product may be rounded to a whole number from above.
        needed += needed / totals[:, None] < RECALLS
    return np.asarray(needed, np.float64)


def _heights(
    counts: Float64[np.ndarray, "r n"],
    drawn: Float64[np.ndarray, "r n"],
    needed: Float64[np.ndarray, "r 101"],
) -> Float64[np.ndarray, "r 101"]:
    """The highest precision at or beyond each recall.

    Args:
        counts: how often each right box counts, the highest score first.
        drawn: how many boxes count down to it.
        needed: right boxes that a recall asks for.
    """
    r, n = counts.shape
    if not n:
        return np.zeros(needed.shape)
    right = np.cumsum(counts, 1)
    precision = np.divide(right, drawn, np.zeros_like(right), where=drawn > 0)
    precision = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
    # Whole numbers, so that one search serves all rows.
    rows = np.arange(r)[:, None]
    offset = rows * (max(right.max(), needed.max()) + 1)
    at = np.searchsorted((right + offset).ravel(), (needed + offset).ravel()).reshape(needed.shape)
    reached = at < (rows + 1) * n
    heights = np.ravel(precision)[np.minimum(at, right.size - 1)]
    return np.asarray(np.where(reached, heights, 0), np.float64)


def mean_average_precision(
    matches: Sequence[Matches],
    weights: Float64[np.ndarray, "r films"],
    thresholds: slice = slice(None),
) -> Float64[np.ndarray, " r"]:
    """The mean over the classes that have a true box; NaN where none has."""
    return mean_of_defined([average_precisions(part, weights, thresholds) for part in matches])

"""Readers: how somebody looks at a film, from geometry and conspicuity alone, without pixels.

Numbers follow what eye tracking of radiologists reports: fixations of 200 to 400 ms, a handful of
stations over the anatomy, and about half of the time on what is abnormal once it is seen.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .anatomy import LEFT, RIGHT, Anatomy
from .film import Film
from .findings import Finding, attractors
from .streams import Stream, generator

Floats = npt.NDArray[np.float64]
SAMPLE_RATE = 60.0
_MEDIAN_SECONDS = 0.25
_JITTER_DEGREES = 0.3


@dataclass(frozen=True)
class Reader:
    """What sets one reader apart.

    Attributes:
        name: of the reader.
        order: (k,) rank of each station of the survey.
        offset: systematic error of position, body centimetres (x, y).
        pace: factor on the duration of fixations.
        thoroughness: factor on the number of fixations.
        alertness: shift of the conspicuity at which a finding is seen half of the time.
        spread: factor on the scatter about a target.
    """

    name: str
    order: Floats
    offset: tuple[float, float]
    pace: float
    thoroughness: float
    alertness: float
    spread: float


def stations(anatomy: Anatomy) -> Floats:
    """(k, 3) x, y and spread in body centimetres: what a survey visits, in textbook order."""
    x1, y1, x2, y2 = anatomy.heart_box
    rows = [(anatomy.yaw, -6.0, 1.0), (anatomy.yaw - 0.3, -2.5, 1.0)]
    for side in (RIGHT, LEFT):
        hilum = side * 4.0
        angle = side * (anatomy.half_width - 2.3)
        rows += [
            (side * anatomy.lung_axis(anatomy.apex + 2.5)[0], anatomy.apex + 2.5, 1.0),
            (side * 7.5 * anatomy.width, -5.5, 1.4),
            (hilum, -1.2, 0.9),
            (side * 9.0 * anatomy.width, 1.5, 1.5),
            (side * 8.5 * anatomy.width, anatomy.dome(side) - 2.2, 1.5),
            (angle, anatomy.dome_at(side, abs(angle)) - 1.0, 0.8),
        ]
    rows += [((x1 + x2) / 2, (y1 + y2) / 2, 1.6), (x2 - 1.5, y2 - 3.0, 1.0)]
    return np.array(rows)


def draw_readers(seed: int, count: int) -> list[Reader]:
    """The readers of a cohort; the first ones stay who they are when more join."""
    readers = []
    n_stations = len(stations(Anatomy()))
    for index in range(count):
        rng = generator(Stream.READER, seed, index)
        readers.append(
            Reader(
                name=f"reader_{index + 1}",
                order=np.arange(n_stations) + rng.normal(0, 4.0, n_stations),
                offset=(float(rng.normal(0, 0.3)), float(rng.normal(0, 0.3))),
                pace=float(np.exp(rng.normal(0, 0.1))),
                thoroughness=float(np.exp(rng.normal(0, 0.12))),
                alertness=float(rng.normal(0, 0.04)),
                spread=float(np.exp(rng.normal(0, 0.12))),
            )
        )
    return readers


def scanpath(film: Film, reader: Reader, seed: tuple[int, int, int, int], *, dwell: bool) -> Floats:
    """The fixations of one reading.

    Args:
        film: what is looked at; its pixels are not needed.
        reader: who looks.
        seed: the cohort's seed, the patient, the film and the reader.
        dwell: whether findings attract the eye; without, the scanpath does not depend on them.

    Returns:
        (n, 4) x and y in film pixels, duration and start in seconds; 15 to 40 fixations.
    """
    rng = generator(Stream.GAZE, *seed)
    survey_noise, length = rng.random(), rng.normal(21, 2.5) * reader.thoroughness
    found = [f for f in film.findings if dwell and _is_seen(f, reader, rng)]
    salience = sum(f.conspicuity for f in found)
    if found:
        length *= 1.15 + 0.25 * min(salience, 1.6)
    total = int(np.clip(round(length), 15, 40))
    share = 0.36 + 0.12 * min(salience, 1.5) if found else 0.0
    targets = _survey(film.anatomy, reader, total - round(share * total), survey_noise, rng)
    if found:
        targets = _with_visits(targets, film, found, round(share * total), rng)
    return _timed(targets, film, reader, rng)


def sampled(
    fixations: Floats, rng: np.random.Generator, degree: float, size: tuple[int, int]
) -> Floats:
    """What a 60 Hz eye tracker records of a scanpath: jitter, saccades, glances off the film.

    Args:
        fixations: (n, 4) as ``scanpath`` returns.
        rng: of the noise.
        degree: pixels per degree of visual angle.
        size: (height, width) of the film.

    Returns:
        (m, 4) x, y, duration (1/60 s each) and start.
    """
    x, y, duration, start = fixations.T
    knots = np.stack([start, start + duration], 1).ravel()
    count = int((knots[-1] - knots[0]) * SAMPLE_RATE)
    time = knots[0] + np.arange(count) / SAMPLE_RATE
    points = np.stack([np.interp(time, knots, np.repeat(axis, 2)) for axis in (x, y)], 1)
    points += rng.normal(0, _JITTER_DEGREES * degree, points.shape)
    for _ in range(rng.poisson(0.4)):
        # A glance at the desk or the other screen.
        begin, lasts = rng.integers(0, count), rng.integers(4, 12)
        below = rng.random() < 0.5
        points[begin : begin + lasts, int(below)] = size[0 if below else 1] * rng.uniform(1.02, 1.2)
    return np.column_stack([points, np.full(count, 1 / SAMPLE_RATE), time])


def _is_seen(finding: Finding, reader: Reader, rng: np.random.Generator) -> bool:
    threshold = 0.2 + reader.alertness
    return bool(rng.random() < 1 / (1 + np.exp((threshold - finding.conspicuity) / 0.05)))


def _survey(
    anatomy: Anatomy, reader: Reader, count: int, noise: float, rng: np.random.Generator
) -> Floats:
    """(count, 5) x, y, spread, factor on the duration, and place in the order."""
    where = stations(anatomy)
    order = np.argsort(reader.order + rng.normal(0, 1.5, len(where)))
    # A long survey stays at some stations for two fixations, a short one leaves some out.
    steps = np.arange(count - 1) / max(count - 1, 1)
    chosen = where[order[(steps * len(where)).astype(int)]]
    first = np.array([[anatomy.yaw, -1.0 + noise, 1.6]])
    points = np.concatenate([first, chosen])
    place = np.concatenate([[0.0], 0.02 + 0.98 * steps])
    return np.column_stack([points, np.ones(len(points)), place])


def _with_visits(
    survey: Floats, film: Film, found: list[Finding], count: int, rng: np.random.Generator
) -> Floats:
    """The survey, interrupted by visits to the findings that were seen."""
    weight = np.array([f.conspicuity for f in found])
    least = min(2, count // len(found))
    shares = least + rng.multinomial(count - least * len(found), weight / weight.sum())
    parts = [survey]
    for finding, fixations in zip(found, shares, strict=True):
        spots = np.array(attractors(finding, film.shown))
        chosen = spots[rng.choice(len(spots), fixations, p=spots[:, 3] / spots[:, 3].sum())]
        # Found early if it stands out, and looked at again before the reading ends.
        first = rng.uniform(0.05, 0.75 - 0.5 * finding.conspicuity)
        visits = np.array([first, rng.uniform(0.6, 0.95), rng.uniform(0.9, 1.1)])
        place = visits[np.sort(rng.choice(3, fixations, p=[0.5, 0.3, 0.2]))]
        # Fixations of one visit follow each other before the survey goes on.
        place = place + np.arange(fixations) * 1e-4
        parts.append(np.column_stack([chosen[:, :3], np.full(fixations, 1.12), place]))
    return np.concatenate(parts)


def _timed(targets: Floats, film: Film, reader: Reader, rng: np.random.Generator) -> Floats:
    targets = targets[np.argsort(targets[:, 4], kind="stable")]
    count = len(targets)
    scatter = targets[:, 2:3] * reader.spread * rng.normal(0, 1, (count, 2))
    points = targets[:, :2] + scatter + np.array(reader.offset)
    x, y = film.placement.to_pixels(points[:, 0], points[:, 1])
    duration = _MEDIAN_SECONDS * reader.pace * targets[:, 3] * np.exp(rng.normal(0, 0.35, count))
    # Saccades last longer the farther they go: about 25 ms and 2.5 ms a degree (Carpenter 1988).
    reach = np.hypot(np.diff(points[:, 0]), np.diff(points[:, 1])) * 0.7
    saccade = 0.025 + 0.0025 * reach
    start = np.concatenate([[0.0], np.cumsum(duration[:-1] + saccade)])
    return np.column_stack([x, y, duration, start])

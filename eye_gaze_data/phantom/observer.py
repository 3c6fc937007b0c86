"""The ideal observer: scores of films that no network can be expected to beat.

**What is asked.** For each film and label, the log odds of the label given what the observer knows.

**What it knows.** How the phantom is made, every number of it: anatomy, pose, exposure, lookalikes
and the view of this very film, so that a finding's effect on each detector pixel is known exactly;
the populations from which findings and twins are drawn; and for each finding a *candidate* c, the
latents, place and shape of the one object of that kind that may be there. If a finding or its
twin is on the film, c is that object; if neither is, c is drawn from the finding's population with
the film's own seed. With ``multilabel`` labels it also knows what else is on the film.

**What it does not know.** Whether the candidate is there at all, and whether it is the finding or
the twin. The first it sees through quantum noise: the detector's signal is Gaussian after a square
root (variance 1/4, which is how the phantom draws it), so with d the change of the root signal
that the candidate makes, blur and scatter included, the log likelihood ratio of "there" against
"not there" is a = 2 d·d + 2 d·n for noise n if it is there and a = -2 d·d + 2 d·n if not. The
second it can only weigh: b = log p(c | finding) - log p(c | twin).

**The score.** With t the twins' frequency and logit(π) the log odds of the label in this view,

    score = logit(π) - log( t exp(-b) + (1 - t) exp(-a) ).

The heart is always there: its latent h is known, and score = logit(π) + log p(h | enlarged)
- log( t p(h | twin) + (1 - t) p(h | healthy) ). Exclusive classes take the same likelihoods of
enlarged heart, effusion, edema and consolidations together, summed over all that may be there.

**Why it bounds.** It is the exact likelihood ratio of the data (film, candidates, parameters). A
network sees a function of the film alone; by the lemma of Neyman and Pearson no function of the
data has a higher ROC curve in the population. On a finite test set a network may come out higher
by chance. It bounds loosely: networks do not know the anatomy.

**Approximations.** Films are compared on a grid whose shorter side is 64 pixels, noise and photons
summed over blocks; detail finer than that is lost to the observer, which matters only where a
finding is near the limit of visibility. Draws held within four spreads count as normal.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError

from .anatomy import surfaces
from .cohort import PhantomFilms, PhantomImages
from .config import FINDINGS, PhantomConfig
from .film import IN_FAILURE, Film, foci, share_sick
from .findings import Finding, draw_finding, shown_ratio
from .latents import HEALTHY_HEART, log_finding, log_normal, log_twin
from .lesions import change_of
from .physics import Field, averaged_noise, quantum_noise, signal
from .rendering import body, calibre_of, markings_left
from .skeleton import vessels
from .streams import Stream, generator

Scores = npt.NDArray[np.float64]
Group = tuple[Finding, ...]
_SIDE = 64
# Probability of each finding in the classes normal, heart failure and pneumonia.
_IN_CLASS = {
    "Effusion": (0.0, IN_FAILURE["Effusion"], 0.0),
    "Consolidation": (0.0, 0.0, 1.0),
    "Edema": (0.0, IN_FAILURE["Edema"], 0.0),
}


def ideal_scores(cohort: Cohort | PhantomFilms, rows: Sequence[int]) -> Scores:
    """Log odds of each label by the ideal observer.

    Args:
        cohort: a phantom cohort, or its films.
        rows: of the cohort's table.

    Returns:
        (n, C), in the order of the cohort's pathologies; see the module for the definition.

    Raises:
        ConfigError: if the cohort is not a phantom.
    """
    films = _films(cohort)
    score = _of_findings if films.config.labels == "multilabel" else _of_classes
    scores = [score(films[int(row)], films.config) for row in rows]
    return np.array(scores, np.float64).reshape(len(scores), len(films.config.pathologies))


class Bench:
    """The detector under one film, on a coarse grid: its mean signal had other objects been there.

    Args:
        film: parameters of the film.
        side: pixels on the grid's shorter side, at most the film's.
    """

    def __init__(self, film: Film, side: int = _SIDE) -> None:
        fine = film.placement
        self.film = replace(film, placement=fine.thumbnail(min(side, fine.height, fine.width)))
        self.seen = surfaces(film.shown, *self.film.placement.grid())
        self._body = body(self.film, self.seen)
        self._vessels: dict[float, Field] = {}
        self._changes: dict[Finding, Field] = {}
        noise = quantum_noise(film.key, (fine.height, fine.width))
        shape = (self.film.placement.height, self.film.placement.width)
        self.signal = self.mean(film.objects) + averaged_noise(noise, shape) / 2

    def mean(self, objects: Group) -> Field:
        """Mean root signal (H, W) with these findings and twins and no other."""
        film = replace(self.film, findings=objects, twins=())
        calibre = calibre_of(film)
        if calibre not in self._vessels:
            self._vessels[calibre] = vessels(film.anatomy, film.placement, self.seen, calibre)
        attenuation = self._body + self._vessels[calibre] * markings_left(film, self.seen)
        for item in objects:
            if item not in self._changes:
                # Of the film's own anatomy: `film` may hold a heart or none.
                change = change_of(item, self.seen, self.film.shown, film.placement)
                self._changes[item] = change
            attenuation += self._changes[item]
        return signal(np.maximum(attenuation, 0), film.dose, film.scatter, film.placement)

    def log_likelihood(self, objects: Group) -> float:
        """Of the film's own signal, up to a constant, with these objects and no other."""
        apart = (self.signal - self.mean(objects)).astype(np.float64)
        return float(-2 * (apart * apart).sum())


def candidates(film: Film, config: PhantomConfig, kind: str) -> Group:
    """The objects of a kind on a film or, without any, such as might have been there."""
    if there := film.objects_of(kind):
        return there
    rng = generator(Stream.CANDIDATE, *film.key, FINDINGS.index(kind))
    count = foci(config, kind, rng.random())
    return tuple(
        draw_finding(kind, float(severity), film.shown, rng, frontal=film.frontal)
        for severity in rng.uniform(*config.severity, 2)[:count]
    )


def _films(cohort: Cohort | PhantomFilms) -> PhantomFilms:
    if isinstance(cohort, PhantomFilms):
        return cohort
    if isinstance(cohort.images, PhantomImages):
        return cohort.images.films
    raise ConfigError(
        f"expected a phantom cohort, whose parameters are known, got cohort '{cohort.name}': "
        "an ideal observer exists for phantoms only"
    )


def _of_findings(film: Film, config: PhantomConfig) -> list[float]:
    prior = _logit(share_sick(config, frontal=film.frontal))
    bench, scores = Bench(film), []
    for kind in FINDINGS:
        if kind == "Cardiomegaly":
            sick, well = _heart(film, config)
            scores.append(prior + sick - well)
            continue
        group = candidates(film, config, kind)
        others = tuple(item for item in film.objects if item.kind != kind)
        seen = bench.log_likelihood(others + group) - bench.log_likelihood(others)
        twin = _log(config.mimics) - _evidence(group, config)
        scores.append(prior - float(np.logaddexp(twin, _log(1 - config.mimics) - seen)))
    return scores


def _of_classes(film: Film, config: PhantomConfig) -> list[float]:
    groups = [candidates(film, config, kind) for kind in _IN_CLASS]
    others = tuple(item for item in film.objects if item.kind not in _IN_CLASS)
    sick, well = _heart(film, config)
    often = IN_FAILURE["Cardiomegaly"]
    failing = np.logaddexp(_log(often) + sick, _log(1 - often) + well)
    share, bench = share_sick(config, frontal=film.frontal), Bench(film)
    odds = np.log([1 - share, share / 2, share / 2]) + np.array([well, failing, well])
    likelihoods = []
    for there in product((False, True), repeat=len(groups)):
        shown = tuple(item for group, on in zip(groups, there, strict=True) if on for item in group)
        term = np.full(3, bench.log_likelihood(others + shown))
        for chances, group, on in zip(_IN_CLASS.values(), groups, there, strict=True):
            term += [_presence(chance, group, config, on=on) for chance in chances]
        likelihoods.append(term)
    joint = odds + np.logaddexp.reduce(likelihoods)
    rest = [np.logaddexp.reduce(np.delete(joint, index)) for index in range(3)]
    return [float(score) for score in joint - rest]


def _presence(chance: float, group: Group, config: PhantomConfig, *, on: bool) -> float:
    """Log probability that candidates are there (or not) and look so, over that of findings.

    Args:
        chance: probability of the finding.
        group: the candidates.
        config: the cohort's.
        on: whether they are there, as finding or as twin.
    """
    if not on:
        return _log(1 - chance) + _log(1 - config.mimics)
    twin = _log(1 - chance) + _log(config.mimics) - _evidence(group, config)
    return float(np.logaddexp(_log(chance), twin))


def _evidence(group: Group, config: PhantomConfig) -> float:
    """Log density of the candidates' latents among findings over that among twins."""
    return sum(
        log_finding(item.kind, item.latent, config.severity) - log_twin(item.kind, item.latent)
        for item in group
    )


def _heart(film: Film, config: PhantomConfig) -> tuple[float, float]:
    """Log densities of the heart's latent among enlarged hearts, and among all others."""
    latent = (film.shown.heart / shown_ratio(1.0, frontal=film.frontal),)
    twin = _log(config.mimics) + log_twin("Cardiomegaly", latent)
    healthy = _log(1 - config.mimics) + log_normal(latent, HEALTHY_HEART)
    sick = log_finding("Cardiomegaly", latent, config.severity)
    return sick, float(np.logaddexp(twin, healthy))


def _log(probability: float) -> float:
    return float(np.log(probability)) if probability > 0 else -np.inf


def _logit(share: float) -> float:
    # The ends, at which every film has the same label, are kept finite.
    share = min(max(share, 1e-9), 1 - 1e-9)
    return float(np.log(share / (1 - share)))

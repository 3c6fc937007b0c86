from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit

from eye_gaze_data.cohort import TABLE_COLUMNS, Cohort
from eye_gaze_data.errors import ConfigError
from eye_gaze_data.phantom import (
    FINDINGS,
    Film,
    PhantomConfig,
    PhantomFilms,
    draw_film,
    ideal_scores,
    phantom_cohort,
)
from eye_gaze_data.phantom.film import share_sick
from eye_gaze_data.phantom.latents import log_finding, log_twin
from eye_gaze_data.phantom.observer import Bench, candidates
from eye_gaze_data.phantom.physics import averaged_noise, quantum_noise
from eye_gaze_data.phantom.sheets import film_with

Scores = npt.NDArray[np.float64]
SMALL = PhantomConfig(n_patients=240, height=64, width=64, gaze="none")


def _area(score: Scores, label: npt.NDArray[np.floating]) -> float:
    """AUROC by comparing all pairs."""
    pairs = score[label == 1][:, None] - score[label == 0][None]
    return float((pairs > 0).mean() + (pairs == 0).mean() / 2)


def _prior(films: PhantomFilms, rows: range) -> Scores:
    shares = [share_sick(films.config, frontal=films[row].frontal) for row in rows]
    return np.asarray(np.log(shares) - np.log1p(-np.array(shares)), np.float64)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return phantom_cohort(SMALL)


@pytest.fixture(scope="module")
def scores(cohort: Cohort) -> Scores:
    return ideal_scores(cohort, range(len(cohort)))


def test_no_finding_of_the_default_cohort_is_certain_and_most_are_clear(
    cohort: Cohort, scores: Scores
) -> None:
    assert scores.shape == (240, 6)
    assert scores.dtype == np.float64
    areas = [_area(scores[:, k], cohort.labels[:, k]) for k in range(6)]
    assert max(areas) < 0.995
    assert min(areas) > 0.85


def test_scores_are_log_odds(cohort: Cohort, scores: Scores) -> None:
    # Exact log odds are calibrated: of films scored p, a share p is sick.
    p, label = expit(scores.ravel()), cohort.labels.ravel()
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.01)):
        some = (p >= low) & (p < high)
        error = np.sqrt((p[some] * (1 - p[some])).sum()) / some.sum()
        assert some.sum() > 10
        assert label[some].mean() == pytest.approx(p[some].mean(), abs=3.5 * error + 1e-3)


def test_rows_are_scored_alone_and_films_or_cohort_are_the_same(
    cohort: Cohort, scores: Scores
) -> None:
    rows = [7, 3, 200]
    np.testing.assert_array_equal(ideal_scores(PhantomFilms(SMALL), rows), scores[rows])
    assert ideal_scores(cohort, []).shape == (0, 6)


def test_a_cohort_from_disk_has_no_ideal_observer() -> None:
    table = pd.DataFrame({name: ["a"] for name in TABLE_COLUMNS} | {"Nodule": [1.0]})
    images = partial(np.zeros, (4, 4))
    other = Cohort("ours", table, ("Nodule",), images)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cohort, whose parameters are known, got cohort 'ours'"):
        ideal_scores(other, [0])


def test_the_heart_is_weighed_in_closed_form() -> None:
    config = SMALL.model_copy(update={"mimics": 0.25, "severity": (0.5, 0.5), "prevalence": 0.4})
    films = PhantomFilms(config)
    score = ideal_scores(films, range(12))[:, 0]
    ratio = np.array([films[i].shown.heart / (1.04 if films[i].frontal else 1) for i in range(12)])
    sick = stats.norm.pdf(ratio, 0.432 + 0.135 * np.sqrt(0.5), 0.022)
    well = 0.75 * stats.norm.pdf(ratio, 0.432, 0.022) + 0.25 * stats.norm.pdf(ratio, 0.478, 0.02)
    np.testing.assert_allclose(score, _prior(films, range(12)) + np.log(sick / well), rtol=1e-9)


def _faint(key: int) -> Film:
    """A film with a nodule near the limit of visibility, with noise of its own."""
    film = draw_film(SMALL.model_copy(update={"prevalence": 0, "mimics": 0}), 0, 0)
    film = film_with(film, "Nodule", 0.5, seed=4)
    faint = replace(film.findings[0], latent=(0.0, -6.0))
    return replace(film, findings=(faint,), key=(0, key, 0))


def test_noise_limits_the_observer_as_signal_detection_theory_says() -> None:
    bench = Bench(_faint(0))
    nodule = bench.film.findings
    change = bench.mean(nodule) - bench.mean(())
    sensitivity = 2 * float(np.linalg.norm(change))
    assert 0.5 < sensitivity < 4
    there: list[float] = []
    absent: list[float] = []
    for key in range(60):
        film = _faint(key)
        for shown, gains in ((film, there), (replace(film, findings=()), absent)):
            looked = Bench(shown)
            gains.append(looked.log_likelihood(nodule) - looked.log_likelihood(()))
    assert np.mean(there) == pytest.approx(sensitivity**2 / 2, abs=0.45 * sensitivity)
    assert np.mean(absent) == pytest.approx(-(sensitivity**2) / 2, abs=0.45 * sensitivity)
    assert np.std(there) == pytest.approx(sensitivity, rel=0.35)
    pairs = np.array(there)[:, None] > np.array(absent)[None]
    assert pairs.mean() == pytest.approx(stats.norm.cdf(sensitivity / np.sqrt(2)), abs=0.1)


def test_the_likelihood_is_that_of_the_pixels() -> None:
    film = draw_film(SMALL.model_copy(update={"prevalence": 1}), 1, 0)
    bench = Bench(film)
    noise = quantum_noise(film.key, (64, 64))
    # On a film of 64 pixels nothing is summed.
    np.testing.assert_allclose(averaged_noise(noise, (64, 64)), noise, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bench.signal, bench.mean(film.objects) + noise / 2, rtol=1e-5)
    expected = np.sum(stats.norm.logpdf(bench.signal, bench.mean(()), 0.5))
    least = float(stats.norm.logpdf(0, 0, 0.5)) * 64 * 64
    assert bench.log_likelihood(()) == pytest.approx(expected - least, rel=1e-4)


@pytest.mark.parametrize("kind", FINDINGS[1:])
def test_a_coarser_bench_sees_about_as_much(kind: str) -> None:
    config = SMALL.model_copy(update={"prevalence": 0, "mimics": 0, "height": 256, "width": 192})
    film = film_with(draw_film(config, 2, 0), kind, 0.6)
    shown = [Bench(film, side) for side in (64, 192)]
    fine, coarse = (np.linalg.norm(b.mean(film.objects) - b.mean(())) for b in reversed(shown))
    assert coarse == pytest.approx(fine, rel=0.2)


def test_without_mimics_noise_alone_counts_and_with_certain_ones_latents_alone() -> None:
    row, kind = 5, "Effusion"
    for mimics in (0.0, 1.0):
        config = SMALL.model_copy(update={"mimics": mimics})
        films = PhantomFilms(config)
        film = films[row]
        group = candidates(film, config, kind)
        others = tuple(item for item in film.objects if item.kind != kind)
        bench = Bench(film)
        noise = bench.log_likelihood(others + group) - bench.log_likelihood(others)
        latent = group[0].latent
        weighed = log_finding(kind, latent, config.severity) - log_twin(kind, latent)
        score = ideal_scores(films, [row])[0, 1] - _prior(films, range(row, row + 1))[0]
        assert score == pytest.approx(weighed if mimics else noise, rel=1e-6)


@pytest.mark.slow
def test_worse_findings_are_seen_more_surely() -> None:
    areas = []
    for severity in (0.05, 0.3, 0.6, 1.0):
        config = SMALL.model_copy(
            update={"severity": (severity, severity), "n_patients": 150, "mimics": 0.6}
        )
        known = phantom_cohort(config)
        score = ideal_scores(known, range(150))
        areas.append([_area(score[:, k], known.labels[:, k]) for k in range(6)])
    hearts = [area[0] for area in areas]
    assert hearts == sorted(hearts)
    # Where twins are much smaller or much larger than findings, both are easy.
    assert np.mean(areas[3]) > np.mean(areas[1]) + 0.02
    assert min(areas[3]) > 0.9


def test_without_severity_there_is_nothing_to_be_seen() -> None:
    config = SMALL.model_copy(update={"severity": (1e-7, 1e-7), "mimics": 0.0, "n_patients": 20})
    films = PhantomFilms(config)
    score = ideal_scores(films, range(20))
    # What is left is the view, in which the sick are more frequent.
    np.testing.assert_allclose(score - _prior(films, range(20))[:, None], 0, atol=0.05)


def test_candidates_are_what_is_there_or_what_might_be() -> None:
    config = SMALL.model_copy(update={"prevalence": 0.5, "mimics": 0.3})
    for patient in range(12):
        film = draw_film(config, patient, 0)
        for kind in FINDINGS:
            group = candidates(film, config, kind)
            if there := film.objects_of(kind):
                assert group == there
            else:
                assert len(group) == 1
                assert 0.25 <= group[0].severity <= 1
                assert group == candidates(film, config, kind)


def test_prevalence_at_its_ends_gives_finite_scores() -> None:
    for prevalence in (0.0, 1.0):
        config = SMALL.model_copy(update={"prevalence": prevalence})
        assert np.isfinite(ideal_scores(PhantomFilms(config), range(3))).all()


@pytest.fixture(scope="module")
def classes() -> Cohort:
    return phantom_cohort(SMALL.model_copy(update={"labels": "exclusive", "n_patients": 120}))


@pytest.fixture(scope="module")
def class_scores(classes: Cohort) -> Scores:
    return ideal_scores(classes, range(120))


def test_classes_are_told_apart_but_not_surely(classes: Cohort, class_scores: Scores) -> None:
    areas = [_area(class_scores[:, k], classes.labels[:, k]) for k in range(3)]
    assert areas[0] < 0.99
    assert areas[2] < 0.99
    assert min(areas) > 0.9


def test_the_odds_of_classes_are_those_of_one_posterior(
    classes: Cohort, class_scores: Scores
) -> None:
    posterior = expit(class_scores)
    np.testing.assert_allclose(posterior.sum(1), 1, atol=1e-6)
    truth = posterior[classes.labels == 1]
    # Calibrated: the mean probability of the truth is the mean squared length of the posterior.
    assert truth.mean() == pytest.approx((posterior**2).sum(1).mean(), abs=0.05)


def test_classes_sum_over_all_that_may_be_there() -> None:
    config = SMALL.model_copy(update={"labels": "exclusive", "mimics": 0.4})
    films = PhantomFilms(config)
    for row in (0, 1, 2):
        film, bench = films[row], Bench(films[row])
        share = share_sick(config, frontal=film.frontal)
        heart = (film.shown.heart / (1.04 if film.frontal else 1),)
        sick_heart = np.exp(log_finding("Cardiomegaly", heart, config.severity))
        well_heart = 0.6 * stats.norm.pdf(heart[0], 0.432, 0.022)
        well_heart += 0.4 * np.exp(log_twin("Cardiomegaly", heart))
        chances = {"Effusion": (0, 0.5, 0), "Consolidation": (0, 0, 1), "Edema": (0, 1, 0)}
        others = tuple(item for item in film.objects if item.kind not in chances)
        groups = {kind: candidates(film, config, kind) for kind in chances}
        best = bench.log_likelihood(film.objects)
        total = np.zeros(3)
        for there in product((0, 1), repeat=3):
            shown = others
            for kind, on in zip(chances, there, strict=True):
                shown += groups[kind] if on else ()
            term = np.exp(max(bench.log_likelihood(shown) - best, -700)) * np.ones(3)
            for (kind, chance), on in zip(chances.items(), there, strict=True):
                twin = np.exp(
                    sum(
                        log_twin(kind, item.latent)
                        - log_finding(kind, item.latent, config.severity)
                        for item in groups[kind]
                    )
                )
                for k in range(3):
                    absent = (1 - chance[k]) * 0.6
                    term[k] *= chance[k] + (1 - chance[k]) * 0.4 * twin if on else absent
            total += term
        joint = total * np.array([well_heart, 0.75 * sick_heart + 0.25 * well_heart, well_heart])
        joint *= np.array([1 - share, share / 2, share / 2])
        expected = np.log(joint) - np.log(joint.sum() - joint)
        score = ideal_scores(films, [row])[0]
        # What is impossible underflows here.
        sure = joint > 1e-200
        np.testing.assert_allclose(score[sure], expected[sure], rtol=1e-4, atol=1e-3)
        assert (score[~sure] < -400).all()


def test_the_definition_is_stated() -> None:
    text = Path(__file__).resolve().parents[3].joinpath("docs", "phantom.md").read_text("utf-8")
    assert "ideal_scores" in text
    assert "Neyman" in text

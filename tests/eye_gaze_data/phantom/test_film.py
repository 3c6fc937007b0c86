from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from eye_gaze_data.phantom import Film, PhantomConfig, draw_film, organ_masks, render
from eye_gaze_data.phantom.anatomy import LEFT, RIGHT, surfaces
from eye_gaze_data.phantom.film import films_of_patient
from eye_gaze_data.phantom.skeleton import bones

HEALTHY = PhantomConfig(prevalence=0, height=160, width=160)
SICK = PhantomConfig(prevalence=1, height=160, width=160)


@pytest.fixture(scope="module")
def films() -> list[Film]:
    return [draw_film(HEALTHY, patient, 0) for patient in range(8)]


@pytest.fixture(scope="module")
def rendered(films: list[Film]) -> npt.NDArray[np.float32]:
    return np.stack([render(film) for film in films]).astype(np.float32)


@pytest.fixture(scope="module")
def masks(films: list[Film]) -> npt.NDArray[np.float32]:
    return np.stack([organ_masks(film) for film in films]).astype(np.float32)


def test_a_film_is_a_float_image_in_range(films: list[Film]) -> None:
    film = render(films[0])
    assert film.shape == (160, 160)
    assert film.dtype == np.float32
    assert film.min() >= 0
    assert film.max() <= 1
    assert film.max() - film.min() > 0.8


def test_a_film_can_be_long_or_wide() -> None:
    for size in ((120, 80), (80, 120), (240, 80)):
        film = draw_film(PhantomConfig(height=size[0], width=size[1], prevalence=1), 0, 0)
        pixels = render(film)
        assert pixels.shape == size
        assert np.isfinite(pixels).all()
        assert organ_masks(film).shape == (3, *size)


def test_a_film_depends_on_seed_patient_and_number_alone() -> None:
    config = PhantomConfig(height=64, width=64, images_per_patient=3)
    larger = config.model_copy(update={"n_patients": 7000, "readers": 1, "gaze": "none"})
    first = draw_film(config, 3, 1)
    draw_film(config, 5, 0)
    assert draw_film(larger, 3, 1) == first
    np.testing.assert_array_equal(render(draw_film(config, 3, 1)), render(first))
    assert draw_film(config, 3, 0) != first
    assert draw_film(config.model_copy(update={"seed": 1}), 3, 1) != first


def test_two_films_of_a_patient_share_the_body_but_not_the_pose() -> None:
    one, other = draw_film(HEALTHY, 4, 0), draw_film(HEALTHY, 4, 1)
    assert one.anatomy.width == other.anatomy.width
    assert one.anatomy.pattern == other.anatomy.pattern
    assert one.age == other.age
    assert one.anatomy.diaphragm != other.anatomy.diaphragm


def test_a_patient_has_one_film_or_a_few() -> None:
    counts = [films_of_patient(PhantomConfig(images_per_patient=2), i) for i in range(200)]
    assert set(counts) == {1, 2}
    assert 0.35 < np.mean(np.array(counts) == 2) < 0.65
    assert films_of_patient(PhantomConfig(), 3) == 1


def test_no_two_patients_are_alike(rendered: npt.NDArray[np.float32]) -> None:
    flat = rendered.reshape(len(rendered), -1)
    apart = np.abs(flat[:, None] - flat[None]).mean(2)
    assert apart[~np.eye(len(flat), dtype=bool)].min() > 0.02


def test_lungs_are_darker_than_the_mediastinum_and_the_heart(
    films: list[Film], rendered: npt.NDArray[np.float32], masks: npt.NDArray[np.float32]
) -> None:
    for film, pixels, (left, right, heart) in zip(films, rendered, masks, strict=True):
        x, y = film.placement.grid()
        mediastinum = (np.abs(x) < 1.5) & (y > -9) & (y < -3)
        lungs = pixels[(left + right) > 0].mean()
        assert lungs + 0.2 < pixels[mediastinum].mean()
        assert lungs + 0.2 < pixels[heart > 0].mean()


def test_air_beside_the_body_is_black(films: list[Film], rendered: npt.NDArray[np.float32]) -> None:
    for film, pixels in zip(films, rendered, strict=True):
        x, y = film.placement.grid()
        beside = (np.abs(x) > film.anatomy.half_width + film.anatomy.wall + 0.4) & (y > 2)
        if beside.sum() > 20:
            assert pixels[beside].mean() < 0.05


def test_ribs_are_brighter_than_the_gaps_between_them(
    films: list[Film], rendered: npt.NDArray[np.float32], masks: npt.NDArray[np.float32]
) -> None:
    for film, pixels, organs in zip(films, rendered, masks, strict=True):
        seen = surfaces(film.anatomy, *film.placement.grid())
        bone = bones(film.anatomy, film.placement, seen)
        # In mid-lung, on top of the broad gradients from hilum to flank.
        lung = (organs[:2].sum(0) > 0) & (seen.lung_level < 0.6) & (np.abs(seen.y) < 5)
        rib, gap = lung & (bone > 0.15), lung & (bone < 0.02)
        assert min(rib.sum(), gap.sum()) > 50
        detail = pixels - ndimage.gaussian_filter(pixels, 12)
        assert detail[rib].mean() > detail[gap].mean() + 0.02


def test_the_trachea_is_darker_than_what_is_beside_it(
    films: list[Film], rendered: npt.NDArray[np.float32]
) -> None:
    darker = []
    for film, pixels in zip(films, rendered, strict=True):
        x, y = film.placement.grid()
        level = (y > film.anatomy.apex - 3) & (y < film.anatomy.apex + 1)
        inside, beside = level & (np.abs(x) < 0.4), level & (np.abs(np.abs(x) - 1.5) < 0.3)
        darker.append(pixels[beside].mean() - pixels[inside].mean())
    assert np.mean(darker) > 0.05


def test_masks_are_disjoint_binary_and_plausible(masks: npt.NDArray[np.float32]) -> None:
    assert set(np.unique(masks)) == {0.0, 1.0}
    assert masks.sum(1).max() == 1
    area = masks.mean((2, 3))
    assert (area[:, :2] > 0.08).all()
    assert (area[:, :2] < 0.30).all()
    assert (area[:, 2] > 0.04).all()
    assert (area[:, 2] < 0.16).all()


def test_the_heart_points_to_the_right_of_the_film_and_so_does_the_left_lung(
    films: list[Film], masks: npt.NDArray[np.float32]
) -> None:
    for film, (left, right, heart) in zip(films, masks, strict=True):
        x, y = film.placement.grid()
        assert x[left > 0].mean() > 4
        assert x[right > 0].mean() < -4
        assert x[heart > 0].mean() > 0.5
        # The right half of the diaphragm stands higher: below the dome's top there is no lung.
        assert y[right > 0].max() < y[left > 0].max() + 1.5
        assert film.anatomy.dome(RIGHT) < film.anatomy.dome(LEFT)


def _cardiothoracic_ratio(film: Film) -> float:
    left, right, heart = organ_masks(replace(film, placement=replace(film.placement, tilt=0.0)))
    columns = np.flatnonzero((left + right).any(0))
    return float(heart.any(0).sum() / (columns[-1] - columns[0] + 1))


def test_the_cardiothoracic_ratio_tells_an_enlarged_heart() -> None:
    healthy = [_cardiothoracic_ratio(draw_film(HEALTHY, i, 0)) for i in range(60)]
    sick = [_cardiothoracic_ratio(draw_film(SICK, i, 0)) for i in range(60)]
    assert max(healthy) < 0.5 < min(sick)
    assert 0.40 < np.mean(healthy) < 0.47
    assert np.mean(sick) < 0.62


def test_ap_films_have_larger_hearts_higher_diaphragms_and_less_contrast() -> None:
    drawn = [draw_film(HEALTHY, i, 0) for i in range(400)]
    frontal = [film for film in drawn if film.frontal]
    upright = [film for film in drawn if not film.frontal]
    assert 0.28 < len(frontal) / len(drawn) < 0.42
    assert _mean(frontal, "heart") > _mean(upright, "heart") + 0.01
    assert _mean(frontal, "diaphragm") < _mean(upright, "diaphragm") - 0.8
    assert min(film.scatter for film in frontal) > max(film.scatter for film in upright)


def _mean(films: list[Film], name: str) -> float:
    return float(np.mean([getattr(film.anatomy, name) for film in films]))


def test_prevalence_and_severity_change_the_findings_and_nothing_else() -> None:
    mild = SICK.model_copy(update={"severity": (0.1, 0.2)})
    for patient in range(5):
        healthy = draw_film(HEALTHY, patient, 0)
        for config in (SICK, mild):
            assert replace(draw_film(config, patient, 0), findings=()) == healthy

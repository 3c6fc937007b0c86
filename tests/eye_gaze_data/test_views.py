"""Views of radiographs: crops within bounds, gamma, blur; the lungs stay."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from eye_gaze_data.anatomy import CohortAnatomy
from eye_gaze_data.config import RADIOGRAPH, AugmentConfig
from eye_gaze_data.dataset import GazeDataset, _blurred, _draw, _photometric
from eye_gaze_data.geometry import augment_frame, invert, map_points
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort

SIZE = (64, 48)
SQUARE = (96, 96)


def test_the_name_radiograph_stands_for_its_ranges() -> None:
    preset = AugmentConfig.model_validate("radiograph")
    assert preset == AugmentConfig.model_validate(RADIOGRAPH)
    assert preset.flip == "never"
    assert not {"hue", "saturation"} & AugmentConfig.model_fields.keys()


@pytest.mark.parametrize("share", [0.5, 0.7, 0.95])
def test_a_crop_keeps_its_share_and_stays_on_the_grid(share: float) -> None:
    kept, lefts = [], []
    for seed in range(300):
        draw = _draw(AugmentConfig(crop=share), np.random.default_rng(seed))
        back = invert(augment_frame(SIZE, draw))
        x, y = map_points(back, [0, SIZE[1]], [0, SIZE[0]])
        assert x.min() >= -1e-9
        assert x.max() <= SIZE[1] + 1e-9
        assert y.min() >= -1e-9
        assert y.max() <= SIZE[0] + 1e-9
        kept.append(np.ptp(x) * np.ptp(y) / (SIZE[0] * SIZE[1]))
        assert np.ptp(x) / SIZE[1] == pytest.approx(np.ptp(y) / SIZE[0])
        lefts.append(x.min() / max(SIZE[1] - np.ptp(x), 1e-9))
    assert share <= min(kept) < share + 0.05
    assert max(kept) > 0.95
    assert np.mean(kept) == pytest.approx((share + 1) / 2, abs=0.02)
    assert min(lefts) < 0.05
    assert max(lefts) > 0.95


def test_a_crop_goes_together_with_scale_and_shift() -> None:
    both = AugmentConfig(crop=0.8, scale=(1.2, 1.2), shift=0.1)
    draw = _draw(both, np.random.default_rng(4))
    alone = _draw(both.model_copy(update={"crop": 1.0}), np.random.default_rng(4))
    assert alone.scale == 1.2
    side = 1.2 / draw.scale
    assert 0.8**0.5 <= side < 1
    for moved, still in zip(draw.shift, alone.shift, strict=True):
        assert abs(moved - still) <= (1 / side - 1) / 2


def test_options_that_are_off_draw_nothing() -> None:
    """What older configs drew, they draw still."""
    old = AugmentConfig(degrees=5, shift=0.1, noise=0.1)
    rng = np.random.default_rng(3)
    _draw(old, rng)
    other = np.random.default_rng(3)
    other.uniform(-1, 1, 3), other.uniform(1, 1), other.random()
    assert rng.bit_generator.state == other.bit_generator.state


def test_gamma_bends_grey_levels_within_its_range() -> None:
    image = torch.linspace(0, 1, 48).view(1, 6, 8)
    valid = torch.ones(1, 6, 8, dtype=torch.bool)
    exponents = []
    for seed in range(100):
        bent = _photometric(image, valid, AugmentConfig(gamma=0.5), np.random.default_rng(seed))
        exponent = (bent[0, 2, 3].log() / image[0, 2, 3].log()).item()
        torch.testing.assert_close(bent, image**exponent)
        exponents.append(np.log(exponent))
    assert max(map(abs, exponents)) <= 0.5 + 1e-4
    assert min(exponents) < -0.4
    assert max(exponents) > 0.4


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_blur_is_scipy_s(sigma: float) -> None:
    image = torch.rand(1, 40, 32, generator=torch.Generator().manual_seed(0))
    radius = int(np.ceil(3 * sigma))
    expected = gaussian_filter(image[0].double().numpy(), sigma, mode="mirror", radius=radius)
    np.testing.assert_allclose(_blurred(image, sigma)[0], expected, atol=1e-5)
    assert torch.equal(_blurred(image, 0.09), image)


def test_the_lungs_stay_in_the_views_of_radiographs() -> None:
    """At least 0.9 of a phantom's lungs in every view, 0.98 on average; a tighter crop cuts."""
    cohort = phantom_cohort(PhantomConfig(n_patients=8, height=96, width=96, gaze="none"))
    lungs = CohortAnatomy(cohort, [organ for organ in cohort.organs if "lung" in organ])
    preset = AugmentConfig.model_validate("radiograph")
    tight = preset.model_copy(update={"crop": 0.5})
    dataset = GazeDataset(cohort, SQUARE, anatomy=lungs, views=(None, preset, tight))
    shares = []
    for epoch, row in product(range(12), range(8)):
        film, *views = dataset[epoch, row]
        areas = [np.linalg.det(view["frame"][:, :2].numpy()) for view in (film, *views)]
        masks = [view["anatomy"].sum().item() for view in (film, *views)]
        shares.append([m / masks[0] * areas[0] / a for m, a in zip(masks, areas, strict=True)])
    kept = np.array(shares)
    assert kept[:, 1].min() > 0.9
    assert kept[:, 1].mean() > 0.98
    assert kept[:, 2].min() < 0.8

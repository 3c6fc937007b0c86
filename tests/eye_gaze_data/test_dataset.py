import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch

from eye_gaze_data.anatomy import CohortAnatomy, OnesAnatomy
from eye_gaze_data.batch import Sample, check_batch, collate
from eye_gaze_data.cohort import BoxTable, Cohort, Pixels, merge
from eye_gaze_data.config import AugmentConfig, GazeConfig, Recipe
from eye_gaze_data.dataset import GazeDataset
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.fitted import FittedFilms
from eye_gaze_data.gaze import GAZE_COLUMNS, GazeTable
from eye_gaze_data.geometry import Fit, compose, fit_frame, invert, map_points

SIZES = [(91, 67), (64, 80), (70, 70)]
SPOTS = [(36.5, 41.5), (44.5, 30.5), (31.5, 38.5)]  # (x, y) of a bright spot on each film
GRID = (48, 56)
TURNED = AugmentConfig(degrees=25, scale=(0.8, 1.25), shift=0.06, flip="random")
EVERYTHING = AugmentConfig(
    degrees=15,
    scale=(0.9, 1.1),
    shift=0.05,
    flip="random",
    brightness=0.1,
    contrast=0.2,
    noise=0.02,
)
Point = tuple[int, float, float, float, float, str]


def _distance(row: int) -> npt.NDArray[np.float64]:
    (height, width), (x, y) = SIZES[row], SPOTS[row]
    columns, rows = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    return np.asarray(np.hypot(columns - x, rows - y))


class _Films:
    """A spot on black; counts how often it was read."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, row: int) -> Pixels:
        self.reads += 1
        return np.exp(-(_distance(row) ** 2) / (2 * 2.5**2)).astype(np.float32)


class _White:
    def __call__(self, row: int) -> Pixels:
        return np.ones(SIZES[row], np.float32)


class _Masks:
    """A disc on the spot; nothing is known of the second organ."""

    def __call__(self, row: int) -> Pixels:
        disc = (_distance(row) < 7).astype(np.float32)
        return np.stack([disc, np.full_like(disc, np.nan)])


def _points(rows: Sequence[Point]) -> GazeTable:
    return GazeTable(pd.DataFrame(rows, columns=list(GAZE_COLUMNS)), len(SIZES))


def _cohort() -> Cohort:
    table = pd.DataFrame(
        {
            "image_id": ["a", "b", "c"],
            "patient_id": ["p", "q", "p"],
            "study_id": "",
            "split": "train",
            "path": "",
            "height": [size[0] for size in SIZES],
            "width": [size[1] for size in SIZES],
            "source": "",
            "Mass": [1.0, 0.0, np.nan],
            "Edema": [np.nan, 1.0, 0.0],
        }
    )
    on_spot: list[Point] = [
        (row, *SPOTS[row], 0.2, float(i), "r") for row in range(3) for i in range(row + 1)
    ]
    boxes = pd.DataFrame(
        [(row, row % 2, x - 6, y - 6, x + 6, y + 6) for row, (x, y) in enumerate(SPOTS)],
        columns=["row", "label", "x1", "y1", "x2", "y2"],
    )
    return Cohort(
        name="spots",
        table=table,
        pathologies=("Mass", "Edema"),
        images=_Films(),
        gaze=_points(on_spot),
        organs=("lungs", "heart"),
        masks=_Masks(),
        boxes=BoxTable(boxes, np.array([True, False, True])),
    )


def _equal(one: Sample, other: Sample) -> bool:
    for key, value in one.items():
        twin = other[key]  # type: ignore[literal-required]
        if isinstance(value, torch.Tensor):
            if not torch.equal(value.nan_to_num(-7), twin.nan_to_num(-7)):
                return False
        elif value != twin:
            return False
    return True


def _centroid(plane: torch.Tensor) -> npt.NDArray[np.float64]:
    values = plane.double().numpy()
    columns, rows = np.arange(values.shape[1]) + 0.5, np.arange(values.shape[0])[:, None] + 0.5
    total = values.sum()
    return np.array([(values * columns).sum() / total, (values * rows).sum() / total])


def test_a_plain_sample_is_the_film_on_the_grid() -> None:
    cohort = _cohort()
    dataset = GazeDataset(cohort, GRID, anatomy=CohortAnatomy(cohort, cohort.organs))
    assert len(dataset) == 3
    (sample,) = dataset[0, 1]
    # 64 x 80 on 48 x 56: ratio 0.7, 44.8 rows high, 1.6 rows of padding above and below.
    np.testing.assert_allclose(sample["frame"], [[0.7, 0, 0], [0, 0.7, 1.6]], atol=1e-6)
    expected = torch.zeros(1, *GRID, dtype=torch.bool)
    expected[:, 2:46] = True
    assert torch.equal(sample["valid"], expected)
    assert not sample["image"][~expected].any()
    np.testing.assert_allclose(
        _centroid(sample["image"][0]), [44.5 * 0.7, 30.5 * 0.7 + 1.6], atol=0.02
    )
    assert sample["fixations"].sum() == 2
    assert sample["fixations"][0, math.floor(30.5 * 0.7 + 1.6), math.floor(44.5 * 0.7)] == 2
    assert sample["labels"].tolist() == [0, 1]
    np.testing.assert_allclose(
        sample["boxes"], [[38.5 * 0.7, 24.5 * 0.7 + 1.6, 50.5 * 0.7, 36.5 * 0.7 + 1.6]], rtol=1e-6
    )
    assert sample["box_labels"].tolist() == [1]
    assert sample["boxes_known"].item() is False
    assert (sample["index"].item(), sample["view"].item()) == (1, 0)
    assert (sample["image_id"], sample["patient_id"]) == ("b", "q")


@pytest.mark.parametrize("augment", [None, EVERYTHING])
@pytest.mark.parametrize("what", ["both", "gaze", "labels"])
def test_every_sample_obeys_the_contract(what: str, augment: AugmentConfig | None) -> None:
    cohort = _cohort()
    if what == "gaze":
        cohort = replace(cohort, pathologies=(), boxes=None, masks=None, organs=())
    if what == "labels":
        cohort = replace(cohort, gaze=None, boxes=None, masks=None)
    anatomy = CohortAnatomy(cohort, cohort.organs)
    dataset = GazeDataset(cohort, GRID, anatomy=anatomy, views=(augment, augment))
    batch = collate([dataset[epoch, row] for epoch in range(4) for row in range(3)])
    check_batch(batch, len(cohort.pathologies), len(cohort.organs))
    assert batch["saliency"].isnan().all().item() is (what == "labels")
    assert batch["fixations"].isnan().all().item() is (what == "labels")
    assert batch["boxes_known"].any().item() is (what == "both")
    assert batch["labels"].shape == (24, 0 if what == "gaze" else 2)
    if what == "labels":
        assert batch["anatomy"].isnan().all()


def test_a_merged_cohort_gives_what_each_part_knows() -> None:
    whole = _cohort()
    gaze = replace(
        whole, name="gaze", pathologies=(), boxes=None, masks=None, organs=(), exclusive=False
    )
    labels = replace(whole, name="labels", gaze=None)
    both = merge([gaze, labels])
    dataset = GazeDataset(both, GRID, anatomy=CohortAnatomy(both, both.organs))
    batch = collate([dataset[0, row] for row in range(6)])
    check_batch(batch, 2, 2)
    assert batch["saliency"].flatten(1).isnan().all(1).tolist() == [False] * 3 + [True] * 3
    assert batch["labels"][:3].isnan().all()
    assert batch["labels"][3].nan_to_num(-1).tolist() == [1, -1]
    assert batch["anatomy"][:3].isnan().all()
    assert not batch["anatomy"][3:, 0].isnan().any()
    assert [len(boxes) for boxes in batch["boxes"]] == [0, 0, 0, 1, 1, 1]
    assert batch["image_id"][0] == "gaze/a"


def test_chosen_classes_reorder_labels_and_drop_boxes() -> None:
    dataset = GazeDataset(_cohort(), GRID, classes=("Edema",))
    samples = [dataset[0, row][0] for row in range(3)]
    assert [sample["labels"].nan_to_num(-1).tolist() for sample in samples] == [[-1], [1], [0]]
    assert [sample["box_labels"].tolist() for sample in samples] == [[], [0], []]
    check_batch(collate(samples), 1)
    swapped = GazeDataset(_cohort(), GRID, classes=("Edema", "Mass"))
    assert [swapped[0, row][0]["box_labels"].tolist() for row in range(3)] == [[1], [0], [1]]


def test_a_sample_depends_on_seed_epoch_row_and_repeat_alone() -> None:
    def dataset(seed: int = 3, films: FittedFilms | None = None) -> GazeDataset:
        cohort = _cohort()
        anatomy = CohortAnatomy(cohort, cohort.organs)
        gaze = GazeConfig(readers="sample")
        return GazeDataset(
            cohort, GRID, seed, anatomy=anatomy, gaze=gaze, views=(EVERYTHING,) * 2, films=films
        )

    keys = [(epoch, row) for epoch in range(3) for row in range(3)]
    films = FittedFilms(3)
    forward, backward, unkept = dataset(films=films), dataset(films=films), dataset()
    first = {key: forward[key] for key in keys}
    second = {key: backward[key] for key in reversed(keys)}
    third = {key: unkept[key] for key in keys[::2] + keys}
    for key in keys:
        for view in range(2):
            assert _equal(first[key][view], second[key][view])
            assert _equal(first[key][view], third[key][view])
            assert _equal(first[key][view], forward[key][view])
    base = first[0, 1][0]
    others = (forward[1, 1], forward[0, 1, 1], dataset(seed=4)[0, 1])
    for other in (first[0, 1][1], *(samples[0] for samples in others)):
        assert not torch.equal(base["frame"], other["frame"])
        assert not torch.equal(base["image"], other["image"])


def test_without_augmentation_epochs_are_alike() -> None:
    dataset = GazeDataset(_cohort(), GRID)
    assert _equal(dataset[0, 2][0], dataset[5, 2][0])
    assert _equal(dataset[0, 2][0], dataset[5, 2, 3][0])


def test_data_sets_on_one_grid_read_a_film_once() -> None:
    films = _Films()
    cohort = replace(_cohort(), images=films)
    small = (GRID[0] // 2, GRID[1] // 2)
    for size, reads in ((GRID, 3), (GRID, 3), (small, 6), (GRID, 9)):
        kept = GazeDataset(cohort, size, views=(None, TURNED), films=cohort.fitted)
        read = GazeDataset(_cohort(), size, views=(None, TURNED))
        for epoch in range(2):
            for row in range(3):
                for one, other in zip(kept[epoch, row], read[epoch, row], strict=True):
                    assert _equal(one, other)
        assert films.reads == reads
    strided = GazeDataset(cohort, GRID, fit="strided", stride=2, films=cohort.fitted)
    assert _equal(strided[0, 0][0], GazeDataset(_cohort(), GRID, fit="strided", stride=2)[0, 0][0])


def test_without_a_place_to_keep_them_films_are_read_each_time() -> None:
    films = _Films()
    dataset = GazeDataset(replace(_cohort(), images=films), GRID)
    for epoch in range(3):
        dataset[epoch, 0]
    assert films.reads == 3


def test_views_stand_view_after_view_and_share_their_index() -> None:
    dataset = GazeDataset(_cohort(), GRID, views=(None, TURNED, TURNED))
    batch = collate([dataset[0, 2], dataset[0, 0]])
    check_batch(batch, 2)
    assert batch["index"].tolist() == [2, 0, 2, 0, 2, 0]
    assert batch["view"].tolist() == [0, 0, 1, 1, 2, 2]
    assert batch["image_id"] == ["c", "a"] * 3
    plain = GazeDataset(_cohort(), GRID)
    assert torch.equal(batch["image"][0], plain[0, 2][0]["image"])
    assert torch.equal(batch["frame"][1], plain[0, 0][0]["frame"])
    frames = batch["frame"][::2]
    assert not torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[1], frames[2])


@pytest.mark.parametrize("fit", ["pad", "crop"])
@pytest.mark.parametrize(
    "augment",
    [
        None,
        AugmentConfig(degrees=30),
        AugmentConfig(scale=(0.7, 1.3)),
        AugmentConfig(shift=0.1),
        AugmentConfig(flip="always"),
        TURNED,
    ],
)
def test_augmentation_moves_image_gaze_masks_and_boxes_together(
    fit: Fit, augment: AugmentConfig | None
) -> None:
    cohort = _cohort()
    anatomy = CohortAnatomy(cohort, cohort.organs)
    # A narrow Gaussian, so that its peak is the fixation's pixel.
    gaze = GazeConfig(recipe=Recipe(sigma=0.03))
    dataset = GazeDataset(cohort, GRID, 1, fit=fit, anatomy=anatomy, gaze=gaze, views=(augment,))
    frames = set()
    for epoch in range(6):
        for row in range(3):
            (sample,) = dataset[epoch, row]
            frame = sample["frame"].double().numpy()
            frames.add(tuple(frame.ravel().tolist()))
            x, y = (float(values[0]) for values in map_points(frame, *np.array([SPOTS[row]]).T))
            np.testing.assert_allclose(_centroid(sample["image"][0]), [x, y], atol=0.3)
            assert sample["fixations"].sum() == row + 1
            assert sample["fixations"][0, math.floor(y), math.floor(x)] == row + 1
            peak = divmod(int(sample["saliency"].argmax()), GRID[1])
            assert peak == (math.floor(y), math.floor(x))
            np.testing.assert_allclose(_centroid(sample["saliency"][0]), [x, y], atol=0.3)
            np.testing.assert_allclose(_centroid(sample["anatomy"][0]), [x, y], atol=0.3)
            (box,) = sample["boxes"].double().numpy()
            np.testing.assert_allclose((box[:2] + box[2:]) / 2, [x, y], atol=1e-3)
            assert sample["anatomy"][1].isnan().all()
            assert sample["valid"][0, math.floor(y), math.floor(x)]
    assert len(frames) == (18 if augment and augment.flip != "always" else 3)


def test_flip_is_never_random_or_always() -> None:
    def sides(flip: str) -> set[bool]:
        augment = AugmentConfig.model_validate({"flip": flip})
        dataset = GazeDataset(_cohort(), GRID, views=(augment,))
        return {bool(dataset[epoch, 0][0]["frame"][0, 0] < 0) for epoch in range(20)}

    assert sides("never") == {False}
    assert sides("random") == {False, True}
    assert sides("always") == {True}
    # x' = W - x: a film flipped twice is the film.
    (plain,), (flipped,) = (
        GazeDataset(_cohort(), GRID, views=(augment,))[0, 0]
        for augment in (None, AugmentConfig(flip="always"))
    )
    torch.testing.assert_close(flipped["image"].flip(2), plain["image"], atol=1e-5, rtol=0)
    torch.testing.assert_close(flipped["saliency"].flip(2), plain["saliency"], atol=1e-7, rtol=0)
    assert torch.equal(flipped["fixations"].flip(2), plain["fixations"])


def test_draws_stay_in_their_ranges() -> None:
    augment = AugmentConfig(degrees=20, scale=(0.9, 1.3), shift=0.1)
    dataset = GazeDataset(_cohort(), GRID, views=(augment,))
    base = fit_frame(SIZES[2], GRID)
    angles, enlarged, shifts = [], [], []
    for epoch in range(150):
        frame = dataset[epoch, 2][0]["frame"].double().numpy()
        moved = compose(frame, invert(base))
        angles.append(math.degrees(math.atan2(moved[1, 0], moved[0, 0])))
        enlarged.append(math.hypot(moved[0, 0], moved[1, 0]))
        centre = np.array([GRID[1] / 2, GRID[0] / 2])
        shifts.append((moved[:, :2] @ centre + moved[:, 2] - centre) / (GRID[1], GRID[0]))
    for drawn, low, high in (
        (angles, -20, 20),
        (enlarged, 0.9, 1.3),
        (np.array(shifts)[:, 0], -0.1, 0.1),
        (np.array(shifts)[:, 1], -0.1, 0.1),
    ):
        slack = 0.1 * (high - low)
        assert low - 1e-4 <= min(drawn) < low + slack
        assert high - slack < max(drawn) <= high + 1e-4
        assert np.mean(drawn) == pytest.approx((low + high) / 2, abs=slack)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_a_white_film_is_white_where_valid_and_black_elsewhere(fit: Fit) -> None:
    turned = AugmentConfig(scale=(0.6, 1.4), shift=0.2, degrees=0 if fit == "stretch" else 40)
    cohort = replace(_cohort(), images=_White(), gaze=None)
    dataset = GazeDataset(cohort, GRID, fit=fit, views=(None, turned))
    for epoch in range(5):
        for row in range(3):
            for sample in dataset[epoch, row]:
                torch.testing.assert_close(
                    sample["image"], sample["valid"].float(), atol=1e-4, rtol=0
                )
                assert sample["valid"].any()


def test_contrast_and_brightness_act_on_the_film_alone() -> None:
    class Halves:
        def __call__(self, row: int) -> Pixels:
            film = np.full(SIZES[row], 0.4, np.float32)
            film[: SIZES[row][0] // 2] = 0.6
            return film

    cohort = replace(_cohort(), images=Halves(), gaze=None)
    contrast = GazeDataset(cohort, GRID, views=(AugmentConfig(contrast=0.5),))
    brightness = GazeDataset(cohort, GRID, views=(AugmentConfig(brightness=0.2),))
    noise = GazeDataset(cohort, GRID, views=(AugmentConfig(noise=0.05),))
    steps, levels = [], []
    for epoch in range(40):
        (sample,) = contrast[epoch, 1]
        film = sample["image"][0, :, 20][sample["valid"][0, :, 20]]
        steps.append(float(film[3] - film[-3]))
        assert film.mean() == pytest.approx(0.5, abs=5e-3)  # the film keeps its mean
        (sample,) = brightness[epoch, 1]
        levels.append(float(sample["image"][sample["valid"]].mean()))
        assert not sample["image"][~sample["valid"]].any()
    assert 0.1 <= min(steps) < 0.13
    assert 0.27 < max(steps) <= 0.3
    assert 0.3 - 5e-3 <= min(levels) < 0.33
    assert 0.67 < max(levels) <= 0.7 + 5e-3
    (noisy,), (plain,) = noise[0, 2], GazeDataset(cohort, GRID)[0, 2]
    difference = (noisy["image"] - plain["image"])[plain["valid"]]
    assert difference.std() == pytest.approx(0.05, rel=0.1)
    assert difference.mean() == pytest.approx(0, abs=0.005)


def _readers(readers: str, epochs: int = 1) -> list[Sample]:
    """Film c with three points of ann at its left and one of bob at its right."""
    ann: list[Point] = [(2, 15.0, 35.0, 0.1, float(i), "ann") for i in range(3)]
    bob: list[Point] = [(2, 55.0, 35.0, 0.1, 0.0, "bob")]
    gaze = GazeConfig.model_validate({"recipe": {"sigma": 0.05}, "readers": readers})
    dataset = GazeDataset(replace(_cohort(), gaze=_points(ann + bob)), (70, 70), gaze=gaze)
    return [dataset[epoch, 2][0] for epoch in range(epochs)]


@pytest.mark.parametrize("readers", ["pool", "sample"])
def test_without_maps_all_else_is_the_same(readers: Literal["pool", "sample"]) -> None:
    recipe = GazeConfig(readers=readers)
    drawn = GazeDataset(_cohort(), GRID, gaze=recipe, views=(EVERYTHING,))
    plain = GazeDataset(_cohort(), GRID, gaze=recipe, views=(EVERYTHING,), maps=False)
    for key in ((0, 0), (3, 1), (3, 2, 1)):
        one, other = drawn[key][0], plain[key][0]
        assert one["saliency"].sum() == pytest.approx(1)
        assert other["saliency"].isnan().all()
        assert other["fixations"].isnan().all()
        unknown = {"saliency": other["saliency"], "fixations": other["fixations"]}
        assert _equal(other, {**one, **unknown})  # type: ignore[typeddict-item]


def test_readers_are_pooled_averaged_or_drawn() -> None:
    def left(sample: Sample) -> float:
        return float(sample["saliency"][..., :35].sum())

    (pool,) = _readers("pool")
    assert left(pool) == pytest.approx(0.75, abs=1e-4)
    assert pool["fixations"].sum() == 4
    (mean,) = _readers("mean")
    assert left(mean) == pytest.approx(0.5, abs=1e-4)
    assert mean["fixations"].sum() == 4
    drawn = _readers("sample", 30)
    shares = [round(left(sample), 4) for sample in drawn]
    assert set(shares) == {0, 1}
    assert 5 < sum(shares) < 25
    for sample, share in zip(drawn, shares, strict=True):
        assert sample["fixations"].sum() == (3 if share else 1)
        assert sample["fixations"][..., :35].sum() == (3 if share else 0)
    ann, bob = (
        next(s for s, share in zip(drawn, shares, strict=True) if share == n) for n in (1, 0)
    )
    torch.testing.assert_close(
        mean["saliency"], (ann["saliency"] + bob["saliency"]) / 2, atol=1e-7, rtol=0
    )
    torch.testing.assert_close(
        pool["saliency"], 0.75 * ann["saliency"] + 0.25 * bob["saliency"], atol=1e-5, rtol=0
    )


def test_duration_weighs_the_density_and_not_the_counts() -> None:
    points: list[Point] = [(2, 15.0, 35.0, 0.3, 0.0, "r"), (2, 55.0, 35.0, 0.1, 1.0, "r")]
    gaze = GazeConfig(recipe=Recipe(sigma=0.05, weight="duration"))
    dataset = GazeDataset(replace(_cohort(), gaze=_points(points)), (70, 70), gaze=gaze)
    (sample,) = dataset[0, 2]
    assert sample["saliency"][..., :35].sum() == pytest.approx(0.75, abs=1e-4)
    assert sample["fixations"].sum() == 2


def test_points_off_the_film_do_not_count() -> None:
    height, width = SIZES[0]
    off: list[Point] = [
        (0, x, y, 0.1, 0.0, "off")
        # The first lies off the film, yet in a grid pixel whose centre is film.
        for x, y in ((width + 0.05, 40.0), (-0.05, 40.0), (30.0, height), (30.0, -200.0))
    ]
    on: Point = (0, 30.0, 40.0, 0.1, 0.0, "on")
    for readers in ("pool", "mean", "sample"):
        config = GazeConfig.model_validate({"readers": readers})
        cohort = replace(_cohort(), gaze=_points([*off, on]))
        samples = [GazeDataset(cohort, GRID, gaze=config)[epoch, 0][0] for epoch in range(6)]
        alone = GazeDataset(replace(cohort, gaze=_points([on])), GRID, gaze=config)[0, 0][0]
        for sample in samples:
            assert sample["fixations"].sum() == 1
            assert torch.equal(sample["saliency"], alone["saliency"])
    nobody = GazeDataset(replace(_cohort(), gaze=_points(off)), GRID)[0, 0][0]
    assert nobody["saliency"].isnan().all()
    assert nobody["fixations"].isnan().all()


def test_what_a_recipe_needs_and_lacks_is_named() -> None:
    degree = GazeDataset(_cohort(), GRID, gaze=GazeConfig(preset="degree"))
    with pytest.raises(ConfigError, match=r"image 'b'.*no pixels per degree"):
        degree[0, 1]
    points: list[Point] = [(2, 15.0, 35.0, math.nan, 0.0, "r")]
    untimed = replace(_cohort(), gaze=_points(points))
    with pytest.raises(ConfigError, match=r"image 'c'.*declare the duration column"):
        GazeDataset(untimed, GRID, gaze=GazeConfig(preset="fixation"))[0, 2]
    sheared = GazeDataset(_cohort(), GRID, fit="stretch", views=(AugmentConfig(degrees=5),))
    with pytest.raises(ConfigError, match="without shear"):
        sheared[0, 0]


def test_degrees_follow_the_cohorts_pixels_per_degree() -> None:
    points: list[Point] = [(2, 35.0, 35.0, 0.1, 0.0, "r")]
    table = pd.DataFrame(points, columns=list(GAZE_COLUMNS))
    gaze = GazeTable(table, 3, np.array([np.nan, np.nan, 6.0]))
    dataset = GazeDataset(replace(_cohort(), gaze=gaze), (70, 70), gaze=GazeConfig(preset="degree"))
    across = dataset[0, 2][0]["saliency"][0].sum(0).double().numpy()
    spread = math.sqrt((across * (np.arange(70) + 0.5 - 35) ** 2).sum())
    assert spread == pytest.approx(6, rel=0.01)


def test_a_film_of_another_size_than_the_table_is_refused() -> None:
    cohort = _cohort()
    wrong = replace(cohort, table=cohort.table.assign(width=[67, 81, 70]))
    with pytest.raises(DataError, match=r"image 'b': the table says \(64, 81\).*gave \(64, 80\)"):
        GazeDataset(wrong, GRID)[0, 1]


def test_organs_come_from_the_cohort_ones_or_nowhere() -> None:
    cohort = _cohort()
    nothing = GazeDataset(cohort, GRID)[0, 0][0]["anatomy"]
    assert nothing.shape == (0, *GRID)
    ones = GazeDataset(cohort, GRID, anatomy=OnesAnatomy(["x", "y"]))[0, 0][0]
    torch.testing.assert_close(
        ones["anatomy"], ones["valid"].float().expand(2, -1, -1), atol=1e-5, rtol=0
    )
    mixed = CohortAnatomy(cohort, ["spine", "heart", "lungs"])
    assert mixed.organs == ("spine", "heart", "lungs")
    masks = mixed(0, SIZES[0])
    assert np.isnan(masks[:2]).all()
    np.testing.assert_array_equal(masks[2], _Masks()(0)[0])
    elsewhere = mixed.of_film(np.zeros((5, 6), np.float32))
    assert np.isnan(elsewhere).all()
    assert elsewhere.shape == (3, 5, 6)
    assert np.isnan(CohortAnatomy(replace(cohort, masks=None), ["lungs"])(0, (5, 6))).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m * 255, r"mask of organ '\w+' must lie in \[0, 1\].*found \[0, 255\]"),
        (lambda m: np.where(m > 0, np.nan, m), r"must lie in \[0, 1\].* and \d+ NaN"),
        (lambda m: m[:, :-1], r"its film has .* its organ masks have .*; masks of another film\?"),
    ],
)
def test_masks_out_of_range_or_of_another_film_are_refused(
    change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]], message: str
) -> None:
    cohort = _cohort()
    read = cohort.masks
    assert read is not None
    cohort = replace(cohort, masks=lambda row: change(read(row)))
    dataset = GazeDataset(cohort, GRID, anatomy=CohortAnatomy(cohort, cohort.organs))
    with pytest.raises(DataError, match=message):
        dataset[0, 0]

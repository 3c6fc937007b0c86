"""Sources of organ masks: what they give, what they refuse, what is hidden."""

from dataclasses import replace

import numpy as np
import pytest

from eye_gaze_data.anatomy import CohortAnatomy, OnesAnatomy, UnknownAnatomy, annotated_rows
from eye_gaze_data.cohort import Cohort, Pixels
from eye_gaze_data.errors import DataError
from eye_gaze_data.phantom import PhantomConfig, phantom_cohort

SIZE = (32, 40)


class Masks:
    """Lungs of row 2 are too large a number, the heart of row 3 is unknown, row 4 is too small."""

    def __call__(self, row: int) -> Pixels:
        masks = np.zeros((2, *SIZE), np.float32)
        masks[0, :5], masks[1, 10:] = 1, 0.5
        if row == 2:
            masks[0, 0, 0] = 255
        if row == 3:
            masks[1] = np.nan
        return masks[:, :12] if row == 4 else masks


@pytest.fixture
def cohort() -> Cohort:
    made = phantom_cohort(PhantomConfig(n_patients=6, height=32, width=40, readers=1))
    return replace(made, organs=("lungs", "heart"), masks=Masks())


def test_the_planes_that_a_stage_asks_for(cohort: Cohort) -> None:
    source = CohortAnatomy(cohort, ["heart", "spine"])
    masks = source(1, SIZE)
    assert masks.shape == (2, *SIZE)
    assert masks[0].sum() == 0.5 * 22 * 40
    assert np.isnan(masks[1]).all()
    assert np.isnan(source.of_film(np.zeros((3, 4), np.float32))).all()
    assert source.of_film(np.zeros((3, 4), np.float32)).shape == (2, 3, 4)
    ones = OnesAnatomy(["x"])
    assert (ones(0, SIZE) == 1).all()
    assert ones.of_film(np.zeros((3, 4), np.float32)).tolist() == [[[1.0] * 4] * 3]


def test_of_an_unknown_source_every_mask_is_nan() -> None:
    source = UnknownAnatomy(["heart", "spine"])
    film = np.ones((3, 4), np.float32)
    for masks in (source(7, (3, 4)), source.of_film(film)):
        assert masks.dtype == np.float32
        np.testing.assert_array_equal(masks, np.full((2, 3, 4), np.nan))
    assert source.organs == ("heart", "spine")


def test_hidden_rows_are_as_if_nobody_had_drawn_them(cohort: Cohort) -> None:
    source = CohortAnatomy(cohort, cohort.organs, hidden={1})
    assert np.isnan(source(1, SIZE)).all()
    assert not np.isnan(source(0, SIZE)).any()


def test_masks_that_are_wrong_are_named(cohort: Cohort) -> None:
    source = CohortAnatomy(cohort, cohort.organs)
    names = cohort.table["image_id"]
    with pytest.raises(DataError, match=f"'{names[2]}': the mask of organ 'lungs' .* 255]"):
        source(2, SIZE)
    message = f"'{names[4]}': its film has .32, 40. pixels .*, its organ masks have .12, 40."
    with pytest.raises(DataError, match=message):
        source(4, SIZE)


def test_which_films_are_annotated(cohort: Cohort) -> None:
    rows = np.array([3, 1, 0, 5])
    hidden = CohortAnatomy(cohort, cohort.organs, hidden={0})
    assert annotated_rows(hidden, cohort, rows).tolist() == [3, 1, 5]
    assert annotated_rows(hidden, cohort, rows, 2).tolist() == [3, 1]
    # Row 3 knows its lungs alone.
    hearts = CohortAnatomy(cohort, ["heart"])
    assert annotated_rows(hearts, cohort, rows).tolist() == [1, 0, 5]
    without = CohortAnatomy(replace(cohort, masks=None), ["heart"])
    assert annotated_rows(without, cohort, rows).tolist() == []

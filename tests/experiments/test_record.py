"""What a run's manifest notices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.build import build_cohorts
from experiments.record import make_manifest
from eye_gaze_data.cohort import Cohort, merge
from eye_gaze_data.image_files import FileMasks
from tests.experiments.small import small_config


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Films with masks in files: both organs of the first, one of the third."""
    drawn = build_cohorts(small_config())
    sizes = [drawn.size_of(row) for row in range(len(drawn))]
    paths = {place: tmp_path / f"{place[0]}-{place[1]}.png" for place in ((0, 0), (0, 1), (2, 1))}
    for (row, _), path in paths.items():
        Image.fromarray(np.full(sizes[row], 255, np.uint8)).save(path)
    masks = FileMasks(paths, sizes, 2)
    assert [masks.files(row) for row in range(3)] == [
        [paths[0, 0], paths[0, 1]], [], [paths[2, 1]],
    ]  # fmt: skip
    table = drawn.table.drop(columns=["cohort", "exclusive"])
    return merge([replace(drawn, table=table, organs=("a", "b"), masks=masks)])


def test_a_changed_mask_is_another_cohort(cohort: Cohort, tmp_path: Path) -> None:
    before = make_manifest(tmp_path, cohort)["cohorts"]
    assert make_manifest(tmp_path, cohort)["cohorts"] == before
    height, width = cohort.size_of(2)
    Image.fromarray(np.zeros((height, width), np.uint8)).save(tmp_path / "2-1.png")
    assert make_manifest(tmp_path, cohort)["cohorts"] != before

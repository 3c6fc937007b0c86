from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import build
from experiments.inspect_data import _rows_to_show, check_data, draw_sheet, film_hashes
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.facts import cohort_facts
from eye_gaze_data.open_cohort import CohortConfig, open_cohort
from eye_gaze_data.store.cohort import prepared_cohort
from eye_gaze_data.store.config import PreparedConfig, StoreConfig
from eye_gaze_data.store.prepare import prepare
from tests.experiments.small import small_config
from tests.eye_gaze_data.store.small import small_cohort


def test_films_are_hashed_once_and_those_of_a_prepared_cohort_never(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "files", 6)
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    hashes = film_hashes(cohort, step)
    assert steps == 6
    assert len({content for content, _ in hashes}) == 6
    prepare(cohort, tmp_path / "out", StoreConfig(size=None))
    ready = prepared_cohort(PreparedConfig(root=tmp_path / "out"), "ready")
    # Nothing was shrunk, so the films of the store are known for those of the files.
    assert film_hashes(ready, step) == hashes
    assert steps == 6


def test_a_film_of_one_level_is_named(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "files", 4)
    Image.fromarray(np.full((61, 41), 9, np.uint8)).save(tmp_path / "files" / "f1.png")
    with pytest.raises(DataError, match=r"image 'f1.png': all pixels are equal \(0.0353\)"):
        film_hashes(cohort, lambda: None)


def test_check_gives_the_facts_of_each_cohort_and_twins_of_all(tmp_path: Path) -> None:
    drawn = {"kind": "phantom", "n_patients": 8, "height": 48, "width": 48, "readers": 1}
    config = small_config(
        cohorts={"phantom": drawn, "twin": drawn | {"patient_namespace": "phantom"}}
    )
    del tmp_path
    facts = check_data(config)
    assert set(facts) == {"phantom", "twin", "all cohorts"}
    assert facts["phantom"]["images"] == 8
    # The same patients in the same splits: the films are told, and no error.
    assert len(facts["all cohorts"]["same film under two ids"]) == 8


def test_each_cohort_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def count(config: CohortConfig, name: str) -> Cohort:
        built.append(name)
        return open_cohort(config, name)

    monkeypatch.setattr(build, "open_cohort", count)
    drawn = {"kind": "phantom", "n_patients": 40, "height": 32, "width": 32, "readers": 1}
    config = small_config(
        cohorts={"phantom": drawn | {"labels": "exclusive"}, "other": drawn | {"seed": 1}},
        legacy_split=["phantom"],
    )
    facts = check_data(config)
    assert built == ["phantom", "other"]
    # The split by image is the run's: the facts are those of the cohort as it is.
    own = build.build_cohort(config.cohorts["phantom"], "phantom")
    assert facts["phantom"] == cohort_facts(own)
    assert not any("split by image" in note for note in facts["phantom"]["notes"])
    assert any("split by image" in note for note in build.build_cohorts(config).notes)


def test_what_is_known_of_most_is_shown_first(tmp_path: Path) -> None:
    cohort = small_cohort(tmp_path / "files", 12)
    rows = _rows_to_show(cohort, seed=0)
    assert sorted(rows) == list(range(12))
    with_both = {row for row in range(12) if row % 3 and row % 4 == 1}
    assert set(rows[: len(with_both)]) == with_both
    assert rows == _rows_to_show(cohort, seed=0)
    assert rows != _rows_to_show(cohort, seed=1)
    bare = replace(cohort, gaze=None, boxes=None)
    assert sorted(_rows_to_show(bare, seed=0)) == list(range(12))


def test_a_sheet_of_an_unknown_cohort_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no cohort 'fantom'; did you mean 'phantom'"):
        draw_sheet(small_config(), "fantom", tmp_path / "sheet.png", 4)

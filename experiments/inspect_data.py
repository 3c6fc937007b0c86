"""``gazedx data check`` and ``data show``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.contact_sheet import contact_sheet
from eye_gaze_data.errors import ConfigError, DataError, nearest
from eye_gaze_data.facts import cohort_facts, refuse_torn_twins, twin_facts
from eye_gaze_data.files import write_atomic
from eye_gaze_data.store.shrink import to_levels
from eye_gaze_data.twins import content_hash, look_hash

from .build import build_cohort, join_cohorts
from .config import RunConfig


def check_data(
    config: RunConfig, step: Callable[[], None] = lambda: None
) -> dict[str, dict[str, Any]]:
    """Facts of each cohort, every film read once; patients and films checked across cohorts.

    Args:
        config: of a run.
        step: called after each film.

    Returns:
        by cohort, and under ``all cohorts`` the films that occur twice.

    Raises:
        DataError: at the first file, row or patient that is not as it should be, and if the same
            film stands in two splits.
    """
    cohorts = {name: build_cohort(part, name) for name, part in config.cohorts.items()}
    merged = join_cohorts(config, list(cohorts.values()))
    facts: dict[str, dict[str, Any]] = {name: cohort_facts(c) for name, c in cohorts.items()}
    hashes = [hashed for cohort in cohorts.values() for hashed in film_hashes(cohort, step)]
    contents, looks = zip(*hashes, strict=True)
    refuse_torn_twins(merged, contents)
    facts["all cohorts"] = twin_facts(merged, contents, looks)
    return facts


def film_hashes(cohort: Cohort, step: Callable[[], None]) -> list[tuple[str, str]]:
    """Hashes of content and look of every film; those of a prepared cohort are in its table.

    Raises:
        DataError: for a film that cannot be read or is all of one level.
    """
    if {"content", "look"} <= set(cohort.table):
        return list(zip(cohort.table["content"], cohort.table["look"], strict=True))
    hashes = []
    for row in range(len(cohort)):
        pixels = cohort.images(row)
        if pixels.min() == pixels.max():
            name = cohort.table["image_id"].iat[row]
            raise DataError(f"image '{name}': all pixels are equal ({pixels.min():.3g})")
        hashes.append((content_hash(to_levels(pixels, 8)), look_hash(pixels)))
        step()
    return hashes


def draw_sheet(config: RunConfig, name: str | None, out: Path, count: int) -> None:
    """Write a contact sheet of one cohort, films drawn by seed.

    Where some films have gaze, boxes or masks, those with the most of them come first.

    Raises:
        ConfigError: if there is no such cohort.
    """
    name = name or next(iter(config.cohorts))
    if name not in config.cohorts:
        raise ConfigError(f"no cohort '{name}'; {nearest(name, config.cohorts)}")
    cohort = build_cohort(config.cohorts[name], name)
    rows = _rows_to_show(cohort, config.seed)[:count]
    sheet = Image.fromarray(contact_sheet(cohort, rows))
    write_atomic(out, lambda file: sheet.save(file, "PNG"))


def _rows_to_show(cohort: Cohort, seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(len(cohort))
    known = cohort.has_gaze.astype(np.int64)
    if cohort.boxes is not None:
        known[cohort.boxes.frame()["row"].unique()] += 1
    return [int(row) for row in order[np.argsort(-known[order], kind="stable")]]

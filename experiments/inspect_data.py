"""``gazedx data check`` and ``data show``."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eye_gaze_data.cohort import Cohort
from eye_gaze_data.contact_sheet import contact_sheet
from eye_gaze_data.errors import ConfigError, DataError, nearest
from eye_gaze_data.files import write_atomic

from .build import build_cohort, build_cohorts
from .config import RunConfig


def check_data(config: RunConfig) -> dict[str, dict[str, Any]]:
    """Facts of each cohort, every file read once; patients checked across cohorts.

    Raises:
        DataError: at the first file, row or patient that is not as it should be.
    """
    build_cohorts(config)
    return {name: _facts(build_cohort(part, name)) for name, part in config.cohorts.items()}


def draw_sheet(config: RunConfig, name: str | None, out: Path, count: int) -> None:
    """Write a contact sheet of one cohort, films drawn by seed.

    Raises:
        ConfigError: if there is no such cohort.
    """
    name = name or next(iter(config.cohorts))
    if name not in config.cohorts:
        raise ConfigError(f"no cohort '{name}'; {nearest(name, config.cohorts)}")
    cohort = build_cohort(config.cohorts[name], name)
    rows = np.random.default_rng(config.seed).permutation(len(cohort))[:count]
    sheet = Image.fromarray(contact_sheet(cohort, [int(row) for row in rows]))
    write_atomic(out, lambda file: sheet.save(file, "PNG"))


def _facts(cohort: Cohort) -> dict[str, Any]:
    table = cohort.table
    splits = table["split"].replace("", "(unused)").value_counts()
    facts: dict[str, Any] = {
        "images": len(cohort),
        "patients": table["patient_id"].nunique(),
        "splits": ", ".join(f"{name} {count}" for name, count in splits.items()),
        "sizes": f"{table['width'].min()}x{table['height'].min()} to "
        f"{table['width'].max()}x{table['height'].max()}",
    }
    for name in cohort.pathologies:
        stated = table[name].notna()
        facts[f"label {name}"] = (
            f"{int((table[name] == 1).sum())} positive, {int((table[name] == 0).sum())} negative, "
            f"{int((~stated).sum())} not stated"
        )
    facts |= _gaze_facts(cohort)
    if cohort.boxes is not None:
        facts["boxes"] = len(cohort.boxes.frame())
    if cohort.organs:
        facts["organs"] = ", ".join(cohort.organs)
    facts |= {f"note {number}": note for number, note in enumerate(cohort.notes, 1)}
    return facts | _content_facts(cohort)


def _gaze_facts(cohort: Cohort) -> dict[str, Any]:
    if cohort.gaze is None:
        return {"gaze": "none"}
    points, counts = cohort.gaze.frame(), cohort.gaze.counts()
    seen = counts[counts > 0]
    rows = points["row"].to_numpy()
    width, height = (cohort.table[side].to_numpy()[rows] for side in ("width", "height"))
    off = (points["x"] < 0) | (points["x"] >= width) | (points["y"] < 0) | (points["y"] >= height)
    duration = points["duration"].median()
    return {
        "gaze": f"{len(points)} {'samples' if cohort.gaze.samples else 'fixations'} of "
        f"{points['reader'].nunique()} reader(s) on {len(seen)} images",
        "points an image": f"median {np.median(seen):.0f}, {seen.min()} to {seen.max()}",
        "duration": "not stated" if np.isnan(duration) else f"median {duration * 1000:.0f} ms",
        "off the image": f"{off.mean():.2%}",
    }


def _content_facts(cohort: Cohort) -> dict[str, Any]:
    """Read all pixels: constant films, and the same film under two ids in different splits."""
    seen: dict[str, int] = {}
    twins: list[str] = []
    ids, splits = (list(cohort.table[name]) for name in ("image_id", "split"))
    for row in range(len(cohort)):
        pixels = cohort.images(row)
        if pixels.min() == pixels.max():
            raise DataError(f"image '{ids[row]}': all pixels are equal ({pixels.min():.3g})")
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        if digest in seen and splits[row] != splits[seen[digest]]:
            first = seen[digest]
            twins.append(f"'{ids[first]}' ({splits[first]}) = '{ids[row]}' ({splits[row]})")
        seen.setdefault(digest, row)
    if twins:
        raise DataError(
            f"cohort '{cohort.name}': {len(twins)} film(s) stand under two ids in different "
            f"splits, e.g. {twins[0]}; give both the same patient or drop one"
        )
    return {"files": "all read"}

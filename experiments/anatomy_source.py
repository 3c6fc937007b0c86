"""Where the organ masks of a stage come from, and the masks that a segment stage leaves behind."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from diagnosis.anatomy.masks import FilmSegmenter, MaskFolder, SegmentedAnatomy
from eye_gaze_data.anatomy import AnatomySource, CohortAnatomy, OnesAnatomy, annotated_rows
from eye_gaze_data.cohort import Cohort
from eye_gaze_data.errors import ConfigError

from .build import build_network
from .config import AnatomyConfig, RunConfig, StageConfig
from .devices import choose_device
from .finished import FinishedStage
from .weights import hand_over, read_weights

MASKS = "masks"


def anatomy_source(
    config: RunConfig, stage: StageConfig, cohort: Cohort | None, run: Path, device: str = "auto"
) -> AnatomySource | None:
    """Where a stage's organ masks come from; None for a stage without.

    Args:
        config: of the run.
        stage: of it.
        cohort: of the run; None where only films from elsewhere are segmented.
        run: the run folder, for source ``stage``.
        device: of the segmenter: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        StageError: if the stage that gives the masks is not finished.
    """
    anatomy = stage.anatomy
    if anatomy is None:
        return None
    if anatomy.source == "ones":
        return OnesAnatomy(anatomy.organs)
    if anatomy.source == "stage":
        return stage_anatomy(FinishedStage.load(run, anatomy.stage), anatomy, device)
    assert cohort is not None  # noqa: S101 - for the type checker
    return cohort_anatomy(config, stage, anatomy, cohort)


def cohort_anatomy(
    config: RunConfig, stage: StageConfig, anatomy: AnatomyConfig, cohort: Cohort
) -> CohortAnatomy:
    """The cohort's masks, of which only ``annotated`` training films' are used.

    Raises:
        ConfigError: if fewer training films have masks.
    """
    source = CohortAnatomy(cohort, anatomy.organs)
    if anatomy.annotated is None:
        return source
    rows = np.concatenate([cohort.rows_of("train", [name]) for name in stage.data.cohorts])
    order = np.random.default_rng([config.seed, 7]).permutation(rows)
    drawn = annotated_rows(source, cohort, order, anatomy.annotated)
    if len(drawn) < anatomy.annotated:
        raise ConfigError(
            f"stage '{stage.name}': anatomy.annotated asks for {anatomy.annotated} training films "
            f"with masks of {', '.join(anatomy.organs)}, the cohort has {len(drawn)}"
        )
    return CohortAnatomy(cohort, anatomy.organs, set(rows.tolist()) - set(drawn.tolist()))


def stage_anatomy(finished: FinishedStage, anatomy: AnatomyConfig, device: str) -> SegmentedAnatomy:
    """The masks of a finished segment stage."""
    folder = MaskFolder(finished.weights.parent / MASKS)
    load = partial(load_segmenter, finished, device)
    return SegmentedAnatomy(anatomy.organs, _organs(finished), folder, load)


def segment_stage(finished: FinishedStage) -> FinishedStage | None:
    """The stage whose segmenter a finished stage reads masks from; None if it reads none.

    Raises:
        StageError: if that stage is not finished.
    """
    anatomy = finished.stage.anatomy
    if anatomy is None or anatomy.source != "stage":
        return None
    return FinishedStage.load(finished.run, anatomy.stage)


def load_segmenter(finished: FinishedStage, device: str = "auto") -> FilmSegmenter:
    """The segmenter of a finished stage."""
    config, spec = finished.config, finished.stage
    network = build_network(
        config.models[spec.model].model_copy(update={"pretrained": False}), 0, config.seed
    )
    hand_over(network, read_weights(finished.weights), {"": ""}, str(finished.weights))
    network = network.to(choose_device(device)).eval()
    return FilmSegmenter(network, spec.data.image_size, spec.data.fit)


def ensure_masks(
    finished: FinishedStage,
    cohort: Cohort,
    data: Mapping[str, str],
    device: str = "auto",
    step: Callable[[], None] = lambda: None,
) -> int:
    """Write the masks of all films of a run into the folder of its segment stage, once.

    Args:
        finished: the segment stage.
        cohort: the run's merged cohort.
        data: a hash of each cohort, as in the manifest.
        device: of the segmenter.
        step: called after each film that was segmented.

    Returns:
        films that were segmented; 0 if the same weights had segmented the same data before.
    """
    folder = MaskFolder(finished.weights.parent / MASKS)
    key = {
        "weights_sha256": finished.weights_sha256,
        "organs": list(_organs(finished)),
        "data": dict(data),
    }
    segmenter: list[FilmSegmenter] = []

    def segment(row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        if not segmenter:
            segmenter.append(load_segmenter(finished, device))
        return segmenter[0](cohort.images(row))

    return folder.ensure(key, len(cohort), segment, step)


def _organs(finished: FinishedStage) -> tuple[str, ...]:
    organs: tuple[str, ...] = getattr(finished.config.models[finished.stage.model], "organs", ())
    return organs

"""``gazedx compare``: runs side by side on the images that they share, paired and corrected."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from diagnosis.metrics import diagnosis_metrics
from eye_gaze_data.errors import ConfigError, DataError
from eye_gaze_data.files import read_json, sha256_of
from saliency.metrics.comparison import Comparison, compare_pair, holm, seed_spread

from .compare_detection import compare_boxes, detection_part, detection_spread
from .compare_diagnosis import compare_auroc_of, findings_of
from .detection_scores import read_matches
from .load import load_config
from .metric_names import LOCALISATION, METRICS
from .record import changed_keys

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScoredRun:
    """An evaluated run.

    Attributes:
        path: its folder.
        name: of its config, or of its folder where maps were scored.
        seed: of the run.
        key: of its config but for seed and name: equal in runs that repeat each other.
        identity: of what it was evaluated on.
        images: ``per_image.csv``, by image.
        detection: the detection table of ``metrics.json``, by group; empty of other stages.
    """

    path: Path
    name: str
    seed: int
    key: str
    identity: Mapping[str, Any]
    images: pd.DataFrame
    detection: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """One line of the leaderboard: a run, or several that differ in their seed alone."""

    name: str
    runs: tuple[ScoredRun, ...]

    def scores(self, metric: str) -> list[Numbers]:
        """The metric of the images, for each seed."""
        return [run.images[metric].to_numpy(np.float64) for run in self.runs]


def compare(
    paths: Sequence[Path | str],
    *,
    resamples: int = 10_000,
    seed: int = 0,
    reference: str | None = None,
) -> dict[str, Any]:
    """Compare evaluated runs.

    Args:
        paths: run folders, or folders that ``gazedx score`` wrote; at least two.
        resamples: bootstrap draws and random sign patterns.
        seed: of both.
        reference: name of the contender that the others are compared with; the first if None.

    Returns:
        ``contenders``, ``reference``, and for each group of images ``leaderboard`` and
        ``comparisons``; p-values are corrected over all comparisons together.

    Raises:
        ConfigError: if runs were scored on other data, splits, grids or recipes.
        DataError: if a run was not evaluated.
    """
    if len(paths) < 2:
        raise ConfigError(f"compare: expected at least 2 runs, found {len(paths)}")
    runs = [read_scored(Path(path)) for path in paths]
    contenders = contenders_of(runs)
    names = [contender.name for contender in contenders]
    if reference is not None and reference not in names:
        raise ConfigError(f"--reference: expected one of {', '.join(names)}, found '{reference}'")
    first = names.index(reference) if reference else 0
    return compare_contenders(contenders, contenders[first], resamples=resamples, seed=seed)


def compare_contenders(
    contenders: Sequence[Contender], first: Contender, *, resamples: int = 10_000, seed: int = 0
) -> dict[str, Any]:
    """Compare contenders with one of them, see ``compare``."""
    runs = [run for contender in contenders for run in contender.runs]
    for run in runs[1:]:
        _refuse_other(runs[0], run)
    metrics, left_out = shared_metrics(runs)
    findings = findings_of([run.images for run in runs])
    groups = runs[0].images["group"].unique().tolist()
    tables = {str(run.path): run.detection for run in runs}
    # Before the pairs: it refuses runs that were scored on other boxes or classes.
    boxes = {group: detection_part(tables, group) for group in groups}
    pairs: list[tuple[str, Comparison]] = []
    for group in groups:
        for other in contenders:
            if other is not first:
                compared = compare_two(other, first, group, metrics, findings, resamples, seed)
                pairs += [(group, one) for one in compared]
    corrected = holm([one.p_value for _, one in pairs])
    found = [
        (group, replace(one, p_holm=float(p)))
        for (group, one), p in zip(pairs, corrected, strict=True)
    ]
    return {
        "identity": dict(runs[0].identity),
        "resamples": resamples,
        "seed": seed,
        "reference": first.name,
        "contenders": {
            one.name: {
                "runs": [str(run.path) for run in one.runs],
                "seeds": [run.seed for run in one.runs],
            }
            for one in contenders
        },
        "left_out": left_out,
        "groups": {
            group: {
                "n_images": int((runs[0].images["group"] == group).sum()),
                "leaderboard": _leaderboard(contenders, group, metrics, findings),
                "comparisons": [asdict(one) for name, one in found if name == group],
                **boxes[group],
            }
            for group in groups
        },
    }


def read_scored(path: Path) -> ScoredRun:
    """What an evaluation left in a run folder.

    Raises:
        DataError: if there is none, or one of an older form.
    """
    folder = path / "evaluate"
    for name in ("metrics.json", "per_image.csv"):
        if not (folder / name).is_file():
            raise DataError(f"{folder / name}: the run was not evaluated; gazedx evaluate {path}")
    metrics = read_json(folder / "metrics.json")
    if "identity" not in metrics:
        raise DataError(f"{folder}: evaluated by an older version; gazedx evaluate {path}")
    images = pd.read_csv(
        folder / "per_image.csv",
        dtype={"image_id": str, "patient_id": str, "group": str},
        keep_default_na=False,
        na_values=[""],
    ).sort_values("image_id", ignore_index=True)
    name, seed, key = path.name, 0, str(path)
    if (path / "config.yaml").is_file():
        config = load_config(path / "config.yaml")
        name, seed = config.name, config.seed
        key = sha256_of(config.model_dump(mode="json", exclude={"seed", "name"}), metrics["stage"])
    detection = metrics.get("detection", {})
    return ScoredRun(path, name, seed, key, metrics["identity"], images, detection)


def contenders_of(runs: Sequence[ScoredRun]) -> list[Contender]:
    """Runs that repeat each other with other seeds as one, in the order of their first.

    Raises:
        ConfigError: if one run is given twice.
    """
    parts: dict[str, list[ScoredRun]] = {}
    for run in runs:
        part = parts.setdefault(run.key, [])
        if run.seed in [other.seed for other in part]:
            raise ConfigError(f"{run.path}: another run has the same config and seed; leave it out")
        part.append(run)
    names = [part[0].name for part in parts.values()]
    return [
        Contender(name if names.count(name) == 1 else str(part[0].path), tuple(part))
        for name, part in zip(names, parts.values(), strict=True)
    ]


def _refuse_other(first: ScoredRun, run: ScoredRun) -> None:
    changed = changed_keys(dict(first.identity), dict(run.identity))
    if changed:
        keys = {key.split(".")[0] for key in changed}
        told = {
            "data": "other images, labels or gaze",
            "splits": "other splits",
            **{
                key: f"{key} {first.identity.get(key)} and {run.identity.get(key)}"
                for key in ("split", "grid", "gaze", "gaze_readers", "group")
            },
        }
        raise ConfigError(
            f"{first.path} and {run.path} cannot be compared: "
            f"{'; '.join(told[key] for key in told if key in keys)}. Evaluate both alike, e.g. "
            "gazedx evaluate RUN --set evaluate.grid=640"
        )
    if list(first.images["image_id"]) != list(run.images["image_id"]):
        raise ConfigError(
            f"{first.path} and {run.path} cannot be compared: their per_image.csv have "
            f"{len(first.images)} and {len(run.images)} rows of images that are not the same; "
            "evaluate both again"
        )


def shared_metrics(runs: Sequence[ScoredRun]) -> tuple[list[str], dict[str, str]]:
    """The metrics that all runs have, and why others are left out."""
    kept, left_out = [], {}
    located = [name for name in LOCALISATION if any(name in run.images for run in runs)]
    for metric in (*METRICS, *located):
        lacking = [str(run.path) for run in runs if metric not in run.images]
        if lacking:
            left_out[metric] = f"not in {', '.join(lacking)}"
            continue
        values = [run.images[metric].to_numpy(np.float64) for run in runs]
        if any(np.isinf(one).any() for one in values):
            left_out[metric] = "infinite for some image: a mean says nothing"
        elif all(np.isnan(one).all() for one in values):
            left_out[metric] = "undefined for all images"
        else:
            kept.append(metric)
    return kept, left_out


def compare_two(
    one: Contender,
    other: Contender,
    group: str,
    metrics: Sequence[str],
    findings: Sequence[str],
    resamples: int,
    seed: int,
    **auroc: Any,  # noqa: ANN401
) -> list[Comparison]:
    """One contender minus another, on one group.

    Args:
        one: a contender.
        other: whom it is compared with.
        group: of images.
        metrics: columns of ``per_image.csv``.
        findings: names; the mean AUROC over them is compared, and each.
        resamples: bootstrap draws and random sign patterns.
        seed: of both.
        auroc: more settings of ``compare_auroc_of``.
    """
    images = one.runs[0].images
    own = (images["group"] == group).to_numpy()
    patients = images["patient_id"].to_numpy()[own]
    found = []
    for metric in metrics:
        # Seeds are averaged image by image: the comparison is of the configs.
        mean, reference = (np.mean(each.scores(metric), axis=0)[own] for each in (one, other))
        if not np.isnan(mean - reference).all():
            pair = compare_pair(mean, reference, patients, resamples=resamples, seed=seed)
            found.append(replace(pair, metric=metric))
    tables, others = ([run.images[own] for run in each.runs] for each in (one, other))
    found += compare_auroc_of(tables, others, findings, resamples=resamples, seed=seed, **auroc)
    if all(group in run.detection for each in (one, other) for run in each.runs):
        # Films without a complete list have no number of boxes.
        films = images[own & images["n_boxes"].notna().to_numpy()]
        names, classes = films["image_id"].tolist(), list(one.runs[0].detection[group]["classes"])
        boxes, others_boxes = (
            [read_matches(run.path / "evaluate", names, classes) for run in each.runs]
            for each in (one, other)
        )
        owners = films["patient_id"].tolist()
        found += compare_boxes(boxes, others_boxes, owners, resamples=resamples, seed=seed)
    return [replace(pair, first=one.name, second=other.name) for pair in found]


def _leaderboard(
    contenders: Sequence[Contender], group: str, metrics: Sequence[str], findings: Sequence[str]
) -> dict[str, dict[str, Any]]:
    board: dict[str, dict[str, Any]] = {}
    detecting = all(group in run.detection for one in contenders for run in one.runs)
    for one in contenders:
        tables = [run.images[run.images["group"] == group] for run in one.runs]
        line = {
            metric: asdict(seed_spread([table[metric].to_numpy(np.float64) for table in tables]))
            for metric in metrics
        }
        if findings:
            aurocs = [
                diagnosis_metrics(
                    table[[f"probability_{name}" for name in findings]].to_numpy(np.float64),
                    table[[f"label_{name}" for name in findings]].to_numpy(np.float64),
                    findings,
                ).macro_auroc
                for table in tables
            ]
            line["mean AUROC"] = asdict(seed_spread([[value] for value in aurocs]))
        if detecting:
            line |= detection_spread([run.detection for run in one.runs], group)
        board[one.name] = line
    return board

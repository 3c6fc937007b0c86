"""The detection table: every class of every group, with how many boxes it was scored on."""

from dataclasses import dataclass

from .formatting import as_float, count, counted, interval, number
from .run_folder import Facts, RunFolder, section
from .whiskers import Whisker, whisker


@dataclass(frozen=True)
class DetectedClass:
    """A row of the detection table."""

    name: str
    precision: str
    precision_interval: str
    whisker: Whisker
    precision_at_half: str
    half_interval: str
    boxes: str
    images: str


@dataclass(frozen=True)
class DetectionGroup:
    """The detection table of one group; ``overall`` is the mean over classes with boxes."""

    name: str
    facts: tuple[tuple[str, str], ...]
    classes: tuple[DetectedClass, ...]
    overall: DetectedClass


def detection_groups(run: RunFolder) -> tuple[DetectionGroup, ...]:
    """One table a group; groups are never pooled."""
    groups = section(run.metrics, "detection")
    return tuple(_group(name, section(groups, name)) for name in groups)


def _group(name: str, facts: Facts) -> DetectionGroup:
    classes = section(facts, "classes")
    known = facts.get("n_classes")
    things = {"images": "image", "patients": "patient", "boxes": "box"}
    shown = [
        (counted(facts.get(f"n_{key}"), thing) if thing != "box" else "true boxes", f"n_{key}")
        for key, thing in things.items()
    ]
    shown.append(("without a complete list, left out", "n_without_list"))
    return DetectionGroup(
        name=name,
        facts=tuple((title, count(facts.get(key))) for title, key in shown),
        classes=tuple(_row(one, section(classes, one)) for one in classes),
        overall=_row(f"Mean over {count(known)} with boxes", facts),
    )


def _row(name: str, facts: Facts) -> DetectedClass:
    overall, half = section(facts, "map"), section(facts, "ap50")
    value, low, high = (as_float(overall.get(part)) for part in ("value", "low", "high"))
    return DetectedClass(
        name=name,
        precision=number(value),
        precision_interval=interval(low, high),
        whisker=whisker((name, value, low, high), (0.0, 1.0), 4.0, 136.0),
        precision_at_half=number(half.get("value")),
        half_interval=interval(half.get("low"), half.get("high")),
        boxes=count(facts.get("n_boxes")),
        images=count(facts.get("n_images")),
    )

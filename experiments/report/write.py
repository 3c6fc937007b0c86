"""Writing the report of a run."""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from eye_gaze_data.files import write_text

from .charts import Chart
from .curves import learning_curves
from .detection_tables import detection_groups
from .diagnosis_tables import diagnosis_groups
from .formatting import (
    TIMES,
    as_float,
    count,
    duration,
    elapsed,
    moment,
    number,
    percent,
    size,
    text,
)
from .localisation_table import localisation_groups
from .method import method_notes
from .page import environment, joined, script_hash
from .run_folder import Facts, RunFolder, Stage, read_run_folder, section
from .saliency_tables import saliency_groups
from .viewer import build_viewer

# What the stage is called where maps of another origin were scored.
GIVEN_MAPS = "given maps"
STYLES = ("report.css", "viewer.css")
# In this order: each uses what stands before it.
SCRIPTS = (
    "theme.js",
    "viewer_cases.js",
    "viewer_list.js",
    "viewer_side.js",
    "viewer_canvas.js",
    "viewer_replay.js",
    "viewer.js",
)


@dataclass(frozen=True)
class StageView:
    """A row of the stage table and the stage's learning curves."""

    name: str
    kind: str
    task: str
    status: str
    note: str
    epochs: str
    best_epoch: str
    monitor: str
    arrow: str
    value: str
    seconds: str
    trained: str
    frozen: str
    init: str
    key: str
    charts: tuple[Chart, ...]
    left_out: int


def write_report(run: Path) -> Path:
    """Write one HTML file that shows what a finished run did and found.

    Args:
        run: the run folder; gaze, labels, cases and even the evaluation may be missing.

    Returns:
        The file, ``run/evaluate/report.html``.

    Raises:
        DataError: the folder is no run, or one of its files cannot be read.
    """
    target = run / "evaluate" / "report.html"
    write_text(target, _render(read_run_folder(run)))
    return target


def _render(run: RunFolder) -> str:
    given_maps = run.metrics.get("stage") == GIVEN_MAPS
    script, style = joined(SCRIPTS), joined(STYLES)
    return (
        environment()
        .get_template("report.html")
        .render(
            name=text(run.facts.get("name") or run.path.name),
            facts=_facts(run),
            command=text(run.facts.get("command")),
            config_hash=text(run.facts.get("config_sha256")),
            versions=section(run.facts, "versions"),
            given_maps=given_maps,
            saliency=saliency_groups(run),
            diagnosis=diagnosis_groups(run),
            detection=detection_groups(run),
            localisation=localisation_groups(run),
            stages=tuple(_stage(stage) for stage in run.stages),
            viewer=build_viewer(run, given_maps=given_maps),
            level=_level(run),
            notes=method_notes(run.metrics),
            style=Markup(style),  # noqa: S704 - our file
            script=Markup(script),  # noqa: S704 - our file
            script_hash=script_hash(script),
        )
    )


def _facts(run: RunFolder) -> tuple[tuple[str, str], ...]:
    facts, metrics = run.facts, run.metrics
    size_of_image = metrics.get("image_size")
    grid = f" {TIMES} ".join(map(str, size_of_image)) if isinstance(size_of_image, list) else "n/a"
    started, finished = facts.get("started"), facts.get("finished")
    return (
        ("Finished", moment(finished)),
        ("Took", elapsed(started, finished)),
        ("Seed", text(facts.get("seed"))),
        ("Configuration", text(facts.get("config_sha256"))[:12]),
        ("gazedx", text(facts.get("gazedx"))),
        ("Device", text(facts.get("device"))),
        ("Evaluated", f"{text(metrics.get('stage'))}, split {text(metrics.get('split'))}"),
        ("Evaluation grid", f"{text(metrics.get('grid'))} ({grid})"),
    )


def _level(run: RunFolder) -> str:
    level = as_float(section(run.metrics, "bootstrap").get("level"))
    return percent(level).replace(".0 %", " %") if level == level else "bootstrap"


def _stage(stage: Stage) -> StageView:
    facts, monitor = stage.facts, section(stage.facts, "monitor")
    charts, left_out = learning_curves(stage)
    return StageView(
        name=text(facts.get("name") or stage.folder),
        kind=text(facts.get("kind")),
        task=text(facts.get("task")),
        status=text(facts.get("status")),
        note=_note(facts),
        epochs=count(facts.get("epochs")),
        best_epoch=count(as_float(facts.get("best_epoch")) + 1),
        monitor=text(monitor.get("metric")),
        arrow={"min": "↓", "max": "↑"}.get(str(monitor.get("mode")), ""),
        value=number(monitor.get("value"), 4),
        seconds=duration(facts.get("seconds")),
        trained=size(facts.get("n_trained")),
        frozen=size(facts.get("n_frozen")),
        init=str(facts.get("init") or "no earlier stage"),
        key=str(facts.get("key") or "")[:12],
        charts=charts,
        left_out=left_out,
    )


def _note(facts: Facts) -> str:
    """Why a stage was skipped, or what ended it."""
    if facts.get("status") == "skipped":
        return f"{text(facts.get('reason'))} ({text(facts.get('stands_in'))})"
    return str(facts.get("error") or "")

"""The page of a study, and its plots as files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from experiments.compare_text import difference_rows
from eye_gaze_data.files import write_text

from .forest import Forest, forests
from .page import HERE, environment, joined, script_hash
from .study_curves import Panel, curve_panels, read_cell, tasks_of

if TYPE_CHECKING:
    from experiments.study import StudyConfig

STYLES = ("report.css", "viewer.css", "study_figure.css", "study.css")
MARGIN, HEAD, COLUMNS = 16.0, 68.0, 5
CURVE_NOTE = (
    "Scores on the validation split by epoch: thick is the mean over the seeds that reached the "
    "epoch, thin each seed; the number is the last mean. Dashes: AUROC of chance, CC of the centre "
    "bias. A line has a gap where a stage does not train the task. All cells share the axes of "
    "scores, which leave out the extreme 2 % of values."
)
FOREST_NOTE = (
    "95 % interval of the bootstrap over patients, seeds averaged film by film. Green is better, "
    "red worse, where p after Holm's correction is below 0.05. An arrow's number is off the axis."
)


def write_study_page(
    study: "StudyConfig",
    folder: Path,
    rows: Sequence[Sequence[str]],
    differences: Mapping[str, Any],
) -> Path:
    """Write ``study.html``, and ``curves.svg`` and ``differences.svg`` where there is something.

    Args:
        study: the cells and seeds.
        folder: of the study; unfinished runs show the epochs that they have.
        rows: head and rows of the table of cells.
        differences: of ``result_differences``.

    Returns:
        The page; it links to the reports of the runs and loads nothing.
    """
    cells = [
        read_cell(name, cell.about, [folder / name / f"seed-{seed}" for seed in study.seeds])
        for name, cell in study.cells.items()
    ]
    panels, figures = curve_panels(cells), forests(differences)
    if panels:
        write_text(folder / "curves.svg", _curves(study.name, panels))
    if figures:
        write_text(folder / "differences.svg", _differences(study.name, figures))
    runs = {name: [_link(folder, name, seed) for seed in study.seeds] for name in study.cells}
    script = joined(("theme.js",))
    page = (
        environment()
        .get_template("study.html")
        .render(
            study=study,
            finished=sum(bool(link) for links in runs.values() for link in links),
            declared=len(study.cells) * len(study.seeds),
            rows=rows,
            differences=differences,
            forests=figures,
            numbers={
                group: difference_rows(part["comparisons"])
                for group, part in differences["groups"].items()
            },
            panels=panels,
            tasks=tasks_of(panels),
            curve_note=CURVE_NOTE,
            runs=runs,
            style=Markup(joined(STYLES)),  # noqa: S704 - our files
            script=Markup(script),  # noqa: S704 - our file
            script_hash=script_hash(script),
        )
    )
    write_text(folder / "study.html", page)
    return folder / "study.html"


def _link(folder: Path, cell: str, seed: int) -> str:
    relative = f"{cell}/seed-{seed}/evaluate/report.html"
    return quote(relative) if (folder / relative).is_file() else ""


def _curves(name: str, panels: Sequence[Panel]) -> str:
    across = min(COLUMNS, len(panels))
    width, height = panels[0].width, panels[0].height
    placed = [
        (panel, MARGIN + at % across * width, HEAD + at // across * (height + 8))
        for at, panel in enumerate(panels)
    ]
    return _plate(
        f"{name}: validation over all stages",
        "Mean over seeds, thin each seed. Dashes: AUROC of chance, CC of the centre bias.",
        width=across * width + 2 * MARGIN,
        height=HEAD + -(-len(panels) // across) * (height + 8) + MARGIN,
        panels=placed,
        tasks=tasks_of(panels),
    )


def _differences(name: str, figures: Sequence[Forest]) -> str:
    placed, y = [], HEAD
    for one in figures:
        placed.append((one, MARGIN, y))
        y += one.height + 24
    return _plate(
        f"{name}: differences from {figures[0].reference}",
        FOREST_NOTE,
        width=max(640.0, *(one.width + 2 * MARGIN for one in figures)),
        height=y,
        forests=placed,
    )


def _plate(title: str, note: str, **parts: object) -> str:
    style = Markup((HERE / "study_figure.css").read_text(encoding="utf-8"))  # noqa: S704 - our file
    standing: dict[str, object] = {"panels": (), "forests": (), "tasks": ()}
    template = environment().get_template("study_plate.svg")
    return template.render(title=title, note=note, style=style, **{**standing, **parts})

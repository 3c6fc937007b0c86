"""Nothing that a config or a report can name is missing from the documentation."""

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from diagnosis.config import DualEncoderConfig
from experiments.check import LOSSES, METRICS, TASKS_OF_KIND
from experiments.config import ModelConfig, StageConfig
from experiments.metric_names import LABELS, VARIANTS
from eye_gaze_data.config import Preset
from eye_gaze_data.open_cohort import CohortConfig
from saliency.attention.registry import names
from saliency.metrics.table import ALL_METRICS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIGS = ROOT / "experiments" / "configs"


def kinds_of(union: object) -> list[str]:
    """The values of ``kind`` that a discriminated union takes."""
    members: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    return [str(member.model_fields["kind"].default) for member in members]


def first_cells(page: str) -> list[list[str]]:
    """The code words of each table row of a page, cell by cell."""
    rows = re.findall(r"^\| (.+) \|$", (DOCS / page).read_text(), re.MULTILINE)
    return [[" ".join(re.findall(r"`([^`]+)`", cell)) for cell in row.split(" | ")] for row in rows]


def words(page: str) -> set[str]:
    """All words of a page that are set as code."""
    code = re.findall(r"`([^`\n]+)`", (DOCS / page).read_text())
    return {word for part in code for word in re.findall(r"[\w/]+", part)}


def test_each_kind_of_cohort_has_its_row() -> None:
    rows = {cells[0] for cells in first_cells("cohorts.md")}
    assert rows - {"kind", ""} == set(kinds_of(CohortConfig))


def test_each_task_has_its_row_with_its_models_losses_and_monitors() -> None:
    rows = {cells[0]: cells for cells in first_cells("tasks.md") if len(cells) == 6}
    tasks = set(get_args(StageConfig.model_fields["task"].annotation))
    assert rows.keys() - {"task", ""} == tasks
    for task in tasks:
        losses = {loss for loss, (where, _) in LOSSES.items() if task in where}
        if task in {"classify", "saliency"}:
            assert set(rows[task][3].split()) == losses, task
        stated = {name.removeprefix("valid/") for name in rows[task][4].split()} - {"loss", "kld"}
        assert stated <= METRICS[task], task
        kinds = {kind for kind, found in TASKS_OF_KIND.items() if task in found}
        said = set(rows[task][5].split()) or set(TASKS_OF_KIND)
        assert said == kinds, task
    for model in get_args(get_args(ModelConfig)[0]):
        for task in model.tasks:
            named = rows[task][2]
            branch = "classifiers" in (DOCS / "tasks.md").read_text() and "gaze_branch" in named
            kind = str(model.model_fields["kind"].default)
            assert kind in named.split() or branch or task == "fuse", (kind, task)
    assert set(DualEncoderConfig.tasks) >= {"fuse"}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("metrics.md", {*ALL_METRICS, *LABELS, *VARIANTS}),
        ("metrics.md", {f"valid/{name}" for found in METRICS.values() for name in found}),
        ("attention.md", set(names())),
        ("systems.md", set(kinds_of(ModelConfig))),
        ("your-data.md", set(get_args(Preset)) - {"egd_authors", "reflacx", "gazegnn"}),
        ("data-gaze.md", set(get_args(Preset))),
    ],
)
def test_each_name_is_on_its_page(page: str, expected: set[str]) -> None:
    assert expected
    assert expected - words(page) == set()


def test_each_loss_is_somewhere() -> None:
    everywhere = {word for page in DOCS.glob("*.md") for word in words(page.name)}
    assert LOSSES.keys() - everywhere == set()


def test_each_shipped_config_is_named() -> None:
    text = "\n".join(path.read_text() for path in [ROOT / "README.md", *DOCS.glob("*.md")])
    shipped = {str(p.relative_to(CONFIGS).with_suffix("")) for p in CONFIGS.rglob("*.yaml")}
    assert {name for name in shipped if not re.search(rf"\b{name}\b", text)} == set()


def test_each_metric_states_formula_and_trap() -> None:
    """Every table of metrics has a last column of traps, and none of its cells is empty."""
    text = (DOCS / "metrics.md").read_text()
    tables = re.findall(r"^\| (?:metric|row|log key) \|.*\n\|.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert len(tables) == 7
    for table in tables:
        for row in table.splitlines():
            cells = [cell.strip() for cell in row.strip("|").split(" | ")]
            assert cells[1], row
            assert cells[-1], row


def test_each_page_is_in_the_index() -> None:
    listed = set(re.findall(r"^([\w-]+)$", (DOCS / "index.md").read_text(), re.MULTILINE))
    pages = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert pages <= listed

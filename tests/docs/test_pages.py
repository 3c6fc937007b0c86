"""What the documentation shows is run."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

from saliency.attention import registry

DOCS = Path(__file__).parents[2] / "docs"
OURS = ("eye_gaze_data", "saliency", "pretrain", "diagnosis", "experiments", "benchmarks")
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the registry of attention modules as it was."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("page", ["extend-attention", "extend-metric", "extend-cohort"])
def test_the_code_of_a_page_runs_as_it_stands_there(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    assert len(blocks) == 2  # the part, and its test
    namespace = ModuleType("page").__dict__
    for block in blocks:
        exec(compile(block, f"{page}.md", "exec"), namespace)  # noqa: S102
    assert "assert" in blocks[-1]


def imported() -> set[tuple[str, str]]:
    """(module, name) of each import of ours that a page shows."""
    found = set()
    for page in PAGES:
        lines = re.findall(r"^ *from ([\w.]+) import ([\w, ]+)", page.read_text(), re.MULTILINE)
        for module, names in lines:
            if module.split(".")[0] in OURS:
                found |= {(module, name.strip()) for name in names.split(",")}
    return found


@pytest.mark.parametrize(("module", "name"), sorted(imported()))
def test_what_a_page_imports_is_there(module: str, name: str) -> None:
    assert hasattr(import_module(module), name)


def test_what_a_page_runs_as_a_module_is_there() -> None:
    shown = {
        module for page in PAGES for module in re.findall(r"python -m ([\w.]+)", page.read_text())
    }
    ours = {module for module in shown if module.split(".")[0] in OURS}
    assert {"benchmarks", "benchmarks.scale", "experiments"} <= ours
    assert {module for module in ours if find_spec(module) is None} == set()

"""What the documentation shows is run."""

import re
from pathlib import Path
from types import ModuleType

import pytest

from saliency.attention import registry

DOCS = Path(__file__).parents[2] / "docs"


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

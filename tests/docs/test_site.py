"""The site builds without a warning."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
DOCS = Path(__file__).parents[2] / "docs"
# The API is left out: autodoc imports everything, which takes minutes.
PAGES = (
    "-D", "extensions=myst_parser,sphinx.ext.mathjax",
    "-D", "exclude_patterns=_build,notes,api/**",
    "-D", "suppress_warnings=toc.excluded",
)  # fmt: skip


def build(*options: str, out: Path) -> str:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", *options]
    done = subprocess.run([*command, str(DOCS), str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return (out / "index.html").read_text()


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    index = build(*PAGES, out=tmp_path)
    pages = {path.stem for path in DOCS.glob("*.md")}
    assert {path.stem for path in tmp_path.glob("*.html")} >= pages
    assert all(f'href="{name}.html' in index for name in pages - {"index"})


@pytest.mark.slow
def test_the_site_with_its_reference_builds_without_a_warning(tmp_path: Path) -> None:
    """What ``make docs`` does; each public package has its page, each function its docstring."""
    build(out=tmp_path)
    page = (tmp_path / "api" / "saliency" / "saliency.metrics.functional.html").read_text()
    assert "saliency.metrics.functional.kl_divergence" in page
    for name in ("eye_gaze_data", "saliency", "pretrain", "diagnosis", "experiments"):
        assert (tmp_path / "api" / name / "modules.html").is_file()

"""The commands that the documentation shows: all are understood, those of the first pages run."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from experiments.cli import app
from experiments.load import find_config
from tests.experiments.small import small_tree

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Written in capitals or otherwise the reader's own.
OWN = re.compile(r"^([A-Z]+(\.yaml)?|my.*|.*/.*)$")


def shown(page: Path) -> list[list[str]]:
    """The words of each ``gazedx`` line in the blocks of a page, comments left out."""
    found, fenced = [], False
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            fenced = not fenced
        match = re.match(r"( {4})?(\$ )?gazedx (.+)", line)
        if match and (fenced or match[1]):
            # What the shell does with the output is not the command's.
            found.append(shlex.split(match[3].split(" > ")[0], comments=True))
    return found


COMMANDS = sorted({tuple(words) for page in PAGES for words in shown(page)})


def parse(words: tuple[str, ...]) -> dict[str, object]:
    """The parameters of a command line; a usage error if there is no such command or option."""
    # Typer's own copy of click: groups are told by what they can do.
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "resolve_command"):
        context = command.make_context("gazedx", list(rest), resilient_parsing=True)
        context.resilient_parsing = False
        _, command, rest = command.resolve_command(context, rest)
    return dict(command.make_context("gazedx", rest).params)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_is_understood(words: tuple[str, ...]) -> None:
    parameters = parse(words)
    for key in ("config", "study"):
        name = parameters.get(key)
        if isinstance(name, Path) and not OWN.match(str(name)):
            assert find_config(name).is_file()
    if isinstance(parameters.get("study"), Path):
        assert find_config(Path(str(parameters["study"]))).is_file()


def test_what_is_not_a_command_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option: --no-such-option"):
        parse(("run", "demo", "--no-such-option"))
    with pytest.raises(Exception, match="No such command 'nonsense'"):
        parse(("nonsense",))


@pytest.mark.slow
def test_the_first_pages_run_as_they_stand_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a small run in place of the shipped one of that name."""
    monkeypatch.chdir(tmp_path)
    tree = small_tree(name="demo")
    (tmp_path / "demo").write_text(yaml.safe_dump(tree))
    Image.new("L", (60, 50), 90).save("film.png")
    runner = CliRunner()
    ran = []
    pages = [ROOT / "README.md", ROOT / "docs" / "quickstart.md"]
    commands = [("run", "demo"), *(tuple(words) for page in pages for words in shown(page))]
    # Sorted: what is compared and reported on is run first.
    for words in sorted(dict.fromkeys(commands), key=lambda words: words[0] != "run"):
        mine = [word for word in words if word.startswith("runs/") or word in {"demo", "film.png"}]
        if not mine and words != ("doctor",):
            continue  # the reader's own data: tests/integration/test_own_data.py
        if {"runs/a", "runs/b"} & set(words):
            words = tuple({"runs/a": "runs/demo", "runs/b": "runs/longer"}.get(w, w) for w in words)
        result = runner.invoke(app, list(words))
        assert result.exit_code == 0, (words, result.output, result.exception)
        ran.append(words[0])
    assert {"run", "pretrain", "status", "evaluate", "compare", "predict", "report"} <= set(ran)
    assert (tmp_path / "runs" / "demo" / "evaluate" / "report.html").is_file()

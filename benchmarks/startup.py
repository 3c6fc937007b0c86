"""How long a command takes until it answers, absolute."""

import subprocess
import sys
from collections.abc import Iterator

from .table import Row, wall


def rows() -> Iterator[Row]:
    for arguments in (["--help"], ["run", "--help"], ["config", "schema"]):
        command = [sys.executable, "-m", "experiments", *arguments]
        yield Row(f"`gazedx {' '.join(arguments)}`", wall(lambda c=command: _run(c)))  # type: ignore[misc]


def _run(command: list[str]) -> object:
    return subprocess.run(command, check=True, capture_output=True)  # noqa: S603

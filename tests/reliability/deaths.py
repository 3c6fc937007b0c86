"""A process that dies at a chosen write, without starting one."""

import hashlib
import json
from pathlib import Path
from typing import Literal

import pytest

from eye_gaze_data import files

How = Literal["before", "torn", "after"]
HOWS: tuple[How, ...] = ("before", "torn", "after")


class Killed(BaseException):
    """SIGKILL: nothing that follows it leaves a trace on the disk."""


class Deaths:
    """Kills at files' last step, the renaming; the same bytes for a file are deadly only once.

    Before it, with half of the temporary file written, or after it. What the dying process still
    tries to write or to remove is left undone, as by a kill.

    Args:
        every: of so many write points one is deadly; the way of dying changes from one to the next.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.passed: set[tuple[Path, str]] = set()
        self.killed: list[tuple[str, How]] = []
        self.dead = False

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Patch how files get their name and how they go."""
        replace, unlink, write = Path.replace, Path.unlink, files._write_atomic

        def dying_replace(source: Path, target: Path) -> Path:
            how = self._strike(source, target)
            if how == "torn":
                source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
            if how not in {"before", "torn"}:
                replace(source, target)
            if how:
                raise Killed
            return target

        def dying_unlink(path: Path, missing_ok: bool = False) -> None:
            if not self.dead:
                unlink(path, missing_ok)

        def dying_write(path: Path, writer: object) -> None:
            if self.dead:
                raise Killed
            write(path, writer)  # type: ignore[arg-type]

        patch.setattr(Path, "replace", dying_replace)
        patch.setattr(Path, "unlink", dying_unlink)
        patch.setattr(files, "_write_atomic", dying_write)

    def _strike(self, source: Path, target: Path) -> How | None:
        point = (target, _digest(source, target.name))
        if point in self.passed:
            return None
        self.passed.add(point)
        if len(self.passed) % self.every:
            return None
        how = HOWS[len(self.killed) % len(HOWS)]
        self.killed.append((target.name, how))
        self.dead = True
        return how


def _digest(path: Path, name: str) -> str:
    content = path.read_bytes()
    if name == "stage.json":
        facts = {k: v for k, v in json.loads(content).items() if k not in {"updated", "seconds"}}
        content = json.dumps(facts).encode()
    return hashlib.sha256(content).hexdigest()

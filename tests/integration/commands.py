"""The public command, as a user calls it."""

import contextlib
import io
import shlex
import sys
from unittest.mock import patch

from experiments import cli


def gazedx(line: str, *words: object, code: int = 0) -> str:
    """What a command prints; it must end with the code.

    Args:
        line: the words of the command.
        words: further ones, paths for example.
        code: the expected exit code.
    """
    argv = ["gazedx", *shlex.split(line), *map(str, words)]
    out, err, found = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            found = int(ended.code or 0)
    assert found == code, f"{' '.join(argv)}: {found}\n{out.getvalue()}{err.getvalue()}"
    return out.getvalue()

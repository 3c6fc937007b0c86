"""Errors that a user can cause and mend: the command line prints their text, never a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class GazedxError(Exception):
    """Base of all errors that are the user's to mend."""

    exit_code = 1


class ConfigError(GazedxError):
    """A run was described wrongly: an unknown key, a glob without a match, a missing stage."""

    exit_code = 2


class DataError(GazedxError):
    """A file, a row or a value is not what was declared."""


class StageError(GazedxError):
    """A stage cannot start, or did not do what it promised."""


class StorageError(GazedxError):
    """The disk does not take what is to be written."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that lists the known names, the nearest one first.

    Args:
        name: what the user wrote.
        known: what could have been written.

    Returns:
        ``"did you mean 'x'? known: a, b, x"``, without the question if nothing is near.
    """
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(names) if names else '(none)'}"

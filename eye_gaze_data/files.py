"""Writing files so that a reader never sees half of one, and hashing them."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import StorageError


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file in one step: a temporary file in the same folder, flushed, then renamed.

    Args:
        path: the file to write or to replace; its folder is made if missing.
        write: called with the open temporary file.

    Raises:
        StorageError: if the disk is full.
        BaseException: whatever ``write`` raised; ``path`` is then as it was before.
    """
    with told_when_full(path):
        _write_atomic(path, write)


@contextmanager
def told_when_full(path: Path) -> Iterator[None]:
    """Say which file a full disk did not take.

    Raises:
        StorageError: instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        left = next((f for f in (path.parent, *path.parents) if f.is_dir()), Path())
        raise StorageError(
            f"{path}: no space to write it ({error.strerror}; {left} has "
            f"{shutil.disk_usage(left).free / 1e6:.0f} MB free); what stood there before is as it "
            "was. Free some space, then run the same command again: it goes on where it stopped"
        ) from error


def _write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that a killed process left below a folder."""
    for path in folder.rglob(".*.tmp"):
        path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN becomes null, as the standard has no NaN."""
    write_text(path, json.dumps(without_nan(value), indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is what it is
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def sha256_of_file(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_of(*parts: object) -> str:
    """The hexadecimal SHA-256 of values as canonical JSON."""
    text = json.dumps(without_nan(list(parts)), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def without_nan(value: object) -> object:
    """Plain values with every NaN and infinity as None, for JSON."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)  # a set of names has another order in every process
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [without_nan(item) for item in value]
    return value

import hashlib
import json
import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from eye_gaze_data.files import (
    read_json,
    sha256_of,
    sha256_of_file,
    without_nan,
    write_atomic,
    write_json,
    write_text,
)


def test_a_file_is_written_into_a_new_folder_and_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.bin"
    write_atomic(path, lambda file: file.write(b"\0\xff"))
    assert path.read_bytes() == b"\0\xff"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["c.bin"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_a_failing_writer_leaves_all_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")

    def fail(file: BinaryIO) -> None:
        file.write(b"half of it")
        raise error("no")

    with pytest.raises(error, match="no"):
        write_atomic(path, fail)
    assert path.read_text() == "before"
    with pytest.raises(error, match="no"):
        write_atomic(tmp_path / "new.txt", fail)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_until_the_end_a_reader_sees_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    seen = []

    def write(file: BinaryIO) -> None:
        file.write(b"after")
        file.flush()
        seen.append(path.read_text())

    write_atomic(path, write)
    assert seen == ["before"]
    assert path.read_text() == "after"


def test_bytes_are_on_disk_before_the_name_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(handle: int) -> None:
        steps.append("fsync")
        fsync(handle)

    def noted_replace(path: Path, other: Path) -> Path:
        steps.append("rename")
        return replace(path, other)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_text(tmp_path / "a.txt", "x")
    assert steps == ["fsync", "rename"]


def test_text_is_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Größe → 1\n")
    assert (tmp_path / "a.txt").read_bytes() == "Größe → 1\n".encode()


def test_json_has_null_where_python_has_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {
        "b": [1, 2.5, math.nan, -math.inf, True, None, "x"],
        "a": {"cc": np.float64("nan"), 3: (1, 2)},
        "path": ["p"],
    }
    write_json(path, value)
    plain = {
        "b": [1, 2.5, None, None, True, None, "x"],
        "a": {"cc": None, "3": [1, 2]},
        "path": ["p"],
    }
    assert read_json(path) == plain
    assert json.loads(path.read_text()) == plain
    assert path.read_text().endswith("}\n")
    assert "NaN" not in path.read_text()
    assert list(read_json(path)) == ["b", "a", "path"]  # the writer's order


def test_without_nan_keeps_plain_values() -> None:
    assert without_nan({"a": {1, 3, 2}, "b": np.array([1.0, np.nan])}) == {
        "a": [1, 2, 3],
        "b": [1.0, None],
    }
    assert without_nan(b"x") == b"x"
    assert without_nan(math.inf) is None
    assert without_nan(1e308) == 1e308
    names = {f"name {i}" for i in range(50)}
    assert without_nan(names) == sorted(names)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "a").write_bytes(content[:size])
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(content[:size]).hexdigest()


def test_a_hash_of_values_is_that_of_their_canonical_json() -> None:
    text = '[{"a": 1, "b": [1.5, null, "x"]}, "y"]'
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert sha256_of({"b": [1.5, math.nan, "x"], "a": 1}, "y") == expected
    assert sha256_of({"a": 1, "b": (1.5, None, "x")}, "y") == expected
    assert sha256_of({"a": 1, "b": [1.5, None, "x"]}) != expected
    assert sha256_of({"a": 2, "b": [1.5, None, "x"]}, "y") != expected
    assert sha256_of(Path("a/b")) == sha256_of("a/b")
    assert sha256_of() != sha256_of(None) != sha256_of([])

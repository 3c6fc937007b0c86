"""Progress of long commands where nobody looks at a terminal."""

from types import SimpleNamespace

import pytest

from experiments import progress as module
from experiments.progress import progress, progress_line


def test_a_line_tells_rate_and_time_left() -> None:
    # A quarter in 50 minutes: 150 more.
    line = progress_line("films", 25_000, 100_000, 3000.0)
    assert line == "films: 25,000 of 100,000, 8.33 a second, 2 h 30 min left"
    assert progress_line("films", 120, 0, 60.0) == "films: 120, 2 a second"
    assert progress_line("films", 10, 10, 4.0) == "films: 10 of 10, 2.5 a second"


def test_without_a_terminal_there_is_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(0, 10_000, 25))  # 25 seconds a film
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    with progress("films", 8, show=True, terminal=False) as step:
        for _ in range(8):
            step()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "films: 3 of 8, 0.04 a second, 0 h 2 min left",
        "films: 6 of 8, 0.04 a second, 0 h 1 min left",
    ]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("films", 2, show=False, terminal=False) as step:
        step()
    assert capsys.readouterr() == ("", "")

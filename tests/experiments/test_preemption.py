"""SIGTERM, also where Python cannot raise what its handler raises."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from experiments.preemption import exit_when_preempted


@pytest.fixture
def handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM), sys.unraisablehook
    exit_when_preempted()
    yield
    signal.signal(signal.SIGTERM, before[0])
    sys.unraisablehook = before[1]


class Finalised:
    """Is told to end while it is thrown away."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


class Broken:
    def __del__(self) -> None:
        raise ValueError("of no concern")


@pytest.mark.usefixtures("handlers")
def test_a_signal_ends_the_process_with_143() -> None:
    with pytest.raises(SystemExit) as stopped:
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 143


@pytest.mark.usefixtures("handlers")
def test_a_signal_in_a_finaliser_is_not_lost() -> None:
    # The exit that falls into the finaliser is dropped, and the next line reached.
    Finalised()
    with pytest.raises(SystemExit) as stopped:
        time.sleep(10)
    assert stopped.value.code == 143


@pytest.mark.usefixtures("handlers")
def test_other_errors_of_finalisers_are_shown_and_end_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("threading.Timer", lambda *given: started.append(given))
    Broken()
    assert "of no concern" in capsys.readouterr().err
    assert not started

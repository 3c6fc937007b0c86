"""SIGTERM ends a command with 143, wherever it comes."""

import os
import signal
import sys
import threading
from types import FrameType

PREEMPTED = 143
# Seconds after which an exit that was lost is tried again.
_AGAIN = 0.05


def exit_when_preempted() -> None:
    """Let SIGTERM end this process with 143; what is finished stays, and the command goes on later.

    Lightning keeps a handler that it finds; its own would end the process with 0.
    """
    signal.signal(signal.SIGTERM, _exit)
    sys.unraisablehook = _exit_again


def _exit(signum: int, frame: FrameType | None) -> None:
    del signum, frame
    sys.exit(PREEMPTED)


def _exit_again(lost: "sys.UnraisableHookArgs") -> None:
    """Python drops what is raised in a finaliser: an exit that fell into one is tried again."""
    if isinstance(lost.exc_value, SystemExit):
        threading.Timer(_AGAIN, os.kill, (os.getpid(), signal.SIGTERM)).start()
    else:
        sys.__unraisablehook__(lost)

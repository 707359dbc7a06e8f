"""The signals that ask a program to end, where it has something to finish first."""

import signal
import sys
from types import FrameType
from typing import NoReturn

# Ctrl-C, `kill`, and the end of the terminal or the connection. Windows has no SIGHUP.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def exit_when_asked() -> None:
    """Have SIGTERM and SIGHUP raise SystemExit, so that `finally` blocks are run."""
    for name in _NAMES[1:]:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _exit)


def finish_undisturbed() -> None:
    """Ignore all of them from now on: the program ends anyway."""
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)

"""Handling of the signals that end a program, for programs that clean up first."""

import signal
import sys
from types import FrameType
from typing import NoReturn

# Ctrl-C, `kill`, and a closed terminal or connection. Windows has no SIGHUP.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


def exit_on_signals() -> None:
    """Raise SystemExit on SIGTERM and SIGHUP, so that `finally` blocks run."""
    for name in _NAMES[1:]:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _exit)


def ignore_signals() -> None:
    """Ignore SIGINT, SIGTERM and SIGHUP from now on, while the program ends."""
    for name in _NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)

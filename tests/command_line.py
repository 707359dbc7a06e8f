"""Helpers for tests that start commands."""

import re
import sys
from pathlib import Path

COMMAND = Path(sys.executable).with_name("mmtui")


def assert_error(run, code: int, error: str, hint: str | None = None) -> None:
    """Check that a command prints one line with an error, at most one with a hint, and no more.

    `error` and `hint` are regular expressions.
    """
    assert run.code == code, run.err
    lines = [line for line in run.err.splitlines() if not line.startswith("model: ")]
    assert lines[0].startswith("error: ") and re.search(error, lines[0]), run.err
    assert len(lines) <= 2 and all(line.startswith("hint: ") for line in lines[1:]), run.err
    if hint is not None:
        assert re.search(hint, lines[1]), run.err
    assert run.out == ""

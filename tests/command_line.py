"""Running commands, as an installed program or in the process of the tests."""

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mmtui.entry import load_command_line, run_command

COMMAND = Path(sys.executable).with_name("mmtui")


@dataclass(frozen=True)
class Run:
    """The exit code and the output of a command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_installed(
    command: str,
    *arguments: object,
    stdin: bytes | None = b"",
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run an installed command; `env` has further environment variables."""
    process = subprocess.run(
        [Path(sys.executable).with_name(command), *map(os.fspath, map(str, arguments))],
        input=stdin,
        capture_output=True,
        env={**os.environ, **(env or {})},
        timeout=300,
        check=False,
    )
    return Run(process.returncode, process.stdout.decode(), process.stderr.decode())


def run_here(
    package: str,
    capture: pytest.CaptureFixture[str],
    *arguments: object,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run the command of a package in this process, whose settings are restored afterwards."""
    with unchanged_process(), fresh_accelerator(), pytest.MonkeyPatch.context() as patch:
        for name, value in (env or {}).items():
            patch.setenv(name, value)
        patch.setattr("sys.argv", [package, *map(str, arguments)])
        capture.readouterr()
        code = run_command(load_command_line(package))
        out, err = capture.readouterr()
    return Run(code, out, err)


@contextmanager
def fresh_accelerator() -> Iterator[None]:
    """Forget the state of accelerate, or the precision of an earlier run would stay in force."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    try:
        yield
    finally:
        AcceleratorState._reset_state(True)


@contextmanager
def unchanged_process() -> Iterator[None]:
    """Restore environment variables, warnings and logging, which a command changes for itself."""
    environment, disabled = dict(os.environ), logging.root.manager.disable
    try:
        with warnings.catch_warnings():
            yield
    finally:
        logging.disable(disabled)
        os.environ.clear()
        os.environ.update(environment)


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

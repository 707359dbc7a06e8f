"""Fixtures of the tests of `mmtui serve`."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen, str]]]:
    """Start the installed command; return its process and the address that it prints."""
    started = []

    def start(*arguments: str, stderr: int = subprocess.DEVNULL) -> tuple[subprocess.Popen, str]:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("mmtui"), "serve", "--port", "0", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
            env={**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        )  # fmt: skip
        started.append(process)
        assert process.stdout
        return process, process.stdout.readline().decode().strip()

    yield start
    for process in started:
        process.terminate()
        process.wait(30)

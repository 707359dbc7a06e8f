"""The process of a page: a command, or a fork of a process that has imported the chat already.

On Linux, the pages of `mmtui serve` are forks of one process, with which they share the memory of
the modules. It is the fork server of `multiprocessing`: it has no threads, and starts with the
first page.
"""

import asyncio
import multiprocessing
import os
import sys
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter, subprocess
from asyncio.streams import FlowControlMixin
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Protocol

from mmtui.chat.config import Listener
from mmtui.pipeline.assets.spec import EngineChoice

SCREEN_VARIABLES = {  # environment variables of Textual, which draws in a page
    "TEXTUAL_DRIVER": "mmtui.frontends.tui.web_driver:ChatWebDriver",
    "TEXTUAL_FPS": "60",
    "TEXTUAL_COLOR_SYSTEM": "truecolor",
}


@dataclass(frozen=True)
class ChatOptions:
    """The options of a chat, as those of the `mmtui` command; None leaves a setting as it is."""

    model: str | None = None
    endpoint: str | None = None
    listen: Listener | None = None
    language: str | None = None
    mmproj: Path | None = None
    engine: EngineChoice | None = None
    read: bool | None = None

    def to_arguments(self) -> list[str]:
        """Return the arguments of the command."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        read = values.pop("read", None)
        arguments = [f"--{name}={value}" for name, value in values.items()]
        return arguments if read is None else [*arguments, "--read" if read else "--no-read"]


class PageProcess(Protocol):
    """The process with the chat of a page; an `asyncio.subprocess.Process` is one."""

    stdin: StreamWriter | None
    stdout: StreamReader | None
    stderr: StreamReader | None
    pid: int

    async def wait(self) -> int:
        """Wait for its end, and return its exit code."""


class PageStarter(Protocol):
    """Starts the processes of pages."""

    async def start(self, environment: Mapping[str, str]) -> PageProcess:
        """Start a process in a new session: Ctrl+C in the server's terminal is for the server.

        Args:
            environment: Its environment variables.
        """


class CommandStarter:
    """Starts a command for each page."""

    def __init__(self, command: Sequence[str]) -> None:
        """Store the command: a program and its arguments."""
        self._command = command

    async def start(self, environment: Mapping[str, str]) -> subprocess.Process:
        """Start the command, as `PageStarter.start` describes."""
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )


class ForkStarter:
    """Forks the process that has imported the chat. Works only on Linux."""

    def __init__(self, target: Callable[[], None], preloaded: str) -> None:
        """Prepare the fork server, which starts with the first page.

        Args:
            target: Runs the chat in a forked process.
            preloaded: The module that the fork server imports.
        """
        self._target = target
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([preloaded])

    async def start(self, environment: Mapping[str, str]) -> "ForkedPage":
        """Fork a process, as `PageStarter.start` describes."""
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = (
            os.pipe() for _ in range(3)
        )
        # Modules in the working directory must not replace those of the chat.
        os.environ["PYTHONSAFEPATH"] = "1"
        changed = dict(environment.items() - os.environ.items())
        process = self._context.Process(
            target=_run,
            args=(self._target, changed, _Descriptors((stdin, stdout, stderr))),
        )
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, process.start)
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        return ForkedPage(
            process, await _write(to_stdin), await _read(from_stdout), await _read(from_stderr)
        )


class ForkedPage:
    """A forked process, with the interface of `PageProcess`."""

    def __init__(
        self,
        process: ForkServerProcess,
        stdin: StreamWriter,
        stdout: StreamReader,
        stderr: StreamReader,
    ) -> None:
        self.stdin: StreamWriter | None = stdin
        self.stdout: StreamReader | None = stdout
        self.stderr: StreamReader | None = stderr
        assert process.pid is not None
        self.pid = process.pid
        self._process = process

    async def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        await asyncio.get_running_loop().run_in_executor(None, self._process.join)
        return self._process.exitcode or 0


class _Descriptors:
    """File descriptors that a process of the fork server gets."""

    def __init__(self, descriptors: Sequence[Any]) -> None:
        self._descriptors = descriptors

    def __reduce__(self) -> tuple[type["_Descriptors"], tuple[list[Any]]]:
        return _Descriptors, ([DupFd(descriptor) for descriptor in self._descriptors],)

    def detach(self) -> list[int]:
        """Return them in the new process."""
        return [descriptor.detach() for descriptor in self._descriptors]


def _run(target: Callable[[], None], environment: dict[str, str], pipes: _Descriptors) -> None:
    """Run a function in a forked process.

    Args:
        target: The function.
        environment: The environment variables that differ from those of the server.
        pipes: The standard streams.
    """
    os.setsid()
    for standard, pipe in enumerate(pipes.detach()):
        os.dup2(pipe, standard)
        os.close(pipe)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
        vars(sys).update({name: stream, f"__{name}__": stream})
    os.environ.update(environment)
    target()


async def _read(descriptor: int) -> StreamReader:
    reader = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    return reader


async def _write(descriptor: int) -> StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        FlowControlMixin, os.fdopen(descriptor, "wb", 0)
    )
    return StreamWriter(transport, protocol, None, loop)

"""Start the terminal interface quickly, and report what went wrong after it ended."""

import gc
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.frontends.tui import terminal
from mmtui.text import printable

if TYPE_CHECKING:
    from mmtui.chat.config import Config


def run(
    config: "Config",
    resume: str | None,
    images: tuple[Path, ...],
    files: tuple[Path, ...] = (),
    *,
    talk: bool = False,
) -> None:
    """Run the chat until the user quits.

    Args:
        config: The settings.
        resume: The id of a conversation, "latest", or None for a new conversation.
        images: Pictures to attach to the first message.
        files: Documents and other files to attach to it.
        talk: Whether to start with a talk, hands free.

    Raises:
        Exception: What made the app fail.
        SystemExit: A signal ended the app, or the chat is not in the history.
    """
    prepare_interpreter()
    with terminal.disable_echo(), terminal.keep_title():
        # The terminal responds while Textual is imported.
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(terminal.query)
            from mmtui.frontends.tui.app import ChatApp
            from mmtui.frontends.tui.input_parser import install
        found = response.result()
        install(found)
        with redirect_native_stderr():
            app = ChatApp(config, resume, images, found, files=files, talk=talk)
            app.run()
    for traceback in app.tracebacks:
        print(printable(traceback), file=sys.stderr)
    if app.unsaved is not None:
        print(app.unsaved.labelled, file=sys.stderr)
    if app.failure is not None:
        raise app.failure
    if app.return_code:  # 128 + the number of a signal
        raise SystemExit(app.return_code)
    if app.unsaved is not None:
        raise SystemExit(1)


@contextmanager
def redirect_native_stderr() -> Iterator[None]:
    """Discard what native libraries print on stderr, which would garble the screen.

    For example, libtiff prints warnings about damaged pictures. Textual draws on `sys.__stderr__`,
    which gets its own copy of the descriptor.
    """
    stderr = sys.__stderr__
    if stderr is None:  # closed by `2>&-`
        yield
        return
    stderr.flush()
    with os.fdopen(os.dup(2), "w", encoding=stderr.encoding, errors="replace") as screen:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        vars(sys)["__stderr__"] = screen
        try:
            yield
        finally:
            vars(sys)["__stderr__"] = stderr
            os.dup2(screen.fileno(), 2)


def prepare_interpreter() -> None:
    """Make Python draw smoothly, at the expense of its throughput.

    The garbage collector searches only young objects: a full collection takes 0.3 s, in which
    nothing is drawn, so the chat runs it between replies. A thread that computes, such as the
    search of a folder, lets the thread that draws continue after 0.5 ms instead of 5 ms, each time
    that it has waited for anything.
    """
    gc.set_threshold(10_000, 1000, 1000)
    sys.setswitchinterval(0.0005)

"""From the command line to a screen that can be typed on, in as little time as that takes."""

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


def run(config: "Config", resume: str | None, images: tuple[Path, ...]) -> None:
    """Raises what broke the screen down, if something did."""
    defer_full_collections()
    with terminal.quiet_keyboard():
        # The terminal is asked while Textual is loaded.
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(terminal.query)
            from mmtui.frontends.tui.app import ChatApp
            from mmtui.frontends.tui.input_parser import install
        found = asked.result()
        install(found)
        with redirect_native_stderr():
            app = ChatApp(config, resume, images, found)
            app.run()
    for traceback in app.tracebacks:  # they would have destroyed the screen
        print(printable(traceback), file=sys.stderr)
    if app.unsaved is not None:
        print(app.unsaved.labelled, file=sys.stderr)
    if app.failure is not None:
        raise app.failure
    if app.return_code:  # of a signal
        raise SystemExit(app.return_code)


@contextmanager
def redirect_native_stderr() -> Iterator[None]:
    """Textual draws on `sys.__stderr__`: here, a descriptor that nothing else has.

    What native libraries print on stderr, libtiff of a damaged picture, would get onto the screen.
    """
    stderr = sys.__stderr__
    if stderr is None:  # `2>&-`
        yield
        return
    stderr.flush()
    with os.fdopen(os.dup(2), "w", encoding=stderr.encoding, errors="replace") as screen:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        vars(sys)["__stderr__"] = screen
        try:
            yield
        finally:
            vars(sys)["__stderr__"] = stderr
            os.dup2(screen.fileno(), 2)


def defer_full_collections() -> None:
    """Search for garbage only in what is new: in all of it takes 0.3 s, in which nothing is drawn.

    The chat has that done when nothing is written.
    """
    gc.set_threshold(10_000, 1000, 1000)

"""From the command line to a screen that can be typed on, in as little time as that takes."""

import gc
import os
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtui.chat.config import Config


COLLECT_EVERY = 50_000  # objects more than before; Python's 700 are for small programs


def run(config: "Config", resume: str | None, images: tuple[Path, ...]) -> None:
    """Raises what broke the screen down, if something did."""
    collect_seldom()
    # This import asks the terminal which pictures it can draw, before Textual reads from it, and
    # waits for terminals that don't answer: meanwhile Textual is loaded.
    asking = threading.Thread(target=import_module, args=("textual_image.renderable",))
    asking.start()
    from mmtui.tui.app import ChatApp

    asking.join()
    # What a slow terminal answers too late would stand in the prompt.
    if os.name == "posix" and sys.stdin.isatty():
        import termios

        termios.tcflush(sys.stdin, termios.TCIFLUSH)
    app = ChatApp(config, resume, images)
    app.run()
    if app.failure is not None:
        raise app.failure


def collect_seldom() -> None:
    """Nearly all that the chat makes stays: to search it for garbage, again and again, is in vain.

    What refers to itself may wait for it; a search takes up to 0.2 s, in which nothing is drawn.
    """
    gc.set_threshold(COLLECT_EVERY)

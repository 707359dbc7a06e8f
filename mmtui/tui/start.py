"""From the command line to a screen that can be typed on, in as little time as that takes."""

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.tui import terminal

if TYPE_CHECKING:
    from mmtui.chat.config import Config


COLLECT_EVERY = 50_000  # objects more than before; Python's 700 are for small programs


def run(config: "Config", resume: str | None, images: tuple[Path, ...]) -> None:
    """Raises what broke the screen down, if something did."""
    collect_seldom()
    # The terminal is asked while Textual is loaded.
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(terminal.ask)
        from mmtui.tui.app import ChatApp
    app = ChatApp(config, resume, images, asked.result())
    app.run()
    if app.failure is not None:
        raise app.failure


def collect_seldom() -> None:
    """Nearly all that the chat makes stays: to search it for garbage, again and again, is in vain.

    What refers to itself may wait for it; a search takes up to 0.2 s, in which nothing is drawn.
    """
    gc.set_threshold(COLLECT_EVERY)

"""The title of the terminal's window, or of the page in a browser: that of the conversation."""

import os
from typing import Any

from textual.app import App

from mmtui.compat.textual_hooks import write_meta, write_to_terminal
from mmtui.text import printable

MAX_LENGTH = 80


class WindowTitle:
    """Sets the title of the window when it changes. `terminal.keep_title` restores it at the end.

    The Linux console has no title.
    """

    def __init__(self) -> None:
        self._shown: str | None = None
        self._is_supported = os.environ.get("TERM", "") != "linux"

    def show(self, app: App[Any], title: str) -> None:
        """Show the title of a conversation; "" is one without a title."""
        if title == self._shown:
            return
        self._shown = title
        text = _format(title)
        if app.is_web:
            write_meta(app, {"type": "title", "title": text})
        elif self._is_supported:
            write_to_terminal(app, f"\x1b]2;{text}\x07")


def _format(title: str) -> str:
    title = " ".join(printable(title).split())
    if len(title) > MAX_LENGTH:
        title = f"{title[: MAX_LENGTH - 1]}…"
    return f"{title} - mmtui" if title else "mmtui"

"""A line in the place of a reply whose first token has not arrived."""

import time

from textual.content import Content
from textual.widgets import Static

UPDATES_PER_S = 8
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class WaitingLine(Static):
    """Shows that the model works, and for how long; hidden unless it is started."""

    DEFAULT_CSS = """
    WaitingLine { display: none; width: 100%; height: 1; color: $text-muted; }
    WaitingLine.-on { display: block; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._started_at = 0.0
        self._steps = 0

    def on_mount(self) -> None:
        self._timer = self.set_interval(1 / UPDATES_PER_S, self._update_line, pause=True)

    def start(self) -> None:
        """Show the line."""
        self._started_at, self._steps = time.monotonic(), 0
        self._update_line()
        self.add_class("-on")
        self._timer.resume()

    def stop(self) -> None:
        """Hide the line."""
        if self.has_class("-on"):
            self.remove_class("-on")
            self._timer.pause()

    def _update_line(self) -> None:
        self._steps += 1
        waited = int(time.monotonic() - self._started_at)
        seconds = f" {waited} s" if waited else ""
        self.update(Content(f"{SPINNER[self._steps % len(SPINNER)]}{seconds}"), layout=False)

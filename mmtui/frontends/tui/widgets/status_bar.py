"""The status bar: the model, what it does, how much of its context is used, and its speed."""

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static

from mmtui.chat.details import SEPARATOR, format_speed, shorten_model
from mmtui.chat.status import ModelStatus
from mmtui.pipeline.speech.languages import get_name
from mmtui.text import one_line

STATE_NAMES = {"idle": "ready", "off": "not loaded"}


class StatusBar(Static):
    """A line with the status of the model and of the chat."""

    def __init__(self) -> None:
        super().__init__("", id="status", markup=False)
        self._shown = ""
        self._parts: list[str] = []
        self._least = 0  # how many parts are shown in any case

    def show(self, status: ModelStatus, note: str = "", unsaved: str = "") -> None:
        """Update the line.

        Args:
            status: The status of the model.
            note: What the screen does, such as "recording" or "reading a.png". It replaces the
                state of the model.
            unsaved: Why the history could not be written; "" if everything is saved.
        """
        state = STATE_NAMES.get(status.state, status.state)
        model = shorten_model(status.model)
        parts = [
            one_line(f"{model} ({status.engine})" if status.engine else model),
            one_line(note) or (f"{status.step} …" if status.step else state),
        ]
        if unsaved:  # early, so that a narrow window shows it
            parts.append(one_line(f"not saved: {unsaved}"))
        if status.spoken_language not in (None, "en"):
            parts.append(f"heard {get_name(status.spoken_language)}")
        if status.context and status.used is not None:
            parts.append(f"{status.used:,} of {status.context:,} tokens")
        elif status.used:  # a server may not report the size of its context
            parts.append(f"{status.used:,} tokens")
        if status.dropped:
            parts.append(f"oldest {status.dropped} turns left out")
        if speed := status.tokens_per_s:
            parts.append(format_speed(speed))
        self._parts, self._least = parts, 3 if unsaved else 2
        self._update()

    def on_resize(self) -> None:
        self._update()

    def _update(self) -> None:
        """Show the first parts, and those of the others that fit."""
        parts = list(self._parts)
        width = self.content_size.width
        while len(parts) > self._least and cell_len(SEPARATOR.join(parts)) > width:
            parts.pop()
        if (text := SEPARATOR.join(parts)) != self._shown:  # this is called for every token
            self._shown = text
            self.update(Content(text), layout=False)  # always one line

"""One line: the model, what it does, how much of its context is used, how quick it is."""

from textual.content import Content
from textual.widgets import Static

from mmtui.chat.status import ModelStatus
from mmtui.text import one_line

WORDS = {"idle": "ready", "off": "not loaded"}


class Status(Static):
    def __init__(self) -> None:
        super().__init__("", id="status", markup=False)

    def show(self, figures: ModelStatus, note: str = "", unsaved: str = "") -> None:
        """Show the figures.

        Args:
            figures: What the model does.
            note: What the screen itself does, such as recording.
            unsaved: Why something is not in the history; "" if everything is.
        """
        state = WORDS.get(figures.state, figures.state)
        parts = [
            one_line(f"{figures.model} ({figures.engine})" if figures.engine else figures.model),
            note or (f"{figures.step} …" if figures.step else state),
        ]
        if unsaved:  # early, so that a narrow window shows it
            parts.append(one_line(f"not saved: {unsaved}"))
        if figures.context and figures.used is not None:
            parts.append(f"{figures.used:,} of {figures.context:,} tokens")
        elif figures.used:  # a server may not report the size of its context
            parts.append(f"{figures.used:,} tokens")
        if figures.dropped:
            parts.append(f"oldest {figures.dropped} turns left out")
        if speed := figures.tokens_per_s:
            parts.append(f"{speed:{'.0f' if speed >= 10 else '.2g'}} tokens/s")
        self.update(Content("  ·  ".join(parts)), layout=False)  # always one line

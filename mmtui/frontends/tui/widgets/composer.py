"""Where the user types: a text that grows, with history, completion and pasted files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.message import Message

from mmtui import paths
from mmtui.chat import commands
from mmtui.errors import UsageError
from mmtui.frontends.tui.widgets.text_fields import TextField
from mmtui.text import one_line, printable

SHOWN = 20  # of what a path may become
ATTACHING = ("/image", "/audio")  # what dropping files does without a word


@dataclass(eq=False)
class Line:
    """What was `sent`, and the `text` it was changed to since; of the draft nothing was sent."""

    sent: str
    text: str

    @property
    def change(self) -> str:
        return self.text if self.text != self.sent else ""


class Composer(TextField):
    """Enter sends, Shift+Enter or Ctrl+J breaks the line, Tab takes what is suggested.

    At the first row Up goes back in what was sent, at the last row Down comes forth again. What was
    changed there stays changed until it is sent.
    """

    # With priority: TextArea would take Enter for a letter.
    BINDINGS: ClassVar = [
        Binding("enter", "send", "send message", id="send", priority=True),
        Binding("shift+enter,ctrl+j", "newline", "insert a new line", id="newline", priority=True),
        Binding(
            "tab", "complete", "complete, or move the focus",
            id="complete", priority=True,
        ),
    ]  # fmt: skip

    class Sent(Message):
        """The user wants to send the text, which stays until it is accepted by `accept_sent`."""

    class Dropped(Message):
        """Files were pasted or dropped onto the terminal."""

        def __init__(self, files: Sequence[Path]) -> None:
            super().__init__()
            self.files = files

    def __init__(self, sent: Sequence[str] = ()) -> None:
        """`sent` are earlier messages, the oldest first."""
        super().__init__(
            id="composer", soft_wrap=True, show_line_numbers=False, compact=True,
            placeholder="Ask something (/ for commands, F1 for help)",
        )  # fmt: skip
        self._lines = [*map(_unchanged, map(printable, sent)), Line("", "")]  # at last the draft
        self._shown = self._lines[-1]

    @property
    def unsent(self) -> str:
        """All that would be lost with the screen."""
        self._keep()
        return _joined(*(line.change for line in self._lines))

    def replace_all(self, text: str) -> None:
        """Replace all that is typed; the cursor goes to the end."""
        for line in self._lines:
            line.text = line.sent
        self._lines[-1].text = printable(text)
        self._show(self._lines[-1])

    def insert_words(self, text: str) -> None:
        """What was heard, or typed before the screen was there, goes to where the cursor is."""
        before = self.get_text_range((0, 0), self.cursor_location)
        space = " " if text and before and not before[-1].isspace() else ""
        self.insert(space + printable(text))

    def accept_sent(self) -> None:
        """What is shown was sent, or done. The draft is shown then."""
        text = self.text.strip()
        self._shown.text = self._shown.sent
        *earlier, draft = self._lines
        if text and (not earlier or earlier[-1].sent != text):
            self._lines = [*earlier, _unchanged(text), draft]
        self._show(draft)

    def restore(self, text: str) -> None:
        """What was taken can't be sent or done after all: it stands before what was typed since."""
        self._keep()
        draft = self._lines[-1]
        draft.text = _joined(printable(text), draft.text)
        self._show(draft)

    def action_send(self) -> None:
        self.post_message(self.Sent())

    def action_newline(self) -> None:
        self.insert("\n")

    def action_complete(self) -> None:
        if self.suggestion:
            self.insert(self.suggestion)
        elif found := _candidates(self.text):
            names = [one_line(Path(name).name) for name in found]
            self.notify("  ".join(names[:SHOWN]), markup=False)
        else:
            self.screen.focus_next()

    def action_cursor_up(self, select: bool = False) -> None:
        is_first = self.navigator.is_first_wrapped_line(self.cursor_location)
        if is_first and not select and self._shown is not self._lines[0]:
            self._move_in_history(-1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        is_last = self.navigator.is_last_wrapped_line(self.cursor_location)
        if is_last and not select and self._shown is not self._lines[-1]:
            self._move_in_history(1)
        else:
            super().action_cursor_down(select)

    def update_suggestion(self) -> None:
        """The rest of a command's name or of a path, as far as that is certain."""
        at_end = self.cursor_location == self.document.end
        found = _candidates(self.text) if at_end else []
        common = os.path.commonprefix(found)  # noqa: RUF071 - letter by letter is what is meant
        self.suggestion = common[len(self.text) :] if common.startswith(self.text) else ""

    @on(events.Paste)
    def _attach_files(self, event: events.Paste) -> None:
        if files := paths.find_dropped(event.text):
            event.prevent_default()
            event.stop()
            if self.text.strip().lower() in ATTACHING:
                self._shown.text = ""
                self._show(self._shown)
            self.post_message(self.Dropped(files))
        try:
            paths.refuse_web_address(event.text)
        except UsageError as error:  # it is pasted all the same
            self.notify(f"{error}\n{error.hint}", markup=False)

    def _move_in_history(self, by: int) -> None:
        self._keep()
        self._show(self._lines[self._lines.index(self._shown) + by])

    def _keep(self) -> None:
        """What is on the screen; of what was emptied there is nothing to keep."""
        self._shown.text = self.text or self._shown.sent

    def _show(self, line: Line) -> None:
        self._shown, self.text = line, line.text
        self.move_cursor(self.document.end)
        self.update_suggestion()


def _unchanged(text: str) -> Line:
    return Line(text, text)


def _joined(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def _candidates(text: str) -> list[str]:
    """What a command's name or a path may become, as the whole text."""
    if "\n" in text or not text.startswith("/"):
        return []
    name, space, begun = text.partition(" ")
    if space:
        command = commands.BY_NAME.get(name[1:].lower())
        takes_path = command is not None and "PATH" in command.argument
        return [f"{name} {path}" for path in paths.complete(begun)] if takes_path and begun else []
    names = [f"/{c.name}{' ' if c.argument else ''}" for c in commands.COMMANDS]
    return [name for name in names if name.startswith(text)]

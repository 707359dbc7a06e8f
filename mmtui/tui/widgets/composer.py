"""Where the user types: a text that grows, with history, completion and pasted files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.message import Message
from textual.widgets import TextArea

from mmtui.chat import commands, paths
from mmtui.chat.text import one_line, printable

SHOWN = 20  # of what a path may become


class Composer(TextArea):
    """Enter sends, Shift+Enter or Ctrl+J breaks the line, Tab takes what is suggested.

    At the first line Up goes back in what was sent, at the last line Down comes forth again.
    """

    BINDINGS: ClassVar = [
        Binding("enter", "send", "send", id="send"),
        Binding("shift+enter,ctrl+j", "newline", "begin a new line", id="newline"),
        Binding("tab", "complete", "complete a command or a path, or go on", id="complete"),
    ]

    class Sent(Message):
        """The user sends a text; it is to be `taken`, or `refused`."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Dropped(Message):
        """Files were pasted or dropped onto the terminal."""

        def __init__(self, files: Sequence[Path]) -> None:
            super().__init__()
            self.files = files

    def __init__(self, sent: Sequence[str] = ()) -> None:
        """`sent` are earlier messages, the oldest first."""
        super().__init__(
            id="composer", soft_wrap=True, show_line_numbers=False, compact=True,
            placeholder="Ask something; / for commands, F1 for help",
        )  # fmt: skip
        self._sent = list(sent)
        self._at = len(self._sent)  # which of them is shown; the length is the draft
        self._draft = ""
        self._leaving: list[str] = []  # sent, neither taken nor refused yet

    @property
    def unsaid(self) -> str:
        """All that would be lost with the screen."""
        is_recalled = self._at < len(self._sent)
        kept = [*self._leaving, self._draft if is_recalled else ""]
        if not is_recalled or self.text != self._sent[self._at]:
            kept.append(self.text)
        return "\n".join(filter(None, kept))

    def put(self, text: str) -> None:
        """Replace what is typed; the cursor goes to the end."""
        self.text = printable(text)
        self.move_cursor(self.document.end)
        self.update_suggestion()

    def insert_spoken(self, text: str) -> None:
        """What was heard goes to where the cursor is."""
        before = self.get_text_range((0, 0), self.cursor_location)
        space = " " if text and before and not before[-1].isspace() else ""
        self.insert(space + printable(text))

    def taken(self, text: str) -> None:
        """A text that was sent is said."""
        self._leaving.remove(text)
        draft = self._draft if self._at < len(self._sent) else ""
        if text and (not self._sent or self._sent[-1] != text):
            self._sent.append(text)
        self._at, self._draft = len(self._sent), ""
        if draft and not self.text:
            self.put(draft)

    def refused(self, text: str) -> None:
        """A text that was sent can't be said: it stands before what was typed since."""
        self._leaving.remove(text)
        self.put("\n".join(filter(None, [text, self.text])))

    async def _on_key(self, event: events.Key) -> None:
        # Before TextArea takes the key for a letter, and after the letters that came before it,
        # which bindings with priority would overtake.
        active = self.screen.active_bindings.get(event.key)
        if active is not None and active.node is self and active.binding.id:
            event.stop()
            event.prevent_default()
            await self.run_action(active.binding.action)
        else:
            await super()._on_key(event)

    def action_send(self) -> None:
        text = self.text.strip()
        self._leaving.append(text)
        self.put("")
        self.post_message(self.Sent(text))

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
        if self.cursor_location[0] == 0 and not select and self._at > 0:
            self._leaf(-1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        last = self.cursor_location[0] == self.document.line_count - 1
        if last and not select and self._at < len(self._sent):
            self._leaf(1)
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
        if files := paths.dropped(event.text):
            event.prevent_default()
            event.stop()
            self.post_message(self.Dropped(files))

    def _leaf(self, by: int) -> None:
        if self._at == len(self._sent):
            self._draft = self.text
        self._at += by
        self.put(self._sent[self._at] if self._at < len(self._sent) else self._draft)


def _candidates(text: str) -> list[str]:
    """What a command's name or a path may become, as the whole text."""
    if "\n" in text or not text.startswith("/"):
        return []
    name, space, begun = text.partition(" ")
    if space:
        command = commands.BY_NAME.get(name[1:])
        takes_path = command is not None and "PATH" in command.argument
        return [f"{name} {path}" for path in paths.complete(begun)] if takes_path and begun else []
    names = [f"/{c.name}{' ' if c.argument else ''}" for c in commands.COMMANDS]
    return [name for name in names if name.startswith(text)]

"""The prompt: a text area with history, completion and pasted files."""

import os
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.message import Message

from mmtui import paths
from mmtui.chat import commands
from mmtui.errors import UsageError
from mmtui.frontends.tui.widgets.file_list import FileList, find_typed_mention, format_mention
from mmtui.frontends.tui.widgets.text_fields import TextField
from mmtui.text import one_line, printable

MAX_CANDIDATES = 20  # completions that are listed
# The first one that fits is shown.
PLACEHOLDERS = (
    "Ask something (/ for commands, F1 for help)",
    "Ask something (F1 for help)",
    "Ask something",
)
ATTACH_COMMANDS = ("/image", "/audio", "/file")  # superfluous if files are dropped


@dataclass(eq=False)
class Line:
    """An entry of the history.

    Attributes:
        sent: The message as it was sent; "" for the draft.
        text: The message as it was edited since.
    """

    sent: str
    text: str

    @property
    def unsent(self) -> str:
        """The text, if it was edited."""
        return self.text if self.text != self.sent else ""


class Composer(TextField):
    """The prompt. Enter sends, Shift+Enter or Ctrl+J starts a new line, Tab completes.

    Up in the first row shows the previous message of the history, Down in the last row the next
    one. Edits of earlier messages are kept until they are sent.
    """

    # Priority, because TextArea would insert Enter as text.
    BINDINGS: ClassVar = [
        Binding("enter", "send", "send message", id="send", priority=True),
        Binding("shift+enter,ctrl+j", "newline", "insert a new line", id="newline", priority=True),
        Binding(
            "tab", "complete", "complete, or move the focus",
            id="complete", priority=True,
        ),
    ]  # fmt: skip

    class Sent(Message):
        """The user wants to send the text; `accept_sent` removes it from the prompt."""

    class Dropped(Message):
        """Files were pasted or dropped onto the terminal."""

        def __init__(self, files: Sequence[Path]) -> None:
            super().__init__()
            self.files = files

    def __init__(
        self, sent: Sequence[str], files: FileList, undo: Callable[[], Awaitable[None]]
    ) -> None:
        """Create the prompt.

        Args:
            sent: Earlier messages, the oldest first.
            files: Lists the files that match what is typed after an @.
            undo: Called by the key that undoes edits when there is no edit to undo.
        """
        super().__init__(
            id="composer", soft_wrap=True, show_line_numbers=False, compact=True,
            placeholder=PLACEHOLDERS[0],
        )  # fmt: skip
        self._lines = [*map(_make_line, map(printable, sent)), Line("", "")]  # the draft is last
        self._current = self._lines[-1]
        self._files = files
        self._shown_text = ""  # which was not typed, and has no list of files
        self._undo_elsewhere = undo

    def on_resize(self) -> None:
        width = self.content_size.width
        fitting = (text for text in PLACEHOLDERS if len(text) <= width)
        self.placeholder = next(fitting, PLACEHOLDERS[-1])

    async def action_undo(self) -> None:  # type: ignore[override]
        before = self.text
        self.undo()
        if self.text == before:
            await self._undo_elsewhere()

    @property
    def unsent(self) -> str:
        """Everything that is typed and not sent: the draft and edited messages."""
        self._store_text()
        return _join(*(line.unsent for line in self._lines))

    def replace_all(self, text: str) -> None:
        """Replace the draft, and discard edits of earlier messages."""
        for line in self._lines:
            line.text = line.sent
        self._lines[-1].text = printable(text)
        self._show(self._lines[-1])

    def insert_words(self, text: str) -> None:
        """Insert a text at the cursor, after a space if necessary."""
        before = self.get_text_range((0, 0), self.cursor_location)
        space = " " if text and before and not before[-1].isspace() else ""
        self.insert(space + printable(text))

    def accept_sent(self) -> None:
        """Add the text to the history, since it was sent, and show the draft."""
        text = self.text.strip()
        self._current.text = self._current.sent
        *earlier, draft = self._lines
        if text and (not earlier or earlier[-1].sent != text):
            self._lines = [*earlier, _make_line(text), draft]
        self._show(draft)

    def restore(self, text: str) -> None:
        """Put a text that could not be sent back, before what was typed since.

        A command is selected if nothing was typed since, so that typing replaces it.
        """
        self._store_text()
        draft = self._lines[-1]
        is_replaceable = text.startswith("/") and not draft.text
        draft.text = _join(printable(text), draft.text)
        self._show(draft)
        if is_replaceable:
            self.select_all()

    def insert_mention(self, path: str) -> None:
        """Insert the mention of a file instead of what is typed after the @."""
        row, column = self.cursor_location
        if mention := find_typed_mention(self.document[row][:column]):
            self.replace(f"{format_mention(path)} ", (row, mention[0]), (row, column))
        self.focus()

    def action_send(self) -> None:
        """Request to send the text, or choose the file that is highlighted after an @."""
        if self._files.display:
            self._files.choose(otherwise=self._post_sent)
        else:
            self._post_sent()

    def _post_sent(self) -> None:
        self.post_message(self.Sent())

    def action_newline(self) -> None:
        """Insert a line break."""
        self.insert("\n")

    def action_complete(self) -> None:
        """Insert the suggestion, list the candidates, or move the focus if there are none."""
        if self._files.display:
            self._files.choose()
        elif self.suggestion:
            self.insert(self.suggestion)
        elif candidates := _find_candidates(self.text):
            names = [one_line(Path(name).name) for name in candidates]
            self.notify("  ".join(names[:MAX_CANDIDATES]), markup=False)
        else:
            self.screen.focus_next()

    def action_cursor_up(self, select: bool = False) -> None:
        if self._files.display:
            self._files.move(-1)
            return
        is_first = self.navigator.is_first_wrapped_line(self.cursor_location)
        if is_first and not select and self._current is not self._lines[0]:
            self._move_in_history(-1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        if self._files.display:
            self._files.move(1)
            return
        is_last = self.navigator.is_last_wrapped_line(self.cursor_location)
        if is_last and not select and self._current is not self._lines[-1]:
            self._move_in_history(1)
        else:
            super().action_cursor_down(select)

    def update_suggestion(self) -> None:
        """Suggest what all commands or paths that start with the text have in common."""
        is_at_end = self.cursor_location == self.document.end
        candidates = _find_candidates(self.text) if is_at_end else []
        common = os.path.commonprefix(candidates)  # noqa: RUF071 - compares characters on purpose
        self.suggestion = common[len(self.text) :] if common.startswith(self.text) else ""

    @on(TextField.SelectionChanged)
    def _find_files(self) -> None:
        """List the files that match what is typed after an @ before the cursor."""
        row, column = self.cursor_location
        mention = find_typed_mention(self.document[row][:column])
        if mention is None or self.text == self._shown_text:
            self._files.reset()
        else:
            self._files.find(mention[1])

    @on(events.Paste)
    def _attach_files(self, event: events.Paste) -> None:
        if files := paths.find_dropped(event.text):
            event.prevent_default()
            event.stop()
            if self.text.strip().lower() in ATTACH_COMMANDS:
                self._current.text = ""
                self._show(self._current)
            self.post_message(self.Dropped(files))
        try:
            paths.refuse_web_address(event.text)
        except UsageError as error:  # the address is pasted nevertheless
            self.notify(f"{error}\n{error.hint}", markup=False)

    def _move_in_history(self, offset: int) -> None:
        self._store_text()
        self._show(self._lines[self._lines.index(self._current) + offset])

    def _store_text(self) -> None:
        """Store the text in the current line; an emptied line gets its original text back."""
        self._current.text = self.text or self._current.sent

    def _show(self, line: Line) -> None:
        self._current, self._shown_text = line, line.text
        self.text = line.text
        self.move_cursor(self.document.end)
        self.update_suggestion()


def _make_line(text: str) -> Line:
    """Return a sent message that is not edited."""
    return Line(text, text)


def _join(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def _find_candidates(text: str) -> list[str]:
    """Return the texts to which a command, the path after it, or one after an @ is completed."""
    if mention := re.search(r"(?:^|\s)@(\S+)$", text):
        before = text[: mention.start(1)]
        return [f"{before}{path}" for path in paths.complete(mention[1])]
    if "\n" in text or not text.startswith("/"):
        return []
    name, space, path_start = text.partition(" ")
    if space:
        command = commands.BY_NAME.get(name[1:].lower())
        if command is None or "PATH" not in command.argument or not path_start:
            return []
        return [f"{name} {path}" for path in paths.complete(path_start)]
    names = [f"/{c.name}{' ' if c.argument else ''}" for c in commands.COMMANDS]
    return [name for name in names if name.startswith(text)]

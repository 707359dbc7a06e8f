"""Dialogs that ask for a text or a choice."""

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, TextArea
from textual.widgets.option_list import Option

from mmtui.frontends.tui.widgets.text_fields import TextField
from mmtui.text import one_line, printable


class TextDialog(ModalScreen[str | None]):
    """Asks for a text. The result is None if the user cancels."""

    CSS_PATH = "dialogs.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar = [
        Binding("enter", "accept", "Accept", priority=True),
        Binding("shift+enter,ctrl+j", "newline", "New line", priority=True),
        Binding("escape", "dismiss(None)", "Cancel"),
    ]

    def __init__(self, title: str, text: str = "", may_be_empty: bool = False) -> None:
        """Create the dialog.

        Args:
            title: What the text is.
            text: The initial text.
            may_be_empty: Whether an empty text is a result; otherwise it counts as cancelling.
        """
        super().__init__()
        self._title, self._text, self._may_be_empty = title, printable(text), may_be_empty

    def compose(self) -> ComposeResult:
        with Vertical() as dialog:
            dialog.border_title = Content(one_line(self._title))
            dialog.border_subtitle = "Enter accepts, Esc cancels"
            yield TextField(self._text, soft_wrap=True, compact=True)

    def on_mount(self) -> None:
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)

    def action_accept(self) -> None:
        """Close the dialog with the text as its result."""
        text = self.query_one(TextArea).text.strip()
        self.dismiss(text if text or self._may_be_empty else None)

    def action_newline(self) -> None:
        """Insert a line break."""
        self.query_one(TextArea).insert("\n")


class ChoiceDialog(ModalScreen[str | None]):
    """Asks for one of several names. The result is None if the user cancels."""

    CSS_PATH = "dialogs.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, choices: Sequence[tuple[str, str]], current: str = "") -> None:
        """Create the dialog.

        Args:
            title: What is chosen.
            choices: The names, each with a description.
            current: The name to highlight at first.
        """
        super().__init__()
        self._title, self._choices, self._current = title, choices, current

    def compose(self) -> ComposeResult:
        with Vertical() as dialog:
            dialog.border_title = Content(one_line(self._title))
            dialog.border_subtitle = "Enter selects, Esc cancels"
            width = max(len(one_line(name)) for name, _ in self._choices)
            options = [Option(_format_choice(*choice, width)) for choice in self._choices]
            yield OptionList(*options, markup=False)

    def on_mount(self) -> None:
        names = [name for name, _ in self._choices]
        options = self.query_one(OptionList)
        options.highlighted = names.index(self._current) if self._current in names else 0

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index][0])


def _format_choice(name: str, description: str, width: int) -> Content:
    """Return a name, padded to a width, with its description."""
    return Content.assemble((f"{one_line(name):{width}}  ", "bold"), one_line(description))

"""Small questions over the chat."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static, TextArea

from mmtui.chat.text import printable


class TextDialog(ModalScreen[str | None]):
    """Asks for a text, which may be there already; None if the user goes back."""

    DEFAULT_CSS = """
    TextDialog { align: center middle; }
    TextDialog > Vertical { width: 80%; max-width: 90; height: auto; padding: 1 2; background: $surface; border: round $primary; }
    TextDialog TextArea { height: auto; min-height: 3; max-height: 12; }
    """  # noqa: E501
    BINDINGS: ClassVar = [
        Binding("enter", "accept", "Accept", priority=True),
        Binding("shift+enter,ctrl+j", "newline", "New line", priority=True),
        Binding("escape", "dismiss(None)", "Back"),
    ]

    def __init__(self, title: str, text: str = "") -> None:
        super().__init__()
        self._title, self._text = title, printable(text)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"{self._title}   (Enter accepts, Esc goes back)", markup=False)
            yield TextArea(self._text, soft_wrap=True, compact=True)

    def on_mount(self) -> None:
        area = self.query_one(TextArea)
        area.move_cursor(area.document.end)

    def action_accept(self) -> None:
        self.dismiss(self.query_one(TextArea).text.strip())

    def action_newline(self) -> None:
        self.query_one(TextArea).insert("\n")

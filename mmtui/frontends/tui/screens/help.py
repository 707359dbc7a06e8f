"""The help screen: keys and commands."""

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.commands import ABOUT, COMMANDS

NARROW = 60  # width of the screen below which descriptions are put in a separate line


class HelpRow(NamedTuple):
    """A key binding.

    Attributes:
        scope: Where it works, as in "anywhere".
        keys: Its keys, as people write them.
        description: What it does.
        id: The name of its action in the settings.
    """

    scope: str
    keys: str
    description: str
    id: str


class HelpScreen(ModalScreen[None]):
    """Lists key bindings and commands."""

    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar = [Binding("escape,f1,q", "dismiss", "Back")]

    def __init__(self, rows: Sequence[HelpRow]) -> None:
        """Show key bindings, which are sorted by scope, and all commands."""
        super().__init__()
        self._rows = rows

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(self._format_keys(), id="keys")
            yield Static(self._format_commands(), id="commands")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _format_keys(self) -> Content:
        lines: list[Content] = []
        for scope, rows in groupby(self._rows, key=lambda row: row.scope):
            lines.append(Content.styled(scope.capitalize(), "bold"))
            lines += [self._format_row(row.keys, row.description, row.id) for row in rows]
        return Content("\n").join([*lines, Content("")])

    def _format_commands(self) -> Content:
        lines = [self._format_row(f"/{c.name} {c.argument}", c.help) for c in COMMANDS]
        heading = [Content.styled("Commands", "bold"), Content(ABOUT)]
        return Content("\n").join([*heading, *lines])

    def _format_row(self, name: str, description: str, id: str = "") -> Content:
        start = f"{name}\n  " if self.app.size.width < NARROW else f"{name:25} "
        return Content.assemble((start, "$primary"), description, (f"  {id}" if id else "", "dim"))

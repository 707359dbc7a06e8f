"""The help screen: keys and commands."""

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, NamedTuple

from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.commands import ABOUT, COMMANDS

REMAPPING = "To change a key in the settings, use the name on the right."
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
        with VerticalScroll() as view:
            view.border_title = "Help"
            view.border_subtitle = "Esc closes"
            yield Static(REMAPPING, markup=False)
            for scope, rows in groupby(self._rows, key=lambda row: row.scope):
                yield Static(scope.capitalize(), classes="heading", markup=False)
                yield Static(self._make_table([tuple(row[1:]) for row in rows]))
            yield Static("Commands", classes="heading")
            yield Static(ABOUT, markup=False)
            yield Static(self._make_table([(f"/{c.name} {c.argument}", c.help) for c in COMMANDS]))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _make_table(self, rows: Sequence[tuple[str, ...]]) -> Table:
        """Return a table with columns for names, descriptions and, if there are any, ids."""
        name_style = self.app.theme_variables["primary"]
        is_narrow = self.app.size.width < NARROW
        id_width = max(len(row.id) for row in self._rows)
        table = Table.grid(expand=True, padding=(0, 2, 0, 0))
        if not is_narrow:
            table.add_column(width=25 if len(rows[0]) == 2 else 20)
        table.add_column(ratio=1)
        if len(rows[0]) == 3:
            table.add_column(width=id_width)
        for name, description, *ids in rows:
            name_cell, id_cells = Text(name, name_style), [Text(id) for id in ids]
            if is_narrow:
                table.add_row(name_cell, *id_cells)
                table.add_row(Padding(Text(description), (0, 0, 0, 2)))
            else:
                table.add_row(name_cell, Text(description), *id_cells)
        return table

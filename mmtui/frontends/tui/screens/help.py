"""The help screen: keys and commands."""

from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, NamedTuple

from rich.console import Group, RenderableType
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
KEYS_WIDTH, COMMAND_WIDTH = 20, 25  # of the columns with names
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

    def _make_table(self, rows: Sequence[tuple[str, ...]]) -> RenderableType:
        """Return rows of names, descriptions and, if there are any, ids.

        A name that is too long for its column is in a line of its own.
        """
        name_style = self.app.theme_variables["primary"]
        is_narrow = self.app.size.width < NARROW
        width = 0 if is_narrow else COMMAND_WIDTH if len(rows[0]) == 2 else KEYS_WIDTH
        table = self._make_grid(width, has_ids=len(rows[0]) == 3)
        parts: list[RenderableType] = [table]
        for name, description, *ids in rows:
            name_cell, id_cells = Text(name, name_style), [Text(id) for id in ids]
            if is_narrow:
                table.add_row(name_cell, *id_cells)
                table.add_row(Padding(Text(description), (0, 0, 0, 2)))
            elif len(name) > width:
                table = self._make_grid(width, has_ids=bool(ids))
                table.add_row("", Text(description), *id_cells)
                parts += [name_cell, table]
            else:
                table.add_row(name_cell, Text(description), *id_cells)
        return Group(*parts)

    def _make_grid(self, width: int, *, has_ids: bool) -> Table:
        """Return a table without rows; a `width` of 0 leaves the column of names out."""
        table = Table.grid(expand=True, padding=(0, 2, 0, 0))
        if width:
            table.add_column(width=width)
        table.add_column(ratio=1)
        if has_ids:
            table.add_column(width=max(len(row.id) for row in self._rows))
        return table

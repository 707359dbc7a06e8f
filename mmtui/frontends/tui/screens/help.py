"""What there is: the keys as they are bound now, and the commands."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from mmtui.chat.commands import ABOUT, COMMANDS

NARROW = 60  # columns; below, what a key does stands under it


class HelpScreen(ModalScreen[None]):
    CSS_PATH = "help.tcss"
    BINDINGS: ClassVar = [Binding("escape,f1,q", "dismiss", "Back")]

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(self._keys(), id="keys")
            yield Static(self._commands(), id="commands")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _keys(self) -> Content:
        from mmtui.frontends.tui import keys  # it knows all screens, this one among them

        lines: list[Content] = []
        before = ""
        for place, binding in keys.bindings():
            if place != before:
                lines.append(Content.styled(place.capitalize(), "bold"))
                before = place
            now = self.app.key_of(binding)  # type: ignore[attr-defined]
            lines.append(self._row(keys.shown(now), binding.description, binding.id or ""))
        return Content("\n").join([*lines, Content("")])

    def _commands(self) -> Content:
        lines = [self._row(f"/{c.name} {c.argument}", c.help) for c in COMMANDS]
        head = [Content.styled("Commands", "bold"), Content(ABOUT)]
        return Content("\n").join([*head, *lines])

    def _row(self, name: str, does: str, id: str = "") -> Content:
        begin = f"{name}\n  " if self.app.size.width < NARROW else f"{name:25} "
        return Content.assemble((begin, "$primary"), does, (f"  {id}" if id else "", "dim"))

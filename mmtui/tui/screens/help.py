"""What there is: the keys as they are bound now, and the commands."""

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from mmtui.chat.commands import COMMANDS
from mmtui.tui.widgets.composer import Composer


class HelpScreen(ModalScreen[None]):
    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > VerticalScroll { width: 80; max-width: 95%; height: auto; max-height: 90%; padding: 1 2; background: $surface; border: round $primary; }
    """  # noqa: E501
    BINDINGS: ClassVar = [Binding("escape,f1,q", "dismiss", "Back")]

    def __init__(self, of: Screen[Any]) -> None:
        super().__init__()
        self._of = of

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(self._keys(), id="keys")
            yield Static(self._commands(), id="commands")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()

    def _keys(self) -> Content:
        """By action: a key that was remapped is shown as it is now."""
        keys: dict[str, tuple[list[str], str]] = {}
        for active in self._of.active_bindings.values():
            binding = active.binding
            if binding.id and binding.description:
                found = keys.setdefault(binding.id, ([], binding.description))
                found[0].append(self.app.get_key_display(binding))
        for key, (action, description) in Composer.KEYS.items():
            keys.setdefault(action, ([], description))[0].append(key)
        lines = [
            Content.assemble(
                (f"{', '.join(dict.fromkeys(names)):24}", "$primary"),
                f"{description:20}",
                (id, "dim"),
            )
            for id, (names, description) in keys.items()
        ]
        return Content("\n").join([Content.styled("Keys", "bold"), *lines, Content("")])

    def _commands(self) -> Content:
        lines = [
            Content.assemble((f"/{f'{c.name} {c.argument}':23}", "$primary"), c.help)
            for c in COMMANDS
        ]
        return Content("\n").join([Content.styled("Commands", "bold"), *lines])

"""All key bindings of the app, as they are by default and as the user's settings remap them.

Commands and their keys are defined in `mmtui/chat/commands.py`; the keys of a widget are in its
`BINDINGS`.

`python -m mmtui.frontends.tui.keymap` prints them as a table in Markdown.
"""

import difflib
from collections.abc import Iterator, Mapping

from textual.binding import Binding
from textual.widget import Widget

from mmtui.chat.commands import COMMANDS
from mmtui.frontends.tui.keys import format_keys, parse_key
from mmtui.frontends.tui.screens.branches import BranchesScreen
from mmtui.frontends.tui.screens.chat.screen import ChatScreen
from mmtui.frontends.tui.screens.help import HelpRow
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.find_bar import FindBar
from mmtui.frontends.tui.widgets.message_queue import QueuedMessage
from mmtui.frontends.tui.widgets.message_view import MessageView
from mmtui.frontends.tui.widgets.sidebar import SidebarList
from mmtui.frontends.tui.widgets.transcript import Earlier, Later
from mmtui.frontends.tui.widgets.welcome import Example

SCOPES: dict[str, type[Widget]] = {
    "the prompt": Composer,
    "anywhere": ChatScreen,
    "a message": MessageView,
    "earlier messages": Earlier,
    "later messages": Later,
    "the find field": FindBar,
    "a waiting message": QueuedMessage,
    "an attachment": Chip,
    "an example": Example,
    "the sidebar": SidebarList,
    "conversations": HistoryScreen,
    "the versions": BranchesScreen,
}
# Its default key was free before, and may be that of another action in the settings.
_YIELDING = "sidebar"
# Terminals send the same bytes for both keys of each pair.
_INDISTINGUISHABLE = {
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+h": "backspace",
    "ctrl+left_square_bracket": "escape",
}


def list_bindings() -> Iterator[tuple[str, Binding]]:
    """Yield each binding that has an id, and so can be remapped, with its scope.

    The keys of bindings with the same id are joined by commas.
    """
    for scope, widget in SCOPES.items():
        by_id: dict[str, Binding] = {}
        for binding in Binding.make_bindings(widget.BINDINGS):
            if binding.id:
                before = by_id.get(binding.id)
                key = f"{before.key},{binding.key}" if before else binding.key
                by_id[binding.id] = binding.with_key(key)
        for binding in by_id.values():
            yield scope, binding


def parse_keymap(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of the user's settings in Textual's names, without those that are invalid.

    Args:
        settings: Keys, separated by commas, by the id of their binding.
    """
    ids = {binding.id for _, binding in list_bindings()}
    keymap = {}
    for id, keys in settings.items():
        if id in ids and (parsed := [key for key in map(parse_key, keys.split(",")) if key]):
            keymap[id] = ",".join(parsed)
    return keymap


def _get_keys(binding: Binding, keymap: Mapping[str, str]) -> str:
    """Return the keys of a binding; "" if its default key is that of another one in the keymap."""
    if remapped := keymap.get(binding.id or ""):
        return remapped
    used = {key for keys in keymap.values() for key in keys.split(",")}
    return "" if binding.id == _YIELDING and binding.key in used else binding.key


def find_problems(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the keys of the user's settings, each with a hint."""
    ids: list[str] = []
    used: dict[tuple[str, str], str] = {}
    keymap = parse_keymap(settings)
    for scope, binding in list_bindings():
        id = binding.id or ""
        ids.append(id)
        for key in filter(None, _get_keys(binding, keymap).split(",")):
            other = used.setdefault((scope, key), id)
            if other != id:
                yield f"{key} is both {other!r} and {id!r} on {scope}", "give one another key"
    for id, keys in settings.items():
        if id not in ids:
            nearest = difflib.get_close_matches(id, ids, 1, cutoff=0)[0]
            yield f"there is no action {id!r} for the key {keys}", f"the nearest is {nearest!r}"
        for key in keys.split(","):
            parsed = parse_key(key)
            if parsed is None:
                hint = "keys are written F1, Ctrl+B, Alt+V, Shift+Enter, PageUp or Esc"
                yield f"there is no key {key.strip()!r} for the action {id!r}", hint
            elif other_key := _INDISTINGUISHABLE.get(parsed):
                yield f"{parsed} is the same as {other_key} in a terminal", "choose another key"


def find_keys(id: str, keymap: Mapping[str, str]) -> str:
    """Return the keys of a binding as people write them, remapped by `keymap`."""
    default = next(binding.key for _, binding in list_bindings() if binding.id == id)
    return format_keys(keymap.get(id, default))


def list_help(keymap: Mapping[str, str]) -> list[HelpRow]:
    """Return a row of the help screen for each binding, remapped by `keymap`."""
    return [
        HelpRow(
            scope,
            format_keys(_get_keys(binding, keymap)),
            binding.description,
            binding.id or "",
        )
        for scope, binding in list_bindings()
    ]


def bindings_to_markdown() -> str:
    """Return all bindings as a table in Markdown."""
    rows = [
        f"| {row.keys} | {row.scope} | {row.description} | `{row.id}` |" for row in list_help({})
    ]
    return "\n".join(["| key | where | what it does | action |", "|---|---|---|---|", *rows])


def commands_to_markdown() -> str:
    """Return all slash commands as a table in Markdown."""
    rows = []
    for command in COMMANDS:
        usage = f"/{command.name} {command.argument}".strip().replace("|", "\\|")
        rows.append(f"| `{usage}` | {command.help} |")
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


if __name__ == "__main__":
    print(bindings_to_markdown(), commands_to_markdown(), sep="\n\n")

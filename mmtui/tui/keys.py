"""All keys that do something, and can be remapped: for the help screen and for the README.

`python -m mmtui.tui.keys` prints them as a table in Markdown.
"""

import difflib
from collections.abc import Iterator, Mapping

from textual.binding import Binding
from textual.widget import Widget

from mmtui.tui.screens.chat import ChatScreen
from mmtui.tui.screens.history import HistoryScreen
from mmtui.tui.widgets.chips import Chip
from mmtui.tui.widgets.composer import Composer
from mmtui.tui.widgets.message import MessageView
from mmtui.tui.widgets.transcript import Earlier

PLACES: dict[str, type[Widget]] = {
    "the prompt": Composer,
    "anywhere": ChatScreen,
    "a message": MessageView,
    "the line above": Earlier,
    "an attachment": Chip,
    "earlier chats": HistoryScreen,
}
# What terminals send for these is the same as for the other ones.
_ALIKE = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+h": "backspace", "ctrl+[": "escape"}


def bindings() -> Iterator[tuple[str, Binding]]:
    """Where a key does something, and what. Only what has an id can be remapped."""
    for place, widget in PLACES.items():
        together: dict[str, Binding] = {}
        for binding in Binding.make_bindings(widget.BINDINGS):
            if binding.id:
                before = together.get(binding.id)
                key = f"{before.key},{binding.key}" if before else binding.key
                together[binding.id] = binding.with_key(key)
        for binding in together.values():
            yield place, binding


def shown(keys: str) -> str:
    """ "f5,ctrl+r" -> "F5, Ctrl+R"."""
    return ", ".join(
        "+".join(part.capitalize() for part in key.strip().split("+")) for key in keys.split(",")
    )


def wrong(keymap: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What can't be in a user's keymap, and the cure."""
    names: list[str] = []
    on: dict[tuple[str, str], str] = {}
    for place, binding in bindings():
        name = binding.id or ""
        names.append(name)
        for key in (keymap.get(name) or binding.key).split(","):
            other = on.setdefault((place, key.strip()), name)
            if other != name:
                yield f"{key} is both {other!r} and {name!r} on {place}", "give one another key"
    for name, keys in keymap.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, cutoff=0)[0]
            yield f"there is no action {name!r} for the key {keys}", f"the nearest is {near!r}"
        for key in keys.split(","):
            if alike := _ALIKE.get(key.strip()):
                yield f"{key} can't be told from {alike} in a terminal", "choose another key"


def markdown() -> str:
    rows = [
        f"| {shown(binding.key)} | {place} | {binding.description} | `{binding.id}` |"
        for place, binding in bindings()
    ]
    return "\n".join(["| key | on | what it does | its name |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(markdown())

"""All keys that do something, and can be remapped: for the help screen and for the README.

`python -m mmtui.frontends.tui.keys` prints them as a table in Markdown.
"""

import difflib
import re
import string
from collections.abc import Iterator, Mapping, Sequence

from textual.binding import Binding
from textual.keys import Keys
from textual.widget import Widget

from mmtui.frontends.tui.screens.chat import ChatScreen
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.message import MessageView
from mmtui.frontends.tui.widgets.transcript import Earlier

PLACES: dict[str, type[Widget]] = {
    "the prompt": Composer,
    "anywhere": ChatScreen,
    "a message": MessageView,
    "the line above": Earlier,
    "an attachment": Chip,
    "earlier chats": HistoryScreen,
}
# What terminals send for these is the same as for the other ones.
_ALIKE = {
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+h": "backspace",
    "ctrl+left_square_bracket": "escape",
}
_ARROWS = ("up", "down", "left", "right")
_MODIFIERS = {
    "alt": "alt", "option": "alt", "ctrl": "ctrl", "control": "ctrl", "shift": "shift",
    "super": "super", "cmd": "super", "command": "super", "win": "super", "meta": "meta",
    "hyper": "hyper",
}  # fmt: skip


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


def parse(name: str) -> str | None:
    """Textual's name of a key, from one as people write it; None if there is no such key.

    "Ctrl+B" and "Ctrl-B" are "ctrl+b", "Esc" is "escape", "Page Up" is "pageup". A letter is the
    key that bears it, "Shift+E" its capital.
    """
    name = name.strip()
    if found := _KEYS.get(_squeezed(name)):
        return found
    *modifiers, base = re.split(r"\s*[+-]\s*(?=.)", name)
    modifiers = [_MODIFIERS.get(modifier.lower(), "") for modifier in modifiers]
    if not all(modifiers):
        return None
    if base.isalpha() and len(base) == 1:
        return base.upper() if modifiers == ["shift"] else _joined(modifiers, base.lower())
    if len(base) == 1 and base.isprintable():
        return _joined(modifiers, _name(base))
    return _joined(modifiers, _KEYS.get(_squeezed(base)))


def keymap(settings: Mapping[str, str]) -> dict[str, str]:
    """The keys of the user's settings as Textual takes them; without what is not understood."""
    names = {binding.id for _, binding in bindings()}
    understood = {}
    for action, keys in settings.items():
        if action in names and (parsed := [key for key in map(parse, keys.split(",")) if key]):
            understood[action] = ",".join(parsed)
    return understood


def find_problems(settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the keys of the user's settings, and the cure of each."""
    names: list[str] = []
    on: dict[tuple[str, str], str] = {}
    remapped = keymap(settings)
    for place, binding in bindings():
        name = binding.id or ""
        names.append(name)
        for key in (remapped.get(name) or binding.key).split(","):
            other = on.setdefault((place, key), name)
            if other != name:
                yield f"{key} is both {other!r} and {name!r} on {place}", "give one another key"
    for name, keys in settings.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, cutoff=0)[0]
            yield f"there is no action {name!r} for the key {keys}", f"the nearest is {near!r}"
        for key in keys.split(","):
            parsed = parse(key)
            if parsed is None:
                cure = "keys are written F1, Ctrl+B, Alt+V, Shift+Enter, PageUp or Esc"
                yield f"there is no key {key.strip()!r}, which is to be {name!r}", cure
            elif alike := _ALIKE.get(parsed):
                yield f"{parsed} can't be told from {alike} in a terminal", "choose another key"


def _name(character: str) -> str:
    """Textual's name of the key of a character: "?" is "question_mark"."""
    if character == ",":  # which stands between two keys
        return "comma"
    (binding,) = Binding.make_bindings([Binding(character, "")])
    return binding.key


def _joined(modifiers: Sequence[str], base: str | None) -> str | None:
    """Textual's order of modifiers is that of the alphabet."""
    return "+".join([*sorted(set(modifiers)), base]) if base else None


def _squeezed(name: str) -> str:
    """A name without what people spell differently: "Page Up", "page_up"."""
    return re.sub(r"(?<=.)[ _-](?=.)", "", name).lower()


_KEYS = {
    _squeezed(name): name
    for name in (
        *(key.value for key in Keys if key.value.isalnum() and len(key.value) > 1),
        *map(_name, string.punctuation),
    )
} | {
    "esc": "escape", "return": "enter", "del": "delete", "ins": "insert", "spacebar": "space",
    "pgup": "pageup", "pgdn": "pagedown", "pgdown": "pagedown",
    **{f"{way}arrow": way for way in _ARROWS}, **{f"arrow{way}": way for way in _ARROWS},
}  # fmt: skip


def markdown() -> str:
    rows = [
        f"| {shown(binding.key)} | {place} | {binding.description} | `{binding.id}` |"
        for place, binding in bindings()
    ]
    return "\n".join(["| key | on | what it does | its name |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(markdown())

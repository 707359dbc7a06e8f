"""Names of keys: as people write them, as Textual names them, as they are shown."""

import re
import string
from collections.abc import Sequence

from textual.binding import Binding
from textual.keys import Keys

_DISPLAY_NAMES = {"escape": "Esc", "pageup": "PageUp", "pagedown": "PageDown"}
_ARROWS = ("up", "down", "left", "right")
_MODIFIERS = {
    "alt": "alt", "option": "alt", "ctrl": "ctrl", "control": "ctrl", "shift": "shift",
    "super": "super", "cmd": "super", "command": "super", "win": "super", "meta": "meta",
    "hyper": "hyper",
}  # fmt: skip


def format_keys(keys: str) -> str:
    """Return Textual's names of keys as people write them: "f5,ctrl+r" is "F5, Ctrl+R"."""
    return ", ".join(
        "+".join(_DISPLAY_NAMES.get(part, part.capitalize()) for part in key.strip().split("+"))
        for key in keys.split(",")
    )


def parse_key(name: str) -> str | None:
    """Return Textual's name of a key, or None if there is no such key.

    "Ctrl+B" and "Ctrl-B" are "ctrl+b", "Esc" is "escape", "Page Up" is "pageup". A single letter
    is the key without Shift; "Shift+E" is "E".
    """
    name = name.strip()
    if found := _KEYS.get(_normalize(name)):
        return found
    *modifiers, base = re.split(r"\s*[+-]\s*(?=.)", name)
    modifiers = [_MODIFIERS.get(modifier.lower(), "") for modifier in modifiers]
    if not all(modifiers):
        return None
    if base.isalpha() and len(base) == 1:
        return base.upper() if modifiers == ["shift"] else _join(modifiers, base.lower())
    if len(base) == 1 and base.isprintable():
        return _join(modifiers, _name_character(base))
    return _join(modifiers, _KEYS.get(_normalize(base)))


def _name_character(character: str) -> str:
    """Return Textual's name of the key of a character: "?" is "question_mark"."""
    if character == ",":  # in a binding it separates keys
        return "comma"
    (binding,) = Binding.make_bindings([Binding(character, "")])
    return binding.key


def _join(modifiers: Sequence[str], base: str | None) -> str | None:
    """Join a key with its modifiers, which Textual sorts."""
    return "+".join([*sorted(set(modifiers)), base]) if base else None


def _normalize(name: str) -> str:
    """Return a name in lower case without separators: "Page Up" and "page_up" are "pageup"."""
    return re.sub(r"(?<=.)[ _-](?=.)", "", name).lower()


_KEYS = {
    _normalize(name): name
    for name in (
        *(key.value for key in Keys if key.value.isalnum() and len(key.value) > 1),
        *map(_name_character, string.punctuation),
    )
} | {
    "esc": "escape", "return": "enter", "del": "delete", "ins": "insert", "spacebar": "space",
    "pgup": "pageup", "pgdn": "pagedown", "pgdown": "pagedown",
    **{f"{way}arrow": way for way in _ARROWS}, **{f"arrow{way}": way for way in _ARROWS},
}  # fmt: skip

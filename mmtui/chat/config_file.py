"""Change values in the user's settings file; its comments and everything else stay."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from mmtui.chat.config import get_path
from mmtui.chat.config_template import TEMPLATE
from mmtui.errors import MmtuiError
from mmtui.files import read_text, replacing

_HINT = "`mmtui config edit` opens the file"
_TABLE = re.compile(r"\s*\[")
_VALUE = r"""("[^"\\\n]*"|'[^'\n]*'|[^\s#"'\[{]+)"""


def save_settings(values: Mapping[str, str | bool], file: Path | None = None) -> Path:
    """Write settings to a settings file, which is created if it does not exist.

    Args:
        values: The new values by key. They must be valid.
        file: The settings file; None is the user's.

    Returns:
        The path of the file.

    Raises:
        MmtuiError: The file can't be read or written, or a value can't be replaced safely.
    """
    file = (file or get_path()).resolve()  # dotfiles are often links
    text = read_text(file) if file.exists() else TEMPLATE
    changed = set_values(text, values)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(changed, "utf-8", newline="")
    except OSError as error:
        raise MmtuiError(f"the settings can't be written: {file}: {error.strerror}") from error
    return file


def set_values(text: str, values: Mapping[str, str | bool]) -> str:
    """Return the text of a settings file with some values replaced.

    A key that is not set yet is set after the line that documents its default.

    Raises:
        MmtuiError: The text is not valid TOML, or a value spans several lines.
    """
    changed = text
    for key, value in values.items():
        changed = _set_value(changed, key, value)
    try:
        is_safe = tomllib.loads(changed) == tomllib.loads(text) | dict(values)
    except tomllib.TOMLDecodeError:
        is_safe = False
    if not is_safe:
        raise MmtuiError(f"{', '.join(values)} can't be changed in the settings file", _HINT)
    return changed


def _set_value(text: str, key: str, value: str | bool) -> str:
    lines = text.splitlines(keepends=True)
    written = json.dumps(value, ensure_ascii=False)  # which is TOML, too
    end = next((n for n, line in enumerate(lines) if _TABLE.match(line)), len(lines))
    assignment = re.compile(rf"(\s*{key}\s*=\s*){_VALUE}(\s*(?:#.*)?)$", re.DOTALL)
    for number, line in enumerate(lines[:end]):
        if match := assignment.match(line):
            lines[number] = f"{match[1]}{written}{match[3]}"
            return "".join(lines)
    default = re.compile(rf"#\s*{key}\s*=")
    documented = [n + 1 for n, line in enumerate(lines[:end]) if default.match(line)]
    place = documented[0] if documented else end
    if place and not lines[place - 1].endswith("\n"):
        lines[place - 1] += "\n"
    lines.insert(place, f"{key} = {written}\n")
    return "".join(lines)

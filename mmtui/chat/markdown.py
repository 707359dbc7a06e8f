"""Markdown of untrusted texts that can't change what stands around it in a document."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_SPECIAL = re.compile(r"[\\`*_\[\]<&~]|#+$")
_PROBE = "probe"


def escape(line: str) -> str:
    """Backslash-escape a single line, so that it is read as plain text."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", line)


def quote(text: str) -> str:
    """Put a Markdown text in a block quote."""
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def contain(text: str, names: set[str]) -> str:
    """Return `text`, changed as little as it takes to keep it apart from what follows it.

    It stays as it is if, to a Markdown reader, it ends where it ends and affects nothing else:
    every code block is closed, and there is no HTML and no link definition. It must not have a
    line that consists of one of `names` (lower case) either, which would look like the beginning
    of another message. An open code block is closed; anything else is shown as code.
    """
    text = text.strip("\n").rstrip()
    if _is_contained(text, names):
        return text
    fences = [token.markup for token in _parser().parse(text) if token.type == "fence"]
    if fences and _is_contained(closed := f"{text}\n{fences[-1]}", names):
        return closed
    return _fenced(text)


def _is_contained(text: str, names: set[str]) -> bool:
    definitions: dict[str, Any] = {}
    tokens = _parser().parse(f"{_PROBE}\n\n{text}\n\n{_PROBE}", definitions)
    ends = (tokens[1], tokens[-2])
    if definitions.get("references") or any(
        token.content != _PROBE or token.level != 1 for token in ends
    ):
        return False
    for token in tokens:
        kinds = {token.type, *(child.type for child in token.children or ())}
        if kinds & {"html_block", "html_inline"}:
            return False
        if any(re.sub(r"\W", "", line).lower() in names for line in _visible_lines(token)):
            return False
    return True


def _visible_lines(token: "Token") -> Iterator[str]:
    line = ""
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak"):
            yield line
            line = ""
        else:
            line += child.content
    yield line


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")

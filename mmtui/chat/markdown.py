"""Put untrusted texts into a Markdown document without affecting the rest of it."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_SPECIAL = re.compile(r"[\\`*_\[\]<&~]|#+$")
_PROBE = "probe"


def escape(line: str) -> str:
    """Escape the Markdown in a line."""
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", line)


def quote(text: str) -> str:
    """Turn a Markdown text into a block quote."""
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def isolate(text: str, names: set[str]) -> str:
    """Return a Markdown text that does not affect the text after it.

    A text is returned unchanged if all its code blocks are closed, it has no HTML and no link
    definitions, and none of its lines looks like the name of a speaker. Otherwise an open code
    block is closed or, if that is not enough, the text is put in a code block.

    Args:
        text: The Markdown text.
        names: The names of the speakers, in lower case.
    """
    text = text.strip("\n").rstrip()
    if _is_isolated(text, names):
        return text
    fences = [token.markup for token in _make_parser().parse(text) if token.type == "fence"]
    if fences and _is_isolated(closed := f"{text}\n{fences[-1]}", names):
        return closed
    return _to_code_block(text)


def _is_isolated(text: str, names: set[str]) -> bool:
    """Parse a text between two paragraphs, and return whether these are parsed as usual."""
    definitions: dict[str, Any] = {}
    tokens = _make_parser().parse(f"{_PROBE}\n\n{text}\n\n{_PROBE}", definitions)
    first, last = tokens[1], tokens[-2]
    if definitions.get("references"):
        return False
    if any(token.content != _PROBE or token.level != 1 for token in (first, last)):
        return False
    for token in tokens:
        kinds = {token.type, *(child.type for child in token.children or ())}
        if kinds & {"html_block", "html_inline"}:
            return False
        if any(re.sub(r"\W", "", line).lower() in names for line in _visible_lines(token)):
            return False
    return True


def _visible_lines(token: "Token") -> Iterator[str]:
    """Yield the lines of a block without their markup."""
    line = ""
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak"):
            yield line
            line = ""
        else:
            line += child.content
    yield line


def _to_code_block(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _make_parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")

"""Markdown as sentences that a person would read out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from mmtui.pipeline.speech.language_detection import detect_language
from mmtui.pipeline.speech.sentences import has_sentence_end, split_sentences
from mmtui.pipeline.speech.spoken_math import read_formula
from mmtui.text import printable

CODE_OMITTED = "Code omitted."
MAX_CODE_LENGTH = 40  # of code within a sentence that is read
MAX_TABLE_ROWS = 8
MAX_BLOCK_LENGTH = 20_000  # characters of a paragraph or list, which is parsed again as it grows
_FORMULA = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|\$(?!\s)([^$\n]+?)(?<!\s)\$(?!\d)", re.DOTALL
)
_URL = re.compile(r"(?:https?://|www\.)([^\s/<>()\"']+)[^\s<>()\"']*")
_REFERENCE = re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]")
_CITATION = re.compile(r"\[\^?\d+\]")
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\U000e0020-\U000e007f\u2300-\u23ff\u2500-\u27bf\u2b00-\u2bff\ufe0f\u200d"
    "\u20e3]+"
)
_ARROW = re.compile("[\u2192\u21d2\u27f6\u27f9\u279c]|(?<=\\s)[-=]>(?=\\s)")
_MARKS = re.compile(r"\*+|(?<!\w)_+|_+(?!\w)|~~|`+|^\s*#+\s|\[\[|\]\]|[\u2190-\u21ff\u2022|]")
_TASK = re.compile(r"^\[([ xX])\]\s+")


@dataclass(frozen=True)
class Sentence:
    """A sentence to read aloud.

    Attributes:
        text: Plain text.
        language: The code of its language.
    """

    text: str
    language: str


class SpokenText:
    """Converts a stream of Markdown to sentences, each as soon as it is complete.

    Code blocks are omitted, which is said. Tables are read row by row, with their headings. Links
    are read without their addresses.
    """

    def __init__(self) -> None:
        self._source = ""  # from the start of the block that may still grow
        self._parsed = 0  # characters of it that have been parsed
        self._count = 0  # sentences of the block that have been returned
        self._language = "en"

    def write(self, piece: str) -> list[Sentence]:
        """Add a piece of the text, and return the sentences that it completes."""
        self._source += printable(piece)
        recent = self._source[max(0, self._parsed - 8) :]
        if "\n" in recent or has_sentence_end(recent):
            sentences = self._advance(is_complete=False)
            if len(self._source) > MAX_BLOCK_LENGTH:
                sentences += self._advance(is_complete=True)
            return sentences
        return []

    def finish(self) -> list[Sentence]:
        """Return the remaining sentences."""
        return self._advance(is_complete=True)

    def _advance(self, *, is_complete: bool) -> list[Sentence]:
        tokens = _MARKDOWN.parse(self._source)
        starts = [i for i, t in enumerate(tokens) if t.level == 0 and t.nesting >= 0]
        last = starts[-1] if starts else 0
        found: list[str] = []
        if last:
            found += _split_blocks(tokens[:last], is_complete=True)[self._count :]
            lines = self._source.split("\n")
            self._source = "\n".join(lines[_get_first_line(tokens[last]) :])
            self._count = 0
        sentences = _split_blocks(tokens[last:], is_complete=is_complete)
        found += sentences[self._count :]
        self._count = max(self._count, len(sentences))
        if tokens and tokens[last].type == "fence":
            self._source = _shorten_fence(self._source, tokens[last].markup)
        if is_complete:
            self._source, self._count = "", 0
        self._parsed = len(self._source)
        return [self._to_sentence(text) for text in found]

    def _to_sentence(self, text: str) -> Sentence:
        if text != CODE_OMITTED:
            self._language = detect_language(text, self._language)
        return Sentence(text, self._language)


def to_sentences(markdown: str) -> list[Sentence]:
    """Convert a complete text in Markdown to sentences to read aloud."""
    text = SpokenText()
    return [*text.write(markdown), *text.finish()]


def _parse_formula(state: StateInline, silent: bool) -> bool:
    """Parse a formula in LaTeX, a rule of markdown-it."""
    match = _FORMULA.match(state.src, state.pos)
    if match is None:
        return False
    if not silent:
        token = state.push("math", "", 0)
        token.content = next(group for group in match.groups() if group)
    state.pos = match.end()
    return True


def _make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.inline.ruler.before("escape", "math", _parse_formula)
    return parser


_MARKDOWN = _make_parser()


def _shorten_fence(source: str, fence: str) -> str:
    """Remove the complete lines between the fences of a code block, which are not read."""
    first, *lines, last = source.split("\n") if "\n" in source else (source, "")
    fences = [line for line in lines if line.strip().startswith(fence)]
    return "\n".join([first, *fences, last])


def _get_first_line(token: Token) -> int:
    return token.map[0] if token.map else 0


def _split_blocks(tokens: list[Token], *, is_complete: bool) -> list[str]:
    """Return the sentences of blocks; those at the end of the last one only if it is complete."""
    leaves = list(_read_blocks(tokens))
    sentences: list[str] = []
    for index, leaf in enumerate(leaves):
        is_growing = not is_complete and index == len(leaves) - 1 and leaf != CODE_OMITTED
        if not (is_growing and leaf.startswith("|")):  # a line that may become a table
            sentences += split_sentences(_clean(leaf), is_complete=not is_growing)
    return sentences


def _read_blocks(tokens: list[Token]) -> Iterator[str]:
    """Yield the text of each paragraph, heading, list item and row of a table."""
    numbers: list[int | None] = []
    prefix = ""
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.type in ("fence", "code_block"):
            yield CODE_OMITTED
        elif token.type in ("ordered_list_open", "bullet_list_open"):
            is_ordered = token.type == "ordered_list_open"
            numbers.append(int(token.attrGet("start") or 1) if is_ordered else None)
        elif token.type in ("ordered_list_close", "bullet_list_close"):
            numbers.pop()
        elif token.type == "list_item_open":
            number = numbers[-1]
            prefix = "" if number is None else f"{number}, "
            numbers[-1] = None if number is None else number + 1
        elif token.type == "table_open":
            end = next(i for i in range(index, len(tokens)) if tokens[i].type == "table_close")
            yield from _read_table(tokens[index:end])
            index = end
        elif token.type == "inline":
            text = _read_inline(token)
            if task := _TASK.match(text):
                text = ("To do: " if task[1] == " " else "Done: ") + text[task.end() :]
            yield prefix + text
            prefix = ""
        index += 1


def _read_table(tokens: list[Token]) -> Iterator[str]:
    """Yield each row of a table as "heading: cell" pairs."""
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(_clean(_read_inline(token)))
    headings, *body = rows
    for row in body[:MAX_TABLE_ROWS]:
        pairs = zip(headings, row, strict=False)
        yield "; ".join(f"{head}: {cell}" if head else cell for head, cell in pairs if cell)
    if len(body) > MAX_TABLE_ROWS:
        yield f"{len(body) - MAX_TABLE_ROWS} more rows of the table omitted."


def _read_inline(token: Token) -> str:
    """Return the words of a paragraph."""
    parts = []
    for child in token.children or ():
        if child.type == "text":
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type == "code_inline":
            parts.append(_read_code(child.content))
        elif child.type == "math":
            parts.append(f" {read_formula(child.content)} ")
        elif child.type == "image":
            parts.append(f"picture: {child.content}" if child.content else "picture")
    return "".join(parts)


def _read_code(code: str) -> str:
    """Return code within a sentence as words, such as a name without its underscores."""
    if len(code) > MAX_CODE_LENGTH:
        return "code omitted"
    return re.sub(r"\(\)|[`{}\[\];]", "", code).replace("_", " ").strip()


def _read_url(match: "re.Match[str]") -> str:
    """Return the name of a web site, and the punctuation after its address."""
    address = match[0].rstrip(".,;:!?")
    site = match[1].rstrip(".,;:!?").removeprefix("www.")
    return f"link to {site}{match[0][len(address) :]}"


def _clean(text: str) -> str:
    """Remove what can't be pronounced."""
    text = _URL.sub(_read_url, text)
    text = _CITATION.sub("", _REFERENCE.sub(r"\1", text))
    text = _MARKS.sub(" ", _ARROW.sub(" to ", _EMOJI.sub(" ", printable(text))))
    text = re.sub(r"\s+([.,;:!?])(?=\s|$)", r"\1", " ".join(text.split()))
    return text.strip()

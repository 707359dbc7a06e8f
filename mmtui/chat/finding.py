"""Find words in the messages of a conversation, as they are shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mmtui.chat.conversation import Message
from mmtui.chat.history.search import find_spans, fold

if TYPE_CHECKING:
    from markdown_it.token import Token


@dataclass(frozen=True)
class Hit:
    """An occurrence of the words.

    Attributes:
        message: The id of the message.
        number: The number of the occurrence in its message, from 0.
    """

    message: str
    number: int


def find_hits(messages: Iterable[Message], words: str) -> list[Hit]:
    """Return where messages contain words, in the order of the messages.

    The words must follow each other within a paragraph; case, accents and formatting are ignored.

    Args:
        messages: The messages; they are not changed, so copies can be searched in a thread.
        words: What to find.
    """
    phrase = fold(words)
    hits = []
    for message in messages:
        paragraphs = list_paragraphs(message.text) if message.role == "assistant" else ()
        texts = paragraphs or (message.text,)
        count = sum(len(find_spans(text, phrase)) for text in texts)
        hits += [Hit(message.id, number) for number in range(count)]
    return hits


@lru_cache(maxsize=2000)  # a conversation is searched again for each character that is typed
def list_paragraphs(text: str) -> tuple[str, ...]:
    """Return the texts of the paragraphs, cells and code blocks of a Markdown text."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("gfm-like").parse(text)
    return tuple(
        "".join(map(_to_text, token.children)) if token.children else token.content
        for token in tokens
        if token.type in ("inline", "fence", "code_block")
    )


def _to_text(token: "Token") -> str:
    if token.type in ("softbreak", "hardbreak"):
        return " "
    return token.content

"""Tokenizers in Hugging Face's layout, without transformers, whose import takes seconds.

This module uses the library tokenizers, like the fast tokenizers of transformers, and implements
the part of their interface that mmtui needs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from tokenizers import AddedToken
from tokenizers import Tokenizer as Core
from tokenizers.decoders import ByteLevel, DecodeStream

from mmtui import files
from mmtui.errors import InputError
from mmtui.files import read_optional_json

FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    "chat_template.json", "processor_config.json", "config.json", "generation_config.json",
)  # fmt: skip
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # decoded from the bytes of a part of a character
# The special tokens that a chat template can use.
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token")


class Encoding(Protocol):
    """A text as token ids."""

    @property
    def input_ids(self) -> list[int]:
        """The token ids."""


class PromptTokenizer(Protocol):
    """A tokenizer with a chat template; a part of the interface of transformers."""

    @property
    def chat_template(self) -> Any:
        """The Jinja template, a dictionary of several templates by name, or None."""

    @property
    def added_tokens_decoder(self) -> Mapping[int, AddedToken]:
        """The tokens that were added to the vocabulary, by their ids."""

    @property
    def all_special_ids(self) -> Sequence[int]:
        """The ids of the special tokens, such as the end of a text."""

    @property
    def bos_token_id(self) -> int | None:
        """The id of the token that starts a text."""

    @property
    def eos_token_id(self) -> int | None:
        """The id of the token that ends a text."""

    def __call__(self, text: str, add_special_tokens: bool = True) -> Encoding:
        """Encode a text."""

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        chat_template: str,
        tokenize: bool,
        add_generation_prompt: bool,
    ) -> str:
        """Render messages with a chat template."""


class ChatTokenizer(PromptTokenizer, Protocol):
    """A tokenizer that is built on the library tokenizers, as transformers' fast ones are."""

    @property
    def backend_tokenizer(self) -> Core:
        """The tokenizer of the library tokenizers."""


class StreamDecoder:
    """Returns the text of one token after the other, with a tokenizer of the library tokenizers.

    The bytes of a character that is not complete are returned with the token that completes it.
    """

    def __init__(self, tokenizer: Core, texts: dict[int, str] | None = None) -> None:
        """Start a text.

        Args:
            tokenizer: The tokenizer.
            texts: Remembers the texts of tokens, where these do not depend on the tokens before
                them; None remembers them only in this text.
        """
        self._tokenizer = tokenizer
        self._texts = {} if texts is None else texts
        self._stream = DecodeStream(skip_special_tokens=True)
        # A byte-level tokenizer decodes every token to the same bytes in all places.
        self._is_byte_level = isinstance(tokenizer.decoder, ByteLevel)
        self._is_complete = True  # whether the bytes so far end with a character

    def __call__(self, token: int) -> str:
        """Return the text of a token."""
        if not (self._is_byte_level and self._is_complete):
            return self._decode_next(token)
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = self._tokenizer.decode([token])
        return self._decode_next(token) if _REPLACEMENT in text else text

    def _decode_next(self, token: int) -> str:
        """Return the text of a token after those before it."""
        try:
            piece = self._stream.step(self._tokenizer, token)
        except Exception:  # a private class: invalid bytes changed text that it has returned
            self._stream = DecodeStream(skip_special_tokens=True)
            piece = self._stream.step(self._tokenizer, token)
        self._is_complete = piece is not None
        return piece or ""


@dataclass(frozen=True)
class TextEncoding:
    """A text as token ids."""

    input_ids: list[int]


class Tokenizer:
    """The tokenizer of a folder in Hugging Face's layout."""

    def __init__(self, folder: Path) -> None:
        """Load the tokenizer in a folder.

        Raises:
            InputError: The tokenizer is missing or damaged.
        """
        try:
            self.backend_tokenizer = Core.from_str(files.read_text(folder / "tokenizer.json"))
            self.backend_tokenizer.no_truncation()
            self.backend_tokenizer.no_padding()
            settings = read_optional_json(folder / "special_tokens_map.json")
            settings |= read_optional_json(folder / "tokenizer_config.json")
            self.chat_template: Any = read_processor_template(folder) or _to_templates(
                settings.get("chat_template")
            )
        except Exception as error:  # tokenizers raises Exception itself
            raise InputError(f"the tokenizer in {folder} can't be read: {error}") from error
        special = {name: _get_text(settings.get(name)) for name in _SPECIAL_TOKENS}
        self._special_tokens = special
        self._texts: dict[int, str] = {}  # text by token id, shared by all answers
        self.bos_token, self.eos_token = special["bos_token"], special["eos_token"]

    def __call__(self, text: str, add_special_tokens: bool = True) -> TextEncoding:
        """Encode a text."""
        return TextEncoding(
            self.backend_tokenizer.encode(text, None, False, add_special_tokens).ids
        )

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The tokens that were added to the vocabulary, by their ids."""
        decoder: dict[int, AddedToken] = self.backend_tokenizer.get_added_tokens_decoder()
        return decoder

    @property
    def bos_token_id(self) -> int | None:
        """The id of the token that starts a text."""
        return self._id(self.bos_token)

    @property
    def eos_token_id(self) -> int | None:
        """The id of the token that ends a text."""
        return self._id(self.eos_token)

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens, such as the end of a text."""
        ids = (self._id(token) for token in self._special_tokens.values())
        return [index for index in ids if index is not None]

    def make_decoder(self) -> StreamDecoder:
        """Return what decodes an answer, one token after the other."""
        return StreamDecoder(self.backend_tokenizer, self._texts)

    def decode(self, ids: list[int]) -> str:
        """Decode tokens, including special ones."""
        text: str = self.backend_tokenizer.decode(ids, skip_special_tokens=False)
        return text

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        chat_template: str,
        tokenize: bool,  # noqa: ARG002 - always False, because the text contains image slots
        add_generation_prompt: bool,
    ) -> str:
        """Render messages with a chat template."""
        special = {name: token for name, token in self._special_tokens.items() if token is not None}
        return render_template(chat_template, messages, add_generation_prompt, special)

    def _id(self, token: str | None) -> int | None:
        index: int | None = None if token is None else self.backend_tokenizer.token_to_id(token)
        return index


def render_template(
    template: str,
    messages: Sequence[Mapping[str, object]],
    add_generation_prompt: bool,
    special_tokens: Mapping[str, str],
) -> str:
    """Render messages with a Jinja template.

    Args:
        template: The chat template.
        messages: Dictionaries with "role" and "content".
        add_generation_prompt: Whether the text ends where the answer starts.
        special_tokens: The texts of tokens that the template can name, such as "bos_token".

    Raises:
        Exception: The template fails; it can raise any error.
    """
    text: str = _compile_template(template).render(
        messages=messages,
        tools=None,
        documents=None,
        add_generation_prompt=add_generation_prompt,
        **special_tokens,
    )
    return text


def find_end_tokens(folder: Path, *known: Any) -> frozenset[int]:
    """Collect the ids of the tokens that end an answer.

    Args:
        folder: The folder with generation_config.json, if there is one.
        known: Ids from other sources; each is an id, a list of ids or None.

    Raises:
        InputError: generation_config.json is damaged.
    """
    sources = [*known, read_optional_json(folder / "generation_config.json").get("eos_token_id")]
    flat = [token for ids in sources for token in (ids if isinstance(ids, list) else [ids])]
    return frozenset(token for token in flat if isinstance(token, int))


def read_processor_template(folder: Path) -> str | None:
    """Return the chat template that is stored beside the tokenizer's settings, or None.

    It precedes the template in the settings, which may know text only. The processors of pictures
    have stored it in three files, here in the order in which transformers prefers them.

    Raises:
        InputError: A file is damaged.
    """
    template = read_optional_json(folder / "chat_template.json").get("chat_template")
    file = folder / "chat_template.jinja"
    if template is None and file.exists():
        template = files.read_text(file)
    if template is None:
        template = read_optional_json(folder / "processor_config.json").get("chat_template")
    return template if isinstance(template, str) else None


def _get_text(token: Any) -> str | None:
    """Return the text of a token that is stored as a string or as an AddedToken."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _to_templates(template: Any) -> Any:
    """Convert a list of named templates to a dictionary; return other values unchanged."""
    if isinstance(template, list):
        return {entry["name"]: entry["template"] for entry in template}
    return template


@lru_cache(maxsize=4)
def _compile_template(template: str) -> Any:
    return _create_environment().from_string(template)


def _create_environment() -> Any:
    """Create a Jinja environment for chat templates, equal to that of transformers.

    Source: `_compile_jinja_template` in transformers/utils/chat_template_utils.py.
    """
    from jinja2.exceptions import TemplateError
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Ignore `{% generation %}`, which marks answers for training."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, **options: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **options})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return environment

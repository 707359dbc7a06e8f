"""The tokenizer and the chat template that are stored in a GGUF, computed by llama.cpp."""

import codecs
import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from tokenizers import AddedToken

from mmtui.errors import InputError
from mmtui.pipeline.prompt import BREAK
from mmtui.pipeline.tokenizer import TextEncoding, render_template

_NONE = -1  # LLAMA_TOKEN_NULL
_SPECIAL = 1 << 0 | 1 << 3  # LLAMA_TOKEN_ATTR_UNKNOWN and LLAMA_TOKEN_ATTR_CONTROL
_PROBE = "a text"  # that a template renders, or drops


class LlamaTokenizer:
    """The tokenizer of a model that llama.cpp has loaded.

    Special tokens in a text are recognized unless `prompt.ChatFormat` has broken them, as it does
    in what people write. A broken one is encoded as the text that it was.

    Attributes:
        chat_template: The Jinja template of the file, or None.
    """

    def __init__(self, functions: Any, model: Any) -> None:
        """Read the special tokens.

        Args:
            functions: The functions of `llama.h`.
            model: A `llama_model_p`, which must outlive the tokenizer.

        Raises:
            InputError: The file has no tokenizer.
        """
        self._functions = functions
        self._vocabulary = functions.llama_model_get_vocab(model)
        if functions.llama_vocab_type(self._vocabulary) == 0:  # LLAMA_VOCAB_TYPE_NONE
            raise InputError("the file has no tokenizer", "use a model that chats")
        template = functions.llama_model_chat_template(model, None)
        self.chat_template: str | None = template.decode(errors="replace") if template else None
        self.bos_token_id = self._to_id(functions.llama_vocab_bos(self._vocabulary))
        self.eos_token_id = self._to_id(functions.llama_vocab_eos(self._vocabulary))
        self._adds_bos = (
            bool(functions.llama_vocab_get_add_bos(self._vocabulary))
            and self.bos_token_id is not None
        )
        self._buffer = ctypes.create_string_buffer(256)

    def __call__(self, text: str, add_special_tokens: bool = True) -> TextEncoding:
        """Encode a text."""
        pieces = re.split(self._broken, text) if BREAK in text else [text]
        ids: list[int] = []
        for number, piece in enumerate(pieces):
            is_broken = number % 2 == 1  # `re.split` alternates with what its group matched
            ids += self._encode(piece.replace(BREAK, "", 1) if is_broken else piece, not is_broken)
        bos = self.bos_token_id
        has_bos = add_special_tokens and self._adds_bos and bos is not None
        return TextEncoding([bos, *ids] if has_bos and bos is not None else ids)

    @cached_property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The special tokens, by their ids: those that are found in a text only on demand."""
        get_attributes = self._functions.llama_vocab_get_attr
        count = self._functions.llama_vocab_n_tokens(self._vocabulary)
        texts = {
            index: self._text(index)
            for index in range(count)
            if get_attributes(self._vocabulary, index) & _SPECIAL
        }
        return {index: AddedToken(text, special=True) for index, text in texts.items() if text}

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens."""
        return list(self.added_tokens_decoder)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""
        is_end = self._functions.llama_vocab_is_eog
        candidates = {*self.added_tokens_decoder, self.eos_token_id} - {None}
        return frozenset(
            index for index in candidates if index is not None and is_end(self._vocabulary, index)
        )

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, object]],
        *,
        chat_template: str,
        tokenize: bool,  # noqa: ARG002 - always False, because the text contains image slots
        add_generation_prompt: bool,
    ) -> str:
        """Render messages with a chat template.

        As in llama.cpp, the text starts with the BOS token if the vocabulary asks for one, whether
        or not the file's template has it.
        """
        named = {"bos_token": self.bos_token_id, "eos_token": self.eos_token_id}
        special = {
            name: self._text(index)
            for name, index in named.items()
            if index in self.added_tokens_decoder  # llama.cpp makes one up for BPE without a BOS
        }
        if chat_template == self.chat_template and self._needs_parts:
            messages = [{**each, "content": _to_parts(each["content"])} for each in messages]
        text = render_template(chat_template, messages, add_generation_prompt, special)
        bos = special.get("bos_token", "")
        is_missing = self._adds_bos and self.chat_template and not text.startswith(bos)
        return f"{bos}{text}" if is_missing else text

    def make_decoder(self) -> Callable[[int], str]:
        """Return a function that takes one token after the other and returns their text.

        Bytes of a character that is not complete are returned with the token that completes it.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda token: decoder.decode(self._to_bytes(token))

    @cached_property
    def _needs_parts(self) -> bool:
        """Whether the template drops a text, but not a list with a part that is a text.

        Such are the templates of some models that see.
        """
        assert self.chat_template is not None
        for content, needs_parts in ((_PROBE, False), (_to_parts(_PROBE), True)):
            try:
                messages = [{"role": "user", "content": content}]
                if _PROBE in render_template(self.chat_template, messages, True, {}):
                    return needs_parts
            except Exception:  # a template is a program and can raise anything
                continue
        return False

    def _encode(self, text: str, parse_special: bool) -> list[int]:
        data = text.encode(errors="replace")
        tokenize = self._functions.llama_tokenize
        size = len(data) + 8  # most have fewer tokens than bytes
        for _ in range(2):
            tokens = (ctypes.c_int32 * size)()
            count = tokenize(self._vocabulary, data, len(data), tokens, size, False, parse_special)
            if count >= 0:
                return tokens[:count]
            size = -count
        raise InputError("llama.cpp can't encode this text")

    @cached_property
    def _broken(self) -> re.Pattern[str]:
        """Matches special tokens that `ChatFormat` has broken."""
        tokens = (token.content for token in self.added_tokens_decoder.values())
        broken = sorted((f"{token[0]}{BREAK}{token[1:]}" for token in tokens), key=len)
        return re.compile(f"({'|'.join(map(re.escape, reversed(broken)))})")

    def _to_bytes(self, token: int) -> bytes:
        """Return the text of a token as UTF-8; nothing for a control token."""
        to_piece = self._functions.llama_token_to_piece
        size = to_piece(self._vocabulary, token, self._buffer, len(self._buffer), 0, False)
        if size < 0:
            self._buffer = ctypes.create_string_buffer(-size)
            size = to_piece(self._vocabulary, token, self._buffer, len(self._buffer), 0, False)
        return self._buffer.raw[: max(size, 0)]

    def _text(self, token: int) -> str:
        text: bytes = self._functions.llama_vocab_get_text(self._vocabulary, token)
        return text.decode(errors="replace")

    def _to_id(self, token: int) -> int | None:
        return None if token == _NONE else token


def _to_parts(text: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}]

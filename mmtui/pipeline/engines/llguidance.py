"""Grammars of JSON documents, by llguidance, which xllamacpp contains beside llama.cpp.

https://github.com/guidance-ai/llguidance reads a JSON Schema, and computes which tokens can follow.
"""

import ctypes
import json
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import numpy as np

from mmtui.errors import GrammarError, MmtuiError
from mmtui.pipeline.engines.llama_library import XLLAMACPP_VERSIONS, find_files, find_packages

MAX_REPETITIONS = 1000  # of items or characters: many more would take hours to compile
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
# One space after each comma and colon; otherwise, a model could write spaces without end.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_SPECIAL = b"\xff"  # the first byte of tokens that are not text
_ERROR_BYTES = 1000
_CONSTRAINT_BYTES = 1024  # more than the size of LlgConstraintInit, which is treated as opaque


class GrammarCompiler:
    """Compiles schemas to grammars for the tokens of a model."""

    def __init__(self, tokens: Sequence[bytes], stop_ids: Collection[int]) -> None:
        """Read the vocabulary, which takes about a second.

        Args:
            tokens: The bytes of each token; empty for those that are not text.
            stop_ids: The tokens that end an answer.

        Raises:
            GrammarError: xllamacpp is not installed, or no token is a text.
        """
        self._library = _load_library()
        self._size, self._stops = len(tokens), sorted(stop_ids)
        if not any(tokens) or not self._stops:
            raise GrammarError("the tokens of this model are not known, so that it has no grammars")
        marked = list(tokens)
        for stop in self._stops:
            marked[stop] = _SPECIAL + b"[%d]" % stop
        lengths = np.array([len(token) for token in marked], np.uint32)
        text = ctypes.create_string_buffer(b"".join(marked))
        vocabulary = _Vocabulary(
            vocab_size=self._size,
            tok_eos=self._stops[0],
            token_lens=lengths.ctypes.data,
            token_bytes=ctypes.addressof(text),
            use_approximate_greedy_tokenize_fn=True,
        )
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        self._tokenizer = self._library.llg_new_tokenizer(
            ctypes.byref(vocabulary), error, _ERROR_BYTES
        )
        if not self._tokenizer:
            raise GrammarError(f"this model has no grammars: {error.value.decode()}")

    def __del__(self) -> None:
        if getattr(self, "_tokenizer", None):
            self._library.llg_free_tokenizer(self._tokenizer)

    def compile(self, schema: str) -> "JsonGrammar":
        """Return the grammar of an empty document.

        Args:
            schema: A JSON Schema, which is an object, as JSON.

        Raises:
            GrammarError: The schema is invalid, or not supported.
        """
        document = json.loads(schema)
        _check_counts(document)
        text = json.dumps({**document, "x-guidance": _SPACING}).encode()
        options = (ctypes.c_uint8 * _CONSTRAINT_BYTES)()
        self._library.llg_constraint_init_set_defaults(options, self._tokenizer)
        matcher = self._library.llg_new_matcher(options, b"json_schema", text)
        if error := self._library.llg_matcher_get_error(matcher):
            self._library.llg_free_matcher(matcher)
            reason = error.decode(errors="replace").strip().splitlines()[0]
            raise GrammarError(f"the JSON Schema can't be used: {reason}")
        return JsonGrammar(self._library, matcher, self._size, self._stops)


class JsonGrammar:
    """Which tokens can follow in a JSON document."""

    def __init__(self, library: Any, matcher: Any, size: int, stops: list[int]) -> None:
        """Start with an empty document.

        Args:
            library: The functions of llguidance.
            matcher: Its state of the document, a LlgMatcher, which this frees.
            size: The number of tokens.
            stops: The tokens that end an answer; llguidance knows the first one.
        """
        self._library, self._matcher, self._size, self._stops = library, matcher, size, stops
        self._bytes = library.llg_matcher_get_mask_byte_size(matcher)
        self._allowed = self._find_allowed()

    def __del__(self) -> None:
        self._library.llg_free_matcher(self._matcher)

    def allows(self, token: int) -> bool:
        """Return whether a token can follow."""
        return bool(self._allowed[token])

    def restrict(self, logits: np.ndarray) -> np.ndarray:
        """Return a copy of logits (vocabulary,) with -inf for tokens that can't follow.

        Raises:
            MmtuiError: No token can follow.
        """
        if not self._allowed.any():
            raise MmtuiError("the model has no token that continues the JSON document")
        return np.where(self._allowed, logits, -np.inf).astype(logits.dtype)

    def accept(self, token: int) -> None:
        """Append a token, which the grammar allows, to the document."""
        if token in self._stops:
            return
        self._library.llg_matcher_consume_token(self._matcher, token)
        self._allowed = self._find_allowed()

    def _find_allowed(self) -> np.ndarray:
        """Return for each token whether it can follow, bool (vocabulary,)."""
        allowed = np.zeros(self._size, bool)
        if self._library.llg_matcher_is_stopped(self._matcher):
            allowed[self._stops] = True
            return allowed
        mask = np.zeros(self._bytes, np.uint8)
        if self._library.llg_matcher_compute_mask_into(
            self._matcher, mask.ctypes.data, self._bytes
        ):
            error = self._library.llg_matcher_get_error(self._matcher) or b""
            raise MmtuiError(f"the JSON document can't be continued: {error.decode()}")
        allowed[:] = np.unpackbits(mask, count=self._size, bitorder="little")
        allowed[self._stops] = allowed[self._stops[0]]
        return allowed


class _Vocabulary(ctypes.Structure):
    """The struct LlgTokenizerInit of llguidance.h."""

    _fields_ = (
        ("vocab_size", ctypes.c_uint32),
        ("tok_eos", ctypes.c_uint32),
        ("token_lens", ctypes.c_void_p),
        ("token_bytes", ctypes.c_void_p),
        ("tokenizer_json", ctypes.c_char_p),
        ("tokenize_assumes_string", ctypes.c_bool),
        ("tokenize_fn", ctypes.c_void_p),
        ("use_approximate_greedy_tokenize_fn", ctypes.c_bool),
        ("tokenize_user_data", ctypes.c_void_p),
        ("slices", ctypes.c_void_p),
        ("spare", ctypes.c_uint8 * 256),  # for fields of a later release
    )


@cache
def _load_library() -> Any:
    """Load llguidance and declare its functions; raise GrammarError if it is missing."""
    if "xllamacpp" not in find_packages():
        version = max(XLLAMACPP_VERSIONS)
        message = f"JSON mode needs xllamacpp {version}"
        raise GrammarError(message, f"pip install xllamacpp=={version}")
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    declarations: dict[str, tuple[Any, list[Any]]] = {
        "llg_new_tokenizer": (pointer, [pointer, text, size]),
        "llg_free_tokenizer": (None, [pointer]),
        "llg_constraint_init_set_defaults": (None, [pointer, pointer]),
        "llg_new_matcher": (pointer, [pointer, text, text]),
        "llg_free_matcher": (None, [pointer]),
        "llg_matcher_get_error": (text, [pointer]),
        "llg_matcher_get_mask_byte_size": (size, [pointer]),
        "llg_matcher_compute_mask_into": (ctypes.c_int32, [pointer, pointer, size]),
        "llg_matcher_consume_token": (ctypes.c_int32, [pointer, ctypes.c_uint32]),
        "llg_matcher_is_stopped": (ctypes.c_bool, [pointer]),
    }
    try:
        library = ctypes.CDLL(str(find_files("xllamacpp")[0]))
        for name, (result, arguments) in declarations.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError, IndexError) as error:
        raise GrammarError(f"xllamacpp has no JSON grammars: {error}") from error
    return library


def _check_counts(schema: object) -> None:
    """Raise GrammarError if a part of a schema must be repeated too often."""
    if isinstance(schema, dict):
        for name in _COUNTS:
            if isinstance(count := schema.get(name), int | float) and count > MAX_REPETITIONS:
                raise GrammarError(f"{name} is {count}; at most {MAX_REPETITIONS} is supported")
        parts = list(schema.values())
    else:
        parts = schema if isinstance(schema, list) else []
    for part in parts:
        _check_counts(part)

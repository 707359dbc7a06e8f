"""The engine on llama.cpp: prefill and decode with a KV cache that is kept between turns."""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np

from mmtui import crashes
from mmtui.errors import MmtuiError
from mmtui.pipeline.assets.gguf_memory import FIRST_CONTEXT
from mmtui.pipeline.engines.engine import CacheCopy, PictureFeatures
from mmtui.pipeline.engines.llama_batch import Batch
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llguidance import GrammarCompiler, JsonGrammar
from mmtui.pipeline.engines.prompt_lookup import PromptLookup
from mmtui.pipeline.engines.sampling import Sampler
from mmtui.pipeline.engines.threads import ThreadCount
from mmtui.pipeline.engines.tiles import Tile, align, count_positions, find_tile, split_chunk
from mmtui.pipeline.sequence import (
    AHEAD_CHUNK,
    PREFILL_CHUNK,
    Position,
    count_reusable,
    count_reusable_ahead,
)


class LlamaEngine:
    """Decodes with llama.cpp, which gets token ids, or embeddings for the patches of pictures."""

    def __init__(
        self,
        language: LlamaLanguage,
        prompt_lookup: bool = True,
        threads: ThreadCount | None = None,
    ) -> None:
        """Start with an empty cache.

        Args:
            language: The model that decodes.
            prompt_lookup: Whether drafts that are copied from the conversation are verified in one
                batch, which is faster than decoding them one by one.
            threads: How many threads compute; by default as many as other processes leave free.
        """
        self.language = language
        self._functions = language.library.functions
        self._prompt_lookup = prompt_lookup and language.can_forget
        self._vocabulary = language.vocabulary_size
        self._cached: list[Position] = []
        self._end = 0  # the position after those that are cached; tiles take fewer
        self._batches: dict[int, Batch] = {}  # by the width of their inputs
        self._prompt: list[Position] = []  # the last prompt that was computed
        self._logits: np.ndarray | None = None  # after that prompt
        self._capacity = 0  # positions for which `_context` has room
        self._batch = PREFILL_CHUNK  # positions that it can compute at once
        self._has_decoded = False  # a model with invalid sizes crashes in the first batch
        self.threads = threads or ThreadCount()
        self._context: Any = None  # llama_context_p

    def __del__(self) -> None:
        if self._context is not None:
            self._functions.llama_free(self._context)

    @property
    def cached(self) -> Sequence[Position]:
        """The positions in the cache."""
        return self._cached

    @property
    def state_format(self) -> str:
        """What determines the format of `dump_state`, apart from the weights."""
        library = self.language.library
        return f"llama.cpp {library.package} {library.version} {self.language.precision}"

    def dump_state(self, max_bytes: int) -> memoryview | None:
        """Return a copy of the cache, as `Engine.dump_state` describes."""
        if self.language.tiles:  # llama.cpp does not store where their patches are placed
            return None
        return self._copy_state(max_bytes)

    def load_state(self, positions: Sequence[Position], state: memoryview) -> None:
        """Replace the cache, as `Engine.load_state` describes."""
        self._crop(0)
        self._reserve([], len(positions))
        copy = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        if self._functions.llama_state_seq_set_data(self._context, copy, len(copy), 0):
            self._cached = list(positions)
            self._end = count_positions(self.language.tiles, positions)
        else:
            self._crop(0)

    def copy_cache(self, max_bytes: int) -> CacheCopy | None:
        """Return a copy of the cache, as `Engine.copy_cache` describes."""
        if not self._cached or (state := self._copy_state(max_bytes)) is None:
            return None
        return CacheCopy(list(self._cached), self._prompt, self._logits, state)

    def restore_cache(self, copy: CacheCopy) -> None:
        """Replace the cache, as `Engine.restore_cache` describes."""
        self.load_state(copy.positions, copy.state)
        self._prompt, self._logits = list(copy.prompt), copy.logits

    def make_grammar(self, schema: str) -> JsonGrammar:
        """Return the grammar of JSON documents, as `Engine.make_grammar` describes."""
        return self._grammar_compiler.compile(schema)

    @cached_property
    def _grammar_compiler(self) -> GrammarCompiler:
        return GrammarCompiler(self.language.get_token_bytes(), self.language.stop_ids)

    def count_cached(self, sequence: Sequence[Position]) -> int:
        """Return how many leading positions of `sequence` are in the cache already."""
        count = count_reusable(self._cached, sequence, self._prompt)
        count = align(self.language.tiles, sequence, count)
        return count if self.language.can_forget or count == len(self._cached) else 0

    def prefill(self, sequence: Sequence[Position], features: PictureFeatures) -> Iterator[int]:
        """Read a prompt ahead, as `Engine.prefill` describes."""
        count = count_reusable_ahead(self._cached, sequence)
        count = align(self.language.tiles, sequence, count)
        if count < len(sequence):
            self._crop(count if self.language.can_forget or count == len(self._cached) else 0)
        while rest := sequence[len(self._cached) :]:
            self._prefill(split_chunk(self.language.tiles, rest, AHEAD_CHUNK), features)
            yield len(self._cached)

    def stream(
        self, sequence: Sequence[Position], features: PictureFeatures, sampler: Sampler
    ) -> Iterator[int | None]:
        """Generate tokens without end, as `Engine.stream` describes."""
        self._crop(self.count_cached(sequence))
        while rest := sequence[len(self._cached) :]:
            chunk = split_chunk(self.language.tiles, rest, PREFILL_CHUNK)
            logits = self._prefill(chunk, features)
            self._prompt, self._logits = list(self._cached), logits.copy()
            if len(rest) > len(chunk):
                yield None
        assert self._logits is not None
        lookup = PromptLookup(sequence)
        tokens = [int(sampler(self._logits)[0])]
        while True:
            for token in tokens:
                lookup.push(token)
                yield token
            draft = lookup.draft() if self._prompt_lookup else []
            tokens = self._decode(tokens[-1], draft, sampler)

    def stream_logits(self, tokens: Sequence[int]) -> Iterator[np.ndarray]:
        """Compute the logits after each token of a text.

        Yields:
            Arrays (n, vocabulary) for consecutive tokens. Each is overwritten by the next.
        """
        self._crop(0)
        for start in range(0, len(tokens), PREFILL_CHUNK):
            yield self._feed(list(tokens[start : start + PREFILL_CHUNK]), None)

    def _decode(self, token: int, draft: list[int], sampler: Sampler) -> list[int]:
        """Return the next token, and one more for each correct token of `draft`."""
        room = self.language.context_length - len(self._cached) - 1
        draft = draft[: max(room, 0)]
        start = len(self._cached)
        logits = self._feed([token, *draft], None)
        tokens: list[int] = []
        for row, drafted in zip(logits, [*draft, None], strict=True):
            tokens.append(int(sampler(row[None])[0]))
            if tokens[-1] != drafted:
                break
        self._crop(start + len(tokens))
        return tokens

    def _prefill(self, chunk: Sequence[Position], features: PictureFeatures) -> np.ndarray:
        """Append a chunk of the prompt; return the logits (1, vocabulary) after it."""
        tiles = self.language.tiles

        def find_run(position: Position) -> tuple[str, Tile | None] | None:
            if isinstance(position, int):
                return None
            return position[0], find_tile(tiles, position)

        for picture, run in groupby(chunk, find_run):
            positions = list(run)
            if picture is None:
                logits = self._feed(positions, None, last_only=True)
                continue
            sha256, tile = picture
            patches = [position[1] for position in positions if not isinstance(position, int)]
            logits = self._feed(positions, features[sha256][patches], last_only=True, tile=tile)
        return logits

    def _feed(
        self,
        positions: list[Any],
        embeddings: np.ndarray | None,
        last_only: bool = False,
        tile: Tile | None = None,
    ) -> np.ndarray:
        """Append positions to the cache, which is lost if this fails.

        Args:
            positions: Token ids, or patches of a picture.
            embeddings: The features (n, hidden_size) of these patches; None for tokens.
            last_only: Whether only the logits of the last position are needed.
            tile: The tile that the patches belong to, if they are not placed one after the other.

        Returns:
            Logits (n or 1, vocabulary), which the next call overwrites.
        """
        cached, start = self._cached, self._end
        self._cached, self._end = [], 0  # until it has succeeded
        count, width = len(positions), 0 if embeddings is None else embeddings.shape[1]
        if tile is None:
            places = np.arange(start, start + count, dtype=np.int32)
        else:
            places = tile.get_positions(start, [patch for _, patch in positions])
        is_causal = tile is None or tile.is_causal
        self._reserve(cached, len(cached) + count, batch=0 if is_causal else count)
        self.threads.update()
        threads = self.threads.value
        self._functions.llama_set_n_threads(self._context, threads, threads)
        batch = self._get_batch(count, width)
        batch.fill(positions if embeddings is None else embeddings, places, last_only)
        if not is_causal:
            self._functions.llama_set_causal_attn(self._context, False)
        with nullcontext() if self._has_decoded else crashes.reading(self.language.files[0]):
            code = self._functions.llama_decode(self._context, batch.struct)
        self._has_decoded = True
        if not is_causal:
            self._functions.llama_set_causal_attn(self._context, True)
        if code:
            raise MmtuiError(f"llama.cpp could not decode (code {code})", "pass --engine torch")
        cached.extend(positions)  # in place: a copy for each token would grow with the context
        self._cached, self._end = cached, start + count_positions(self.language.tiles, positions)
        first = self._functions.llama_get_logits(self._context)
        return np.ctypeslib.as_array(first, (1 if last_only else count, self._vocabulary))

    def _get_batch(self, size: int, width: int) -> Batch:
        batch = self._batches.get(width)
        if batch is None or batch.size < size:
            batch = Batch(self._functions, max(size, PREFILL_CHUNK), width)
            self._batches[width] = batch
        return batch

    def _crop(self, length: int) -> None:
        """Remove all but the first `length` positions from the cache."""
        if 0 < length == len(self._cached):
            return
        del self._cached[length:]
        self._end = count_positions(self.language.tiles, self._cached)
        if self._context is not None:
            memory = self._functions.llama_get_memory(self._context)
            self._functions.llama_memory_seq_rm(memory, 0, self._end, -1)

    def _get_state(self, context: Any) -> "ctypes.Array[ctypes.c_uint8]":
        size = self._functions.llama_state_seq_get_size(context, 0)
        state: ctypes.Array[ctypes.c_uint8] = (ctypes.c_uint8 * size)()
        self._functions.llama_state_seq_get_data(context, state, size, 0)
        return state

    def _copy_state(self, max_bytes: int) -> memoryview | None:
        """Return the keys and values; None if they are larger."""
        if self._functions.llama_state_seq_get_size(self._context, 0) > max_bytes:
            return None
        return memoryview(self._get_state(self._context)).cast("B")

    def _reserve(self, cached: list[Position], needed: int, batch: int = 0) -> None:
        """Move the cache to a larger context unless this one is large enough.

        Args:
            cached: The positions in the cache.
            needed: For how many positions there must be room.
            batch: How many of them must be computed in one batch.
        """
        if needed <= self._capacity and batch <= self._batch:
            return
        self._batch = max(self._batch, batch)
        capacity = max(FIRST_CONTEXT, self._capacity, 1 << (needed - 1).bit_length())
        # A text to score may be longer than the model's context.
        capacity = max(min(capacity, self.language.context_length), needed)
        functions, old = self._functions, self._context
        options = functions.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = capacity, self._batch, self._batch
        options.n_threads = options.n_threads_batch = self.threads.value
        if self.language.precision == "fp32":
            # By default, the cache and fused attention compute in 16 bits.
            options.type_k = options.type_v = 0  # GGML_TYPE_F32
            options.flash_attn_type = 0
        with crashes.reading(self.language.files[0]):
            context = functions.llama_init_from_model(self.language.handle, options)
        if not context:
            raise MmtuiError(
                f"not enough memory for a context of {capacity} tokens", "close other programs"
            )
        if old is not None:
            if cached:
                state = self._get_state(old)
                if not functions.llama_state_seq_set_data(context, state, len(state), 0):
                    raise MmtuiError("llama.cpp could not move its cache", "pass --engine torch")
            functions.llama_free(old)
        self._context, self._capacity = context, capacity

"""The engine on llama.cpp: prefill and decode with a KV cache that is kept between turns."""

from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from mmtui.pipeline.engines.context_steps import Step
from mmtui.pipeline.engines.engine import CacheCopy, Engine, PictureFeatures
from mmtui.pipeline.engines.llama_context import LlamaContext
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llguidance import JsonGrammar
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

Logits = Generator[None, None, np.ndarray]
"""Yields while the logits (n, vocabulary) are not computed, and returns them."""


class LlamaEngine:
    """Decodes with llama.cpp, which gets token ids, or embeddings for the patches of pictures."""

    def __init__(
        self,
        language: LlamaLanguage,
        prompt_lookup: bool = True,
        threads: ThreadCount | None = None,
        context: LlamaContext | None = None,
        sequence: int = 0,
    ) -> None:
        """Start with an empty cache.

        Args:
            language: The model that decodes.
            prompt_lookup: Whether drafts that are copied from the conversation are verified in one
                batch, which is faster than decoding them one by one.
            threads: How many threads compute; by default as many as other processes leave free.
            context: The context that computes; by default a new one for this engine alone.
            sequence: The number of the engine's sequence there.
        """
        self.language = language
        self._context = context or LlamaContext(language, threads)
        self._sequence = sequence
        self._prompt_lookup = prompt_lookup and language.can_forget
        self._cached: list[Position] = []
        self._end = 0  # the position after those that are cached; tiles take fewer
        self._prompt: list[Position] = []  # the last prompt that was computed
        self._logits: np.ndarray | None = None  # after that prompt

    def split(self, count: int, on_evict: Callable[[Engine], None]) -> "list[LlamaEngine]":
        """Return engines that compute together; `Engine.compute` of any of them does it.

        Args:
            count: How many.
            on_evict: Called with an engine whose cache is about to be emptied, because it is idle
                and others need the room.
        """
        engines: list[LlamaEngine] = []

        def evict(sequence: int) -> None:
            on_evict(engines[sequence])
            engines[sequence]._crop(0)

        context = LlamaContext(self.language, self.threads, count, evict)
        for sequence in range(count):
            engine = LlamaEngine(
                self.language, self._prompt_lookup, context=context, sequence=sequence
            )
            engines.append(engine)
        return engines

    @property
    def threads(self) -> ThreadCount:
        """How many threads compute."""
        return self._context.threads

    @threads.setter
    def threads(self, threads: ThreadCount) -> None:
        self._context.threads = threads

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
        return self._context.dump(self._sequence, max_bytes)

    def load_state(self, positions: Sequence[Position], state: memoryview) -> None:
        """Replace the cache, as `Engine.load_state` describes."""
        self._crop(0)
        if self._context.load(self._sequence, len(positions), state):
            self._cached = list(positions)
            self._end = count_positions(self.language.tiles, positions)
        else:
            self._crop(0)

    def copy_cache(self, max_bytes: int) -> CacheCopy | None:
        """Return a copy of the cache, as `Engine.copy_cache` describes."""
        if not self._cached or (state := self._context.dump(self._sequence, max_bytes)) is None:
            return None
        return CacheCopy(list(self._cached), self._prompt, self._logits, state)

    def restore_cache(self, copy: CacheCopy) -> None:
        """Replace the cache, as `Engine.restore_cache` describes."""
        self.load_state(copy.positions, copy.state)
        self._prompt, self._logits = list(copy.prompt), copy.logits

    def make_grammar(self, schema: str) -> JsonGrammar:
        """Return the grammar of JSON documents, as `Engine.make_grammar` describes."""
        return self.language.grammar_compiler.compile(schema)

    def count_cached(self, sequence: Sequence[Position]) -> int:
        """Return how many leading positions of `sequence` are in the cache already."""
        count = count_reusable(self._cached, sequence, self._prompt)
        count = align(self.language.tiles, sequence, count)
        return count if self.language.can_forget or count == len(self._cached) else 0

    def prefill(self, sequence: Sequence[Position], features: PictureFeatures) -> Iterator[int]:
        """Read a prompt ahead, as `Engine.prefill` describes."""
        count = count_reusable_ahead(self._cached, sequence)
        count = align(self.language.tiles, sequence, count)
        with self._context.use(self._sequence):
            if count < len(sequence):
                self._crop(count if self.language.can_forget or count == len(self._cached) else 0)
            while rest := sequence[len(self._cached) :]:
                chunk = split_chunk(self.language.tiles, rest, AHEAD_CHUNK)
                self._finish(self._prefill(chunk, features, needs_logits=False))
                yield len(self._cached)

    def stream(
        self, sequence: Sequence[Position], features: PictureFeatures, sampler: Sampler
    ) -> Generator[int | None, None, None]:
        """Generate tokens without end, as `Engine.stream` describes."""
        with self._context.use(self._sequence):
            self._crop(self.count_cached(sequence))
            yield from self._read(sequence, features)
            assert self._logits is not None
            lookup = PromptLookup(sequence) if self._prompt_lookup else None
            tokens = [int(sampler(self._logits)[0])]
            is_alone = self._context.sequences == 1
            while True:
                for token in tokens:
                    if lookup is not None:
                        lookup.push(token)
                    yield token
                draft = lookup.draft() if lookup is not None else []
                if is_alone and not draft:
                    tokens = [self._decode_one(tokens[-1], sampler)]
                else:
                    tokens = yield from self._decode(tokens[-1], draft, sampler)

    def compute(self) -> None:
        """Compute what engines have submitted, as `Engine.compute` describes."""
        self._context.compute()

    def stream_logits(self, tokens: Sequence[int]) -> Iterator[np.ndarray]:
        """Compute the logits after each token of a text.

        Yields:
            Arrays (n, vocabulary) for consecutive tokens. Each is overwritten by the next.
        """
        self._crop(0)
        for start in range(0, len(tokens), PREFILL_CHUNK):
            chunk = list(tokens[start : start + PREFILL_CHUNK])
            yield self._finish(self._feed(chunk, None, output_count=len(chunk)))

    def _read(
        self, sequence: Sequence[Position], features: PictureFeatures
    ) -> Generator[None, None, None]:
        """Compute the rest of a prompt in chunks; those that are read together share a batch."""
        while rest := sequence[len(self._cached) :]:
            size = self.language.chunk // max(self._context.in_use, 1)
            chunk = split_chunk(self.language.tiles, rest, size)
            is_last = len(chunk) == len(rest)
            logits = yield from self._prefill(chunk, features, needs_logits=is_last)
            if is_last:
                self._prompt, self._logits = list(self._cached), logits.copy()
            elif self._context.sequences == 1:
                yield

    def _decode_one(self, token: int, sampler: Sampler) -> int:
        """Return the token after `token`, as `_decode` does without a draft, in fewer steps.

        The weights that a token reads replace Python's code and data in the processor's caches, so
        each object that is used between two tokens costs more time than usual.
        """
        try:
            logits = self._context.decode_token(token, self._end)
            self._cached.append(token)
            self._end += 1
        except BaseException:
            self._crop(0)
            raise
        return int(sampler(logits)[0])

    def _decode(
        self, token: int, draft: list[int], sampler: Sampler
    ) -> Generator[None, None, list[int]]:
        """Return the next token, and one more for each correct token of `draft`."""
        room = self.language.context_length - len(self._cached) - 1
        draft = draft[: max(room, 0)]
        start = len(self._cached)
        logits = yield from self._feed([token, *draft], None, output_count=1 + len(draft))
        tokens: list[int] = []
        for row, drafted in zip(logits, [*draft, None], strict=True):
            tokens.append(int(sampler(row[None])[0]))
            if tokens[-1] != drafted:
                break
        self._crop(start + len(tokens))
        return tokens

    def _prefill(
        self, chunk: Sequence[Position], features: PictureFeatures, *, needs_logits: bool
    ) -> Logits:
        """Append a chunk of the prompt; return the logits (1, vocabulary) after it if needed."""
        tiles = self.language.tiles

        def find_run(position: Position) -> tuple[str, Tile | None] | None:
            if isinstance(position, int):
                return None
            return position[0], find_tile(tiles, position)

        runs = [(picture, list(run)) for picture, run in groupby(chunk, find_run)]
        for index, (picture, positions) in enumerate(runs):
            embeddings, tile = None, None
            if picture is not None:
                sha256, tile = picture
                patches = [position[1] for position in positions if not isinstance(position, int)]
                embeddings = features[sha256][patches]
            output_count = int(needs_logits and index == len(runs) - 1)
            logits = yield from self._feed(positions, embeddings, output_count, tile)
        return logits

    def _feed(
        self,
        positions: list[Any],
        embeddings: np.ndarray | None,
        output_count: int,
        tile: Tile | None = None,
    ) -> Logits:
        """Append positions to the cache, which is lost if this fails.

        Args:
            positions: Token ids, or patches of a picture.
            embeddings: The features (n, hidden_size) of these patches; None for tokens.
            output_count: How many of the last positions need logits.
            tile: The tile that the patches belong to, if they are not placed one after the other.

        Yields:
            None until they are computed; nothing if the engine has its context for itself.

        Returns:
            Logits (output_count, vocabulary), which the next call overwrites.
        """
        cached, start = self._cached, self._end
        self._cached, self._end = [], 0  # until it has succeeded
        if tile is None:
            places = np.arange(start, start + len(positions), dtype=np.int32)
        else:
            places = tile.get_positions(start, [patch for _, patch in positions])
        inputs = positions if embeddings is None else embeddings
        is_causal = tile is None or tile.is_causal
        step = Step(self._sequence, inputs, places, output_count, is_causal)
        self._context.submit(step)
        try:
            while step.is_pending:
                yield
        finally:  # also if the caller leaves
            if step.is_pending:
                self._context.withdraw(step)
                self._cached, self._end = cached, start
            elif step.logits is not None:
                cached.extend(positions)  # in place: a copy for each token would grow
                self._cached = cached
                self._end = start + count_positions(self.language.tiles, positions)
        if step.logits is None:
            self._crop(0)
            assert step.error is not None
            raise step.error
        return step.logits

    def _finish(self, steps: Logits) -> np.ndarray:
        """Return the logits, for which this computes what all engines have submitted."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                logits: np.ndarray = end.value
                return logits
            self._context.compute()

    def _crop(self, length: int) -> None:
        """Remove all but the first `length` positions from the cache."""
        if 0 < length == len(self._cached):
            return
        del self._cached[length:]
        self._end = count_positions(self.language.tiles, self._cached)
        self._context.crop(self._sequence, length, self._end)

"""The interface of an engine and its language model, which each backend implements."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mmtui.pipeline.engines.sampling import Sampler
from mmtui.pipeline.engines.threads import ThreadCount
from mmtui.pipeline.sequence import Position
from mmtui.pipeline.tokenizer import PromptTokenizer

PictureFeatures = Mapping[str, np.ndarray]
"""Projected patch features, float32 (patches, hidden_size), by the sha256 of their picture."""


class Language(Protocol):
    """A causal language model that is loaded."""

    @property
    def tokenizer(self) -> PromptTokenizer:
        """The tokenizer, with the chat template."""

    def make_decoder(self) -> Callable[[int], str]:
        """Return a function that takes one token of an answer after the other.

        It returns their text; the bytes of a character with the token that completes it.
        """

    @property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer."""

    @property
    def hidden_size(self) -> int:
        """The size of a token's embedding, which is also that of a projected patch."""

    @property
    def context_length(self) -> int:
        """The number of positions that the model was trained for."""

    @property
    def device_name(self) -> str:
        """The device of the weights, "cpu" or "cuda"; vision runs there, too."""

    @property
    def weight_type(self) -> str:
        """The type of most weights, such as "bf16" or "Q4_0"."""

    @property
    def bytes_per_token(self) -> int:
        """The bytes of weights that are read to decode a token.

        These are all weights, without an embedding table that is not also the output layer.
        """


@dataclass(frozen=True, eq=False)
class CacheCopy:
    """A copy of the KV cache of an engine, in memory.

    Attributes:
        positions: The positions in it.
        prompt: The last prompt that was computed.
        logits: The logits (1, vocabulary) after that prompt.
        state: The keys and values, in the format of the engine.
    """

    positions: Sequence[Position]
    prompt: Sequence[Position]
    logits: np.ndarray | None
    state: memoryview

    @property
    def size(self) -> int:
        """The size in bytes, as far as it matters."""
        return self.state.nbytes + (0 if self.logits is None else self.logits.nbytes)


class Grammar(Protocol):
    """Which tokens can follow in an answer that has a certain form."""

    def allows(self, token: int) -> bool:
        """Return whether a token can follow."""

    def restrict(self, logits: np.ndarray) -> np.ndarray:
        """Return a copy of logits (vocabulary,) with -inf for tokens that can't follow."""

    def accept(self, token: int) -> None:
        """Append a token, which the grammar allows, to the answer."""


class Engine(Protocol):
    """Decodes one sequence at a time, and keeps its KV cache for the next one.

    Several engines can compute together: `stream` yields None when it has submitted what it needs,
    and goes on once `compute` was called.

    Attributes:
        threads: How many threads compute. It is updated before each forward pass.
    """

    threads: ThreadCount

    @property
    def language(self) -> Language:
        """The language model that decodes."""

    @property
    def cached(self) -> Sequence[Position]:
        """The positions in the cache."""

    @property
    def state_format(self) -> str:
        """What determines the format of `dump_state`, apart from the weights."""

    def dump_state(self, max_bytes: int) -> memoryview | None:
        """Return a copy of the cache; None if it is larger, or of a kind that can't be copied."""

    def load_state(self, positions: Sequence[Position], state: memoryview) -> None:
        """Replace the cache by one that `dump_state` returned; empty it if that is not possible.

        Args:
            positions: The positions in it.
            state: The copy, made by the same version of this engine with the same weights.
        """

    def copy_cache(self, max_bytes: int) -> CacheCopy | None:
        """Return a copy of the cache; None if it is larger, or of a kind that can't be copied."""

    def restore_cache(self, copy: CacheCopy) -> None:
        """Replace the cache by a copy that this engine made; empty it if that is not possible."""

    def make_grammar(self, schema: str) -> Grammar:
        """Return the grammar of JSON documents.

        Args:
            schema: A JSON Schema, as JSON.

        Raises:
            GrammarError: The engine has no grammars, or does not support this schema.
        """

    def count_cached(self, sequence: Sequence[Position]) -> int:
        """Return how many leading positions of `sequence` are in the cache already."""

    def prefill(self, sequence: Sequence[Position], features: PictureFeatures) -> Iterator[int]:
        """Read a prompt ahead, in small batches.

        What was read stays in the cache if the caller stops the iteration. A cache that starts
        with `sequence` is left as it is.

        Args:
            sequence: The start of a prompt.
            features: The features of at least those pictures whose patches are not cached.

        Yields:
            How many positions of `sequence` are cached, after each batch.
        """

    def stream(
        self, sequence: Sequence[Position], features: PictureFeatures, sampler: Sampler
    ) -> Generator[int | None, None, None]:
        """Generate tokens without end; the caller stops the iteration.

        Args:
            sequence: The prompt.
            features: The features of at least those pictures whose patches are not cached.
            sampler: Chooses each token from the logits.

        Yields:
            The generated tokens, stop tokens included. None where the caller can stop as well:
            after each chunk of a long prompt, and before each batch that engines compute together.
        """

    def compute(self) -> None:
        """Compute what the engines that compute together have submitted, in one batch.

        Does nothing for an engine that computes alone. An error is raised by the `stream` that it
        concerns.
        """

"""The memory from which `llama_decode` reads its input, allocated once for many calls."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

_MAX_SECTIONS = 4  # positions of a patch: M-RoPE has up to four dimensions


class Batch:
    """A `llama_batch` of one or several sequences, of token ids or of embeddings.

    Attributes:
        size: How many positions it has room for.
        struct: The `llama_batch`.
    """

    def __init__(self, functions: Any, size: int, width: int = 0) -> None:
        """Allocate an empty batch.

        Args:
            functions: The functions of `llama.h`.
            size: How many positions it must have room for.
            width: The size of an embedding; 0 for token ids.
        """
        self.size, self._functions = size, functions
        self.struct = struct = functions.llama_batch_init(size, width, 1)
        view = np.ctypeslib.as_array
        self._inputs = view(struct.embd, (size, width)) if width else view(struct.token, (size,))
        self._needs_logits = view(struct.logits, (size,))
        view(struct.n_seq_id, (size,))[:] = 1
        # The sequence of each position is in an array of its own, with one element.
        self._sequences = [struct.seq_id[index] for index in range(size)]
        self._sequence_ids = [0] * size
        for sequence in self._sequences:
            sequence[0] = 0
        # llama.cpp allocates one position for each embedding, which is too few for M-RoPE.
        self._places = np.zeros(_MAX_SECTIONS * size, np.int32)
        # A copy of the pointer: `struct.pos` itself is a view of the field.
        self._allocated = ctypes.cast(struct.pos, type(struct.pos))
        struct.pos = self._places.ctypes.data_as(type(struct.pos))

    def __del__(self) -> None:
        self.struct.pos = self._allocated
        self._functions.llama_batch_free(self.struct)

    def fill(self, token: int, place: int) -> None:
        """Replace the content by one token of sequence 0. Not to be mixed with `append`.

        Args:
            token: The token.
            place: Its position.
        """
        self.struct.n_tokens = self._needs_logits[0] = 1
        self._inputs[0], self._places[0] = token, place

    def clear(self) -> None:
        """Remove all positions."""
        self.struct.n_tokens = 0

    def append(
        self,
        inputs: Sequence[int] | np.ndarray,
        places: np.ndarray,
        sequence: int,
        output_count: int,
    ) -> None:
        """Append positions of a sequence.

        Args:
            inputs: Token ids, or embeddings (n, width).
            places: The positions (n); or (sections, n), if the batch has no others.
            sequence: The number of the sequence.
            output_count: How many of the last positions need logits.
        """
        start = self.struct.n_tokens
        end = self.struct.n_tokens = start + len(inputs)
        self._inputs[start:end] = inputs
        self._places[start : start + places.size] = places.ravel()
        self._needs_logits[start : end - output_count] = 0
        self._needs_logits[end - output_count : end] = 1
        for index in range(start, end):
            if self._sequence_ids[index] != sequence:
                self._sequence_ids[index] = sequence
                self._sequences[index][0] = sequence

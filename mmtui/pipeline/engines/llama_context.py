"""The context of llama.cpp: the KV cache of one or several sequences, which are decoded together.

Decoding reads all weights once for a batch, however many sequences have tokens in it. So several
sequences that wait for each other can get more tokens per second than one after the other.
"""

import ctypes
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from mmtui import crashes, machine
from mmtui.errors import MmtuiError
from mmtui.pipeline.assets.gguf_header import read_header
from mmtui.pipeline.assets.gguf_memory import FIRST_CONTEXT, estimate_position
from mmtui.pipeline.engines.batch_speed import BatchSpeed
from mmtui.pipeline.engines.context_steps import Step, count_decoding, group_steps
from mmtui.pipeline.engines.llama_batch import Batch
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.threads import ThreadCount


class LlamaContext:
    """A `llama_context`, which grows with its sequences.

    With one sequence, a step is computed when it is submitted. With several of them, `compute`
    does it: in as few batches as possible, or one by one where that is faster.

    A sequence is in use or idle. Those that are idle are removed when others need their room, so
    only what is used together makes the context grow.

    Attributes:
        language: The model.
        threads: How many threads compute. It is updated before each batch.
        sequences: How many sequences there can be.
    """

    def __init__(
        self,
        language: LlamaLanguage,
        threads: ThreadCount | None = None,
        sequences: int = 1,
        evict: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Start with empty sequences, without allocating anything.

        Args:
            language: The model that decodes.
            threads: How many threads compute; by default as many as other processes leave free.
            sequences: How many sequences there can be.
            evict: Called with the number of an idle sequence, which it must `crop` to nothing.
        """
        self.language, self.sequences = language, sequences
        self.threads = threads or ThreadCount()
        self._functions = language.library.functions
        self._vocabulary = language.vocabulary_size
        self._evict = evict
        self._lengths = [0] * sequences  # positions in the cache
        self._idle = dict.fromkeys(range(sequences))  # the one that was used longest ago is first
        self._pending: list[Step] = []
        self._batches: dict[int, Batch] = {}  # by the width of their inputs
        self._token_batch = Batch(self._functions, 1)  # for `decode_token`
        self._logits = np.empty((0, self._vocabulary), np.float32)
        self._logits_address = 0
        self._thread_count = 0  # threads that `_handle` uses, if that is known
        self._capacity = 0  # positions for which `_handle` has room
        self._chunk = self._batch_size = language.chunk  # positions that it can compute at once
        self._has_decoded = False  # a model with invalid sizes crashes in the first batch
        self._speed = BatchSpeed()
        self._handle: Any = None  # llama_context_p

    def __del__(self) -> None:
        if self._handle is not None:
            self._functions.llama_free(self._handle)

    @property
    def in_use(self) -> int:
        """How many sequences are in use."""
        return self.sequences - len(self._idle)

    @contextmanager
    def use(self, sequence: int) -> Iterator[None]:
        """Keep a sequence from being removed."""
        self._idle.pop(sequence, None)
        try:
            yield
        finally:
            self._idle[sequence] = None

    def submit(self, step: Step) -> None:
        """Compute a step at once, or with the next `compute` if there are several sequences."""
        self._pending.append(step)
        if self.sequences == 1:
            self.compute()

    def withdraw(self, step: Step) -> None:
        """Remove a step that is pending."""
        self._pending.remove(step)

    def compute(self) -> None:
        """Compute the steps that are pending. Those that fail have an error, and no effect."""
        pending, self._pending = self._pending, []
        for steps in group_steps(pending, self._chunk):
            if len(steps) == 1 or not self._compute_together(steps):
                self._compute_each(steps)

    def decode_token(self, token: int, place: int) -> np.ndarray:
        """Append a token to the only sequence, of which a part is computed already.

        Args:
            token: The token.
            place: Its position.

        Returns:
            The logits (1, vocabulary) after it, which the next call overwrites.

        Raises:
            MmtuiError: It could not be computed, or there is not enough memory.
        """
        if self._lengths[0] >= self._capacity:
            self._reserve(1, {0})
        self._update_threads()
        self._token_batch.fill(token, place)
        code = self._functions.llama_decode(self._handle, self._token_batch.struct)
        if code:
            raise _make_decoding_error(code)
        self._lengths[0] += 1
        return self._get_logits(1)

    def crop(self, sequence: int, length: int, end: int) -> None:
        """Remove the last positions of a sequence.

        Args:
            sequence: The number of the sequence.
            length: How many positions are kept.
            end: The position after those.
        """
        self._lengths[sequence] = length
        self._remove(sequence, end)

    def dump(self, sequence: int, max_bytes: int) -> memoryview | None:
        """Return a copy of the keys and values of a sequence; None if it would be larger."""
        if self._functions.llama_state_seq_get_size(self._handle, sequence) > max_bytes:
            return None
        return memoryview(self._get_state(self._handle, sequence)).cast("B")

    def load(self, sequence: int, length: int, state: memoryview) -> bool:
        """Fill a sequence that is empty with a copy that `dump` returned.

        Args:
            sequence: The number of the sequence.
            length: How many positions are in the copy.
            state: The copy.

        Returns:
            Whether that was possible.
        """
        self._reserve(length, {sequence})
        copy = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        if not self._functions.llama_state_seq_set_data(self._handle, copy, len(copy), sequence):
            return False
        self._lengths[sequence] = length
        return True

    def _compute_together(self, steps: Sequence[Step]) -> bool:
        """Compute steps in one batch; return whether that is faster than one by one, and possible.

        If it fails, they are as before, so that only those that are the cause fail alone.
        """
        if count_decoding(steps) and not self._speed.is_faster_together(len(steps)):
            return False
        try:
            self._decode(steps)
        except Exception:
            for step in steps:
                if not self._remove(step.sequence, int(step.places[0])):
                    step.error = MmtuiError("llama.cpp could not decode", "send the question again")
            return False
        return True

    def _compute_each(self, steps: Sequence[Step]) -> None:
        """Compute steps one by one, without those that have an error."""
        for step in steps:
            if step.is_pending:
                try:
                    self._decode([step])
                except Exception as error:  # the engine of the sequence raises it
                    step.error = error

    def _decode(self, steps: Sequence[Step]) -> None:
        """Compute a batch.

        Raises:
            MmtuiError: It could not be computed, or there is not enough memory.
        """
        is_causal, width = steps[0].is_causal, steps[0].width
        count = sum(len(step.inputs) for step in steps)
        sequences = {step.sequence for step in steps}
        self._reserve(count, sequences, batch_size=0 if is_causal else count)
        self._update_threads()
        start = time.perf_counter()
        batch = self._get_batch(count, width)
        batch.clear()
        for step in steps:
            batch.append(step.inputs, step.places, step.sequence, step.output_count)
        if not is_causal:
            self._functions.llama_set_causal_attn(self._handle, False)
        with nullcontext() if self._has_decoded else crashes.reading(self.language.files[0]):
            code = self._functions.llama_decode(self._handle, batch.struct)
        self._has_decoded = True
        if not is_causal:
            self._functions.llama_set_causal_attn(self._handle, True)
        if code:
            raise _make_decoding_error(code)
        self._read_logits(steps)
        if decoding := count_decoding(steps):
            self._speed.add(decoding, time.perf_counter() - start)

    def _read_logits(self, steps: Sequence[Step]) -> None:
        """Give each step of a batch its logits."""
        counts = [step.output_count for step in steps]
        logits = self._get_logits(sum(counts))
        if self.sequences > 1:  # other batches may follow before they are read
            logits = logits.copy()
        end = 0
        for step, count in zip(steps, counts, strict=True):
            start, end = end, end + count
            step.logits = logits[start:end]
            self._lengths[step.sequence] += len(step.inputs)

    def _get_logits(self, count: int) -> np.ndarray:
        """Return the logits (count, vocabulary) of the last batch, in llama.cpp's memory."""
        if not count:
            return np.empty((0, self._vocabulary), np.float32)
        first = self._functions.llama_get_logits(self._handle)
        address = ctypes.addressof(first.contents)
        if address != self._logits_address or len(self._logits) != count:
            self._logits = np.ctypeslib.as_array(first, (count, self._vocabulary))
            self._logits_address = address
        return self._logits

    def _update_threads(self) -> None:
        """Have as many threads compute as other processes leave free."""
        self.threads.update()
        count = self.threads.value
        if count != self._thread_count:
            self._functions.llama_set_n_threads(self._handle, count, count)
            self._thread_count = count

    def _get_batch(self, size: int, width: int) -> Batch:
        batch = self._batches.get(width)
        if batch is None or batch.size < size:
            batch = Batch(self._functions, max(size, self._chunk), width)
            self._batches[width] = batch
        return batch

    def _remove(self, sequence: int, end: int) -> bool:
        """Remove the positions of a sequence from `end` on; return whether that was possible."""
        if self._handle is None:
            return True
        memory = self._functions.llama_get_memory(self._handle)
        return bool(self._functions.llama_memory_seq_rm(memory, sequence, end, -1))

    def _get_state(self, handle: Any, sequence: int) -> "ctypes.Array[ctypes.c_uint8]":
        size = self._functions.llama_state_seq_get_size(handle, sequence)
        state: ctypes.Array[ctypes.c_uint8] = (ctypes.c_uint8 * size)()
        self._functions.llama_state_seq_get_data(handle, state, size, sequence)
        return state

    def _reserve(self, count: int, sequences: set[int], batch_size: int = 0) -> None:
        """Make room: remove idle sequences, or else move the cache to a larger context.

        Args:
            count: How many positions are going to be appended.
            sequences: To which sequences; these are kept.
            batch_size: How many positions must be computed in one batch.

        Raises:
            MmtuiError: There is not enough memory.
        """
        for sequence in list(self._idle):
            if sum(self._lengths) + count <= self._capacity:
                break
            if self._lengths[sequence] and sequence not in sequences:
                self._evict(sequence)
        needed = sum(self._lengths) + count
        if needed > self._capacity or batch_size > self._batch_size:
            batch_size = max(self._batch_size, batch_size)
            first, most = FIRST_CONTEXT, self.language.context_length
            capacity = max(first * self.sequences, self._capacity, 1 << (needed - 1).bit_length())
            # A text to score may be longer than the model's context.
            self._move(max(min(capacity, most * self.sequences), needed), batch_size)

    def _move(self, capacity: int, batch_size: int) -> None:
        """Move the cache to a new context; after an error, the old one is used as before."""
        if self.sequences > 1 and self._estimate_size(capacity) > machine.get_free_memory():
            raise _make_memory_error(capacity, "close other programs, or lower `parallel`")
        functions, old = self._functions, self._handle
        options = functions.llama_context_default_params()
        options.n_ctx = capacity
        options.n_batch = options.n_ubatch = batch_size
        options.n_threads = options.n_threads_batch = self.threads.value
        if self.sequences > 1:
            options.n_seq_max = self.sequences
            options.kv_unified = True  # each sequence takes as many positions as it needs
        if self.language.precision == "fp32":
            # By default, the cache and fused attention compute in 16 bits.
            options.type_k = options.type_v = 0  # GGML_TYPE_F32
            options.flash_attn_type = 0
        with crashes.reading(self.language.files[0]):
            handle = functions.llama_init_from_model(self.language.handle, options)
        if not handle:
            raise _make_memory_error(capacity, "close other programs")
        if old is not None:
            for sequence, length in enumerate(self._lengths):
                if length:
                    state = self._get_state(old, sequence)
                    if not functions.llama_state_seq_set_data(handle, state, len(state), sequence):
                        functions.llama_free(handle)
                        raise MmtuiError(
                            "llama.cpp could not move its cache", "pass --engine torch"
                        )
            functions.llama_free(old)
        self._handle, self._capacity, self._batch_size = handle, capacity, batch_size
        self._thread_count = 0

    def _estimate_size(self, capacity: int) -> int:
        """Return the bytes of the keys and values of a context."""
        size = capacity * estimate_position(read_header(self.language.files[0]))
        return 2 * size if self.language.precision == "fp32" else size


def _make_decoding_error(code: int) -> MmtuiError:
    return MmtuiError(f"llama.cpp could not decode (code {code})", "pass --engine torch")


def _make_memory_error(capacity: int, hint: str) -> MmtuiError:
    return MmtuiError(f"not enough memory for a context of {capacity} tokens", hint)

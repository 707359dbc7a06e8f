"""The engine on llama.cpp: tokens go in as tokens, pictures as their projected features."""

import ctypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mmtui.errors import InputError, MmtuiError
from mmtui.pipeline.assets.fetch import Report, silent
from mmtui.pipeline.assets.spec import Precision
from mmtui.pipeline.engines.llama_library import LlamaLibrary
from mmtui.pipeline.engines.prompt_lookup import Lookup
from mmtui.pipeline.engines.sampling import Sampler
from mmtui.pipeline.engines.threads import ThreadCount
from mmtui.pipeline.gguf import conversion
from mmtui.pipeline.gguf.layout import reader
from mmtui.pipeline.sequence import PREFILL_CHUNK, Position, reusable
from mmtui.pipeline.tokenizer import Tokenizer, end_tokens, read_json

FIRST_CONTEXT = 2048  # positions that a cache begins with; it grows to the model's context


@dataclass(frozen=True)
class LlamaModel:
    """A model that llama.cpp has loaded, and what generation must know of it."""

    library: LlamaLibrary
    handle: Any  # llama_model_p
    tokenizer: Tokenizer
    precision: Precision
    stop_ids: frozenset[int]
    file: Path
    device: str = "cpu"  # where tower and projector run

    @property
    def stored_as(self) -> str:
        """The kind of most of its weights, in llama.cpp's words: Q4_0, BF16."""
        told = ctypes.create_string_buffer(256)
        self.library.functions.llama_model_desc(self.handle, told, len(told))
        return told.value.decode().split(" - ")[0].split()[-1]

    @property
    def bytes_per_token(self) -> int:
        """Of the weights that decoding a token reads: all but an embedding table of its own."""
        sizes = {tensor.name: int(tensor.n_bytes) for tensor in reader(self.file).tensors}
        table = sizes["token_embd.weight"] if "output.weight" in sizes else 0
        return sum(sizes.values()) - table

    @property
    def hidden(self) -> int:
        return int(self.library.functions.llama_model_n_embd(self.handle))

    @property
    def context(self) -> int:
        """The most positions that the model was made for."""
        return int(self.library.functions.llama_model_n_ctx_train(self.handle))

    @property
    def vocabulary(self) -> int:
        """How many logits each position has."""
        functions = self.library.functions
        return int(functions.llama_vocab_n_tokens(functions.llama_model_get_vocab(self.handle)))


def load(
    weights: Path,
    library: LlamaLibrary,
    *,
    extra_buffers: bool = True,
    precision: Precision = "auto",
    adapter: Path | None = None,
    report: Report = silent,
) -> LlamaModel:
    """Load what `conversion.to_gguf` makes of the weights and a LoRA adapter.

    Args:
        weights: A GGUF, or a folder in Hugging Face's layout.
        library: The llama.cpp that loads them.
        extra_buffers: Whether weights may be repacked for the processor's fastest kernels.
        precision: What weights in another precision are converted to.
        adapter: Folder of a LoRA adapter, which is merged into the weights.
        report: Called as the weights are converted and loaded.

    Raises:
        InputError: llama.cpp can't load these weights.
    """
    found = conversion.to_gguf(weights, adapter, precision, report)
    tokenizer = Tokenizer(found.folder)
    report("loading the language model", 0, 1)
    handle = open_model(library, found.model, extra_buffers=extra_buffers)
    report("loading the language model", 1, 1)
    named = read_json(found.folder / "config.json").get("eos_token_id")
    ends = end_tokens(found.folder, named, tokenizer.eos_token_id)
    return LlamaModel(library, handle, tokenizer, precision, ends, found.model)


def open_model(library: LlamaLibrary, file: Path, *, extra_buffers: bool) -> Any:
    """Have llama.cpp load a GGUF.

    Args:
        library: The llama.cpp that loads it.
        file: The GGUF.
        extra_buffers: Whether weights may be repacked for the processor's fastest kernels.

    Returns:
        A `llama_model_p`.

    Raises:
        InputError: llama.cpp can't load the file.
    """
    functions = library.functions
    options = functions.llama_model_default_params()
    options.n_gpu_layers = 0
    options.use_extra_bufts = extra_buffers  # versions before it had a name ignore it
    handle = functions.llama_model_load_from_file(os.fsencode(file), options)
    if not handle:
        raise InputError(f"llama.cpp can't load {file}", "it may be damaged: make it again")
    return handle


class LlamaEngine:
    """Decodes as `engine.Engine` does, with llama.cpp; it keeps its cache."""

    def __init__(self, language: LlamaModel, lookup: bool = True) -> None:
        self._language, self._library, self._looks_up = language, language.library.functions, lookup
        self._held: list[Position] = []
        self._prompt: list[Position] = []  # the last that was read, and the logits after it
        self._logits: np.ndarray | None = None
        self._size = 0
        self._threads = ThreadCount()
        self._context: Any = None  # llama_context_p, with room for `_size` positions

    def __del__(self) -> None:
        if self._context is not None:
            self._library.llama_free(self._context)

    def cached(self, sequence: Sequence[Position]) -> int:
        """How many leading positions of `sequence` a `stream` would not compute again."""
        return reusable(self._held, sequence, self._prompt)

    def stream(
        self, sequence: Sequence[Position], features: Mapping[str, Any], sampler: Sampler
    ) -> Iterator[int | None]:
        """Token after token, without end: the caller stops, at any token.

        A long prompt is read in pieces; None stands between them, so that the caller may
        stop there too. `features` are the projected patch features (patches, hidden) of the
        pictures, on the CPU.
        """
        self._cut(self.cached(sequence))
        while rest := sequence[len(self._held) :]:
            logits = self._read(rest[:PREFILL_CHUNK], features)
            self._prompt, self._logits = list(self._held), logits.copy()
            if len(rest) > PREFILL_CHUNK:
                yield None
        assert self._logits is not None
        lookup = Lookup(sequence)
        following = [int(sampler(self._logits)[0])]
        while True:
            for token in following:
                lookup.push(token)
                yield token
            draft = lookup.draft() if self._looks_up else []
            following = self._next(following[-1], draft, sampler)

    def logits(self, tokens: Sequence[int]) -> Iterator[np.ndarray]:
        """Those (n, vocabulary) after each token of a text, a piece at a time.

        An array is valid until the next is asked for.
        """
        self._cut(0)
        for start in range(0, len(tokens), PREFILL_CHUNK):
            yield self._feed(list(tokens[start : start + PREFILL_CHUNK]), None)

    def _next(self, token: int, draft: list[int], sampler: Sampler) -> list[int]:
        """What follows `token`: at least one, and as many more as the `draft` foresaw."""
        room = self._language.context - len(self._held) - 1
        draft = draft[: max(room, 0)]
        begun = len(self._held)
        logits = self._feed([token, *draft], None)
        following: list[int] = []
        for row, foreseen in zip(logits, [*draft, None], strict=True):
            following.append(int(sampler(row[None])[0]))
            if following[-1] != foreseen:
                break
        self._cut(begun + len(following))
        return following

    def _read(self, piece: Sequence[Position], features: Mapping[str, Any]) -> np.ndarray:
        """Logits (1, vocabulary) after a piece of the prompt."""
        for name, run in groupby(piece, lambda p: None if isinstance(p, int) else p[0]):
            positions = list(run)
            values = None
            if name is not None:
                patches = [position[1] for position in positions if not isinstance(position, int)]
                values = np.asarray(features[name], np.float32)[patches]
            logits = self._feed(positions, values, last_only=True)
        return logits

    def _feed(
        self, new: list[Any], values: np.ndarray | None, last_only: bool = False
    ) -> np.ndarray:
        """Logits (n, vocabulary) after `new`, of all positions or the last.

        The cache then holds them; it is lost if this fails. The array is valid until the next
        call.
        """
        held, self._held = self._held, []
        count, hidden = len(new), 0 if values is None else self._language.hidden
        self._grow(held, len(held) + count)
        if self._threads.update():
            threads = self._threads.value
            self._library.llama_set_n_threads(self._context, threads, threads)
        batch = self._library.llama_batch_init(count, hidden, 1)
        try:
            batch.n_tokens = count
            if values is None:
                np.ctypeslib.as_array(batch.token, (count,))[:] = new
            else:
                np.ctypeslib.as_array(batch.embd, (count, hidden))[:] = values
            np.ctypeslib.as_array(batch.pos, (count,))[:] = np.arange(count) + len(held)
            np.ctypeslib.as_array(batch.n_seq_id, (count,))[:] = 1
            for index in range(count):
                batch.seq_id[index][0] = 0
            np.ctypeslib.as_array(batch.logits, (count,))[:] = not last_only
            batch.logits[count - 1] = 1
            code = self._library.llama_decode(self._context, batch)
        finally:
            self._library.llama_batch_free(batch)
        if code:
            raise MmtuiError(f"llama.cpp could not decode (code {code})", "--engine torch")
        self._held = [*held, *new]
        first = self._library.llama_get_logits(self._context)
        rows = 1 if last_only else count
        return np.ctypeslib.as_array(first, (rows, self._language.vocabulary))

    def _cut(self, length: int) -> None:
        """Forget all but the first `length` positions."""
        del self._held[length:]
        if self._context is not None:
            memory = self._library.llama_get_memory(self._context)
            self._library.llama_memory_seq_rm(memory, 0, length, -1)

    def _grow(self, held: list[Position], needed: int) -> None:
        """Have room for `needed` positions. What is held moves to a larger cache."""
        if needed <= self._size:
            return
        size = max(FIRST_CONTEXT, 1 << (needed - 1).bit_length())
        size = max(min(size, self._language.context), needed)  # a text to score may be longer
        library, old = self._library, self._context
        options = library.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = size, PREFILL_CHUNK, PREFILL_CHUNK
        options.n_threads = options.n_threads_batch = self._threads.value
        if self._language.precision == "fp32":
            options.type_k = options.type_v = 0  # GGML_TYPE_F32; 16 bits are llama.cpp's default,
            options.flash_attn_type = 0  # and what its fused attention computes in
        context = library.llama_init_from_model(self._language.handle, options)
        if not context:
            raise MmtuiError(
                f"there is no memory for a context of {size} tokens", "close other programs"
            )
        if old is not None:
            if held:
                stored = (ctypes.c_uint8 * library.llama_state_seq_get_size(old, 0))()
                library.llama_state_seq_get_data(old, stored, len(stored), 0)
                if not library.llama_state_seq_set_data(context, stored, len(stored), 0):
                    raise MmtuiError("llama.cpp could not move its cache", "--engine torch")
            library.llama_free(old)
        self._context, self._size = context, size

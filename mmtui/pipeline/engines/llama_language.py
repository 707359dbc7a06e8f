"""The language model of llama.cpp: its weights, its tokenizer, its precision."""

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mmtui import crashes, machine
from mmtui.errors import InputError, MmtuiError
from mmtui.files import read_optional_json
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.gguf_header import DAMAGED_HINT, read_header
from mmtui.pipeline.assets.gguf_memory import estimate_memory
from mmtui.pipeline.assets.spec import Precision
from mmtui.pipeline.engines.llama_library import LlamaLibrary, ProgressCallback, record_errors
from mmtui.pipeline.engines.llama_tokenizer import LlamaTokenizer
from mmtui.pipeline.engines.llguidance import GrammarCompiler
from mmtui.pipeline.engines.tiles import Tile
from mmtui.pipeline.gguf import conversion
from mmtui.pipeline.sequence import PREFILL_CHUNK
from mmtui.pipeline.tokenizer import Tokenizer, find_end_tokens

_LOADING = "loading the language model"
_POLL_S = 0.1  # how often Ctrl-C is noticed that arrives just before the main thread waits
_FAILURE_HINT = (
    "it may be damaged, or newer than this llama.cpp: download it again, or update mmtui"
)


@dataclass(frozen=True)
class LlamaLanguage:
    """A language model that llama.cpp has loaded.

    Attributes:
        chunk: How many positions of a prompt are computed in a batch.
        tiles: Where the patches of encoded pictures are placed, if not one after the other.
    """

    library: LlamaLibrary
    handle: Any  # llama_model_p
    tokenizer: Tokenizer | LlamaTokenizer
    precision: Precision
    stop_ids: frozenset[int]
    files: tuple[Path, ...]
    device_name: str = "cpu"
    chunk: int = PREFILL_CHUNK
    tiles: dict[str, tuple[Tile, ...]] = field(default_factory=dict)

    def make_decoder(self) -> Callable[[int], str]:
        """Return a function that takes one token of an answer after the other."""
        return self.tokenizer.make_decoder()

    @property
    def hidden_size(self) -> int:
        """The size of a token's embedding."""
        return int(self.library.functions.llama_model_n_embd(self.handle))

    @property
    def input_size(self) -> int:
        """The size of a projected patch: larger than a token's where layers get parts of it."""
        return int(self.library.functions.llama_model_n_embd_inp(self.handle))

    @property
    def context_length(self) -> int:
        """The number of positions that the model was trained for."""
        return int(self.library.functions.llama_model_n_ctx_train(self.handle))

    @property
    def vocabulary_size(self) -> int:
        """The number of logits at each position."""
        functions = self.library.functions
        return int(functions.llama_vocab_n_tokens(functions.llama_model_get_vocab(self.handle)))

    def get_token_bytes(self) -> list[bytes]:
        """Return the bytes of each token; they are empty for those that are not text."""
        functions = self.library.functions
        vocabulary = functions.llama_model_get_vocab(self.handle)
        buffer = ctypes.create_string_buffer(1024)
        tokens = []
        for token in range(self.vocabulary_size):
            size = functions.llama_token_to_piece(vocabulary, token, buffer, len(buffer), 0, False)
            tokens.append(buffer.raw[: max(size, 0)])
        return tokens

    @cached_property
    def grammar_compiler(self) -> GrammarCompiler:
        """Compiles JSON Schemas to grammars for the tokens; made when it is first needed."""
        return GrammarCompiler(self.get_token_bytes(), self.stop_ids)

    @property
    def weight_type(self) -> str:
        """The type of most weights in llama.cpp's words, such as "Q4_0" or "BF16"."""
        buffer = ctypes.create_string_buffer(256)
        self.library.functions.llama_model_desc(self.handle, buffer, len(buffer))
        return buffer.value.decode().split(" - ")[0].split()[-1]

    @property
    def bytes_per_token(self) -> int:
        """The bytes of weights that are read to decode a token."""
        sizes: dict[str, int] = {}
        for file in self.files:
            sizes |= read_header(file).sizes
        unread = sizes.get("token_embd.weight", 0) if "output.weight" in sizes else 0
        return sum(sizes.values()) - unread

    @property
    def can_forget(self) -> bool:
        """Whether the last positions can be removed from the cache.

        The state of a recurrent model can only be kept or started anew.
        """
        functions = self.library.functions
        return not (
            functions.llama_model_is_recurrent(self.handle)
            or functions.llama_model_is_hybrid(self.handle)
        )


def load(
    weights: Path,
    library: LlamaLibrary,
    *,
    extra_buffers: bool = True,
    precision: Precision = "auto",
    adapter: Path | None = None,
    report: Report = ignore_progress,
) -> LlamaLanguage:
    """Load a language model, which is converted to GGUF and merged with its adapter if necessary.

    Args:
        weights: A GGUF, or a folder in Hugging Face's layout.
        library: The llama.cpp that loads them.
        extra_buffers: Whether weights may be repacked for the processor's fastest kernels.
        precision: The precision that other weights are converted to.
        adapter: Folder of a LoRA adapter, which is merged into the weights.
        report: Called as the weights are converted and loaded.

    Raises:
        InputError: llama.cpp can't load these weights, or the tokenizer is damaged.
    """
    converted = conversion.to_gguf(weights, adapter, precision, report)
    # Both take about as long, and neither holds Python's lock for long.
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(Tokenizer, converted.folder)
        handle = open_model(library, converted.model, extra_buffers=extra_buffers, report=report)
    try:
        tokenizer = loading.result()
    except InputError:
        library.functions.llama_model_free(handle)
        raise
    configured = read_optional_json(converted.folder / "config.json").get("eos_token_id")
    stop_ids = find_end_tokens(converted.folder, configured, tokenizer.eos_token_id)
    return LlamaLanguage(library, handle, tokenizer, precision, stop_ids, (converted.model,))


def load_gguf(
    files: Sequence[Path],
    library: LlamaLibrary,
    *,
    extra_buffers: bool = True,
    mmproj: Path | None = None,
    report: Report = ignore_progress,
) -> LlamaLanguage:
    """Load a GGUF of any architecture, with the tokenizer that is stored in it.

    Args:
        files: The file, or all files of a model that is split, in order.
        library: The llama.cpp that loads them.
        extra_buffers: Whether weights may be repacked for the processor's fastest kernels.
        mmproj: The file with its vision or audio tower, which needs memory later.
        report: Called as the weights are loaded.

    Raises:
        InputError: A file is damaged, or llama.cpp can't load the model or chat with it.
        MmtuiError: The model, its mmproj and a KV cache are larger than the free memory.
    """
    for file in files:
        read_header(file).check_complete()
    needed, free = estimate_memory(files, mmproj), machine.get_free_memory()
    if needed > free:
        raise MmtuiError(
            f"{files[0].name} needs {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free",
            "close other programs, or use a smaller model or quantization",
        )
    handle = open_model(library, files[0], extra_buffers=extra_buffers, report=report)
    try:
        _check_can_chat(library, handle)
        tokenizer = LlamaTokenizer(library.functions, handle)
    except InputError as error:
        library.functions.llama_model_free(handle)
        raise InputError(f"{files[0]}: {error}", error.hint) from error
    return LlamaLanguage(library, handle, tokenizer, "auto", tokenizer.stop_ids, tuple(files))


def _check_can_chat(library: LlamaLibrary, handle: Any) -> None:
    functions = library.functions
    if functions.llama_model_has_encoder(handle) or not functions.llama_model_has_decoder(handle):
        raise InputError("mmtui can't run models with an encoder", "use a model that chats")
    if functions.llama_model_is_diffusion(handle):
        raise InputError("mmtui can't run diffusion models", "use a model that chats")
    if (context := int(functions.llama_model_n_ctx_train(handle))) < 1:
        raise InputError(f"its header is damaged: a context of {context} tokens", DAMAGED_HINT)


def open_model(
    library: LlamaLibrary,
    file: Path,
    *,
    extra_buffers: bool,
    report: Report = ignore_progress,
) -> Any:
    """Load a GGUF into llama.cpp.

    Args:
        library: The llama.cpp that loads it.
        file: The GGUF.
        extra_buffers: Whether weights may be repacked for the processor's fastest kernels.
        report: Called as the weights are loaded.

    Returns:
        A `llama_model_p`.

    Raises:
        InputError: llama.cpp can't load the file.
    """
    functions = library.functions
    options = functions.llama_model_default_params()
    options.n_gpu_layers = 0
    options.use_extra_bufts = extra_buffers  # ignored by versions without this field
    interruptions: list[BaseException] = []

    def show_progress(fraction: float, _: object) -> bool:
        try:
            report(_LOADING, int(100 * fraction), 100)
        except BaseException as interruption:  # a callback of C can't raise it
            interruptions.append(interruption)
        return not interruptions

    options.progress_callback = ProgressCallback(show_progress)
    report(_LOADING, 0, 100)
    load = functions.llama_model_load_from_file
    # In a thread, because Ctrl-C in the callback would be lost where it is not caught.
    with crashes.reading(file), ThreadPoolExecutor(1) as pool:
        loading = None
        try:
            loading = pool.submit(load, os.fsencode(file), options)
            while not wait([loading], _POLL_S).done:
                pass
        except BaseException as interruption:  # Ctrl-C, or SystemExit after SIGTERM
            interruptions.append(interruption)
        handle = loading.result() if loading else None
    if interruptions:
        if handle:
            functions.llama_model_free(handle)
        raise interruptions[0]
    if not handle:
        raise InputError(_explain_failure(library, file, options), _FAILURE_HINT)
    return handle


def _explain_failure(library: LlamaLibrary, file: Path, options: Any) -> str:
    """Load a file that can't be loaded once more, and return the reason that llama.cpp logs."""
    with record_errors(library.functions) as lines:
        library.functions.llama_model_load_from_file(os.fsencode(file), options)
    reasons = [line.partition("error loading model: ")[2] for line in lines]
    reason = next(filter(None, reasons), "")
    return f"llama.cpp can't load {file}" + (f": {reason}" if reason else "")

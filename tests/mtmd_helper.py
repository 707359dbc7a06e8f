"""llama.cpp's own path for pictures and recordings, as `llama-mtmd-cli` takes it."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmtui.pipeline.engines import mtmd_library
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.vision.images import Picture

Medium = Picture | np.ndarray
"""A picture, or a recording (samples,), mono float32 at 16 kHz."""


class MtmdHelper:
    """mtmd_tokenize, mtmd_helper_eval_chunks and greedy decoding, without mmtui's engine."""

    def __init__(
        self, model: LlamaLanguage, mmproj: Path, context: int = 1024, threads: int = 1
    ) -> None:
        self._llama, self._model = model.library.functions, model
        self._mtmd = mtmd_library.load_mtmd(model.library)
        self._size, self._past = context, ctypes.c_int32()
        options = self._llama.llama_context_default_params()
        options.n_ctx = options.n_batch = context
        options.n_threads = options.n_threads_batch = threads
        self._context = self._llama.llama_init_from_model(model.handle, options)
        params = self._mtmd.mtmd_context_params_default()
        params.use_gpu = params.warmup = params.print_timings = False
        params.n_threads = threads
        self._tower = self._mtmd.mtmd_init_from_file(str(mmproj).encode(), model.handle, params)
        self._batch = self._llama.llama_batch_init(1, 0, 1)
        self._helper = self._mtmd.mtmd_helper_eval_chunks
        if model.library.package == "xllamacpp":
            pointer, int32 = ctypes.c_void_p, ctypes.c_int32
            self._helper.restype = int32
            self._helper.argtypes = [
                pointer, pointer, pointer, int32, int32, int32, ctypes.c_bool,
                ctypes.POINTER(int32),
            ]  # fmt: skip

    def __del__(self) -> None:
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self._context)
        self._mtmd.mtmd_free(self._tower)

    def read(self, text: str, media: Sequence[Medium]) -> int:
        """Read a prompt with a marker for each medium; return the first token."""
        bitmaps = (ctypes.c_void_p * max(1, len(media)))(*map(self._make_bitmap, media))
        encoded = text.encode()
        prompt = self._mtmd.mtmd_input_text(
            text=encoded, text_len=len(encoded), add_special=True, parse_special=True
        )
        chunks = self._mtmd.mtmd_input_chunks_init()
        arguments = (self._tower, chunks, ctypes.byref(prompt), bitmaps, len(media))
        assert self._mtmd.mtmd_tokenize(*arguments) == 0
        memory = self._llama.llama_get_memory(self._context)
        self._llama.llama_memory_seq_rm(memory, 0, 0, -1)
        past = ctypes.byref(self._past)
        tower, context = self._tower, self._context
        assert self._helper(tower, context, chunks, 0, 0, self._size, True, past) == 0
        self._mtmd.mtmd_input_chunks_free(chunks)
        for bitmap in bitmaps[: len(media)]:
            self._mtmd.mtmd_bitmap_free(bitmap)
        return self._find_next()

    def decode(self, token: int) -> int:
        """Append a token; return the next one."""
        batch = self._batch
        batch.n_tokens, batch.token[0], batch.pos[0] = 1, token, self._past.value
        batch.n_seq_id[0], batch.seq_id[0][0], batch.logits[0] = 1, 0, 1
        assert self._llama.llama_decode(self._context, batch) == 0
        self._past.value += 1
        return self._find_next()

    def generate(self, text: str, media: Sequence[Medium], count: int) -> list[int]:
        """Return greedy tokens after a prompt with a marker for each medium."""
        tokens = [self.read(text, media)]
        while len(tokens) < count:
            tokens.append(self.decode(tokens[-1]))
        return tokens

    def _find_next(self) -> int:
        logits = self._llama.llama_get_logits(self._context)
        return int(np.ctypeslib.as_array(logits, (self._model.vocabulary_size,)).argmax())

    def _make_bitmap(self, medium: Medium) -> Any:
        if isinstance(medium, Picture):
            data = medium.image.tobytes()
            pixels = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
            return self._mtmd.mtmd_bitmap_init(*medium.image.size, pixels)
        samples = np.ascontiguousarray(medium, np.float32)
        pointer = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        return self._mtmd.mtmd_bitmap_init_from_audio(len(samples), pointer)

"""Encodes pictures and recordings with the towers in an mmproj, which llama.cpp's mtmd computes."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from mmtui import crashes, machine
from mmtui.errors import InputError, MmtuiError
from mmtui.pipeline.assets.gguf_header import read_header
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llama_library import record_errors
from mmtui.pipeline.engines.mtmd_library import load_mtmd
from mmtui.pipeline.engines.tiles import Tile
from mmtui.pipeline.prompt import Medium
from mmtui.pipeline.speech.clip import RATE
from mmtui.pipeline.vision.encoder import EncodedPicture
from mmtui.pipeline.vision.images import Picture

_TEXT, _IMAGE, _AUDIO = 0, 1, 2  # MTMD_INPUT_CHUNK_TYPE_TEXT, ..._IMAGE, ..._AUDIO


class MtmdEncoder:
    """The vision and the audio tower of a GGUF model."""

    def __init__(self, language: LlamaLanguage, mmproj: Path) -> None:
        """Load an mmproj.

        Args:
            language: The model that it belongs to.
            mmproj: The file with the towers and their projectors.

        Raises:
            MissingError: The llama.cpp at hand has no mtmd that is known.
            InputError: The file is damaged, or for another model.
        """
        self._language, self._mmproj = language, mmproj
        self._context: Any = None  # mtmd_context_p
        self._functions = functions = load_mtmd(language.library)
        read_header(mmproj).check_complete()
        options = functions.mtmd_context_params_default()
        options.use_gpu = options.warmup = options.print_timings = False
        options.n_threads = machine.count_cores()
        name = os.fsencode(mmproj)
        with crashes.reading(mmproj, encodes=True):
            self._context = functions.mtmd_init_from_file(name, language.handle, options)
        if not self._context:
            with record_errors(functions, "mtmd_log_set") as lines:
                functions.mtmd_init_from_file(name, language.handle, options)
            reason = f": {lines[0].removeprefix('error: ')}" if lines else ""
            raise InputError(
                f"llama.cpp can't load {mmproj}{reason}",
                "use the mmproj that belongs to the model; it may also be damaged",
            )
        self._has_mrope = bool(functions.mtmd_decode_use_mrope(self._context))

    def __del__(self) -> None:
        if self._context:
            self._functions.mtmd_free(self._context)

    def encode(self, medium: Medium) -> EncodedPicture:
        """Return the projected features of a picture or a recording, and the tokens around them.

        Raises:
            InputError: The mmproj has no tower for it, or can't encode it.
        """
        layout: list[int | None] = []
        features: list[np.ndarray] = []
        tiles: list[Tile] = []
        with ExitStack() as stack:
            stack.enter_context(crashes.reading(self._mmproj, encodes=True))
            for chunk in self._tokenize(medium, stack):
                if self._functions.mtmd_input_chunk_get_type(chunk) == _TEXT:
                    layout += self._get_tokens(chunk)
                else:
                    if (tile := self._make_tile(chunk, sum(map(len, features)))) is not None:
                        tiles.append(tile)
                    features.append(self._encode_chunk(chunk))
                    layout += [None] * len(features[-1])
        if tiles:
            self._language.tiles[medium.sha256] = tuple(tiles)
        return EncodedPicture(np.concatenate(features), "", tuple(layout))

    def _tokenize(self, medium: Medium, stack: ExitStack) -> Iterator[Any]:
        """Have mtmd cut a medium into parts of the tower's size, and add the tokens around them.

        Yields:
            Chunks of tokens, of pixels and of samples, which are freed with `stack`.
        """
        functions = self._functions
        bitmap = self._make_bitmap(medium)
        stack.callback(functions.mtmd_bitmap_free, bitmap)
        chunks = functions.mtmd_input_chunks_init()
        stack.callback(functions.mtmd_input_chunks_free, chunks)
        marker = functions.mtmd_default_marker()
        text = functions.mtmd_input_text(
            text=marker, text_len=len(marker), add_special=False, parse_special=True
        )
        bitmaps = (ctypes.c_void_p * 1)(bitmap)
        if functions.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1):
            raise InputError(
                f"{self._mmproj} can't encode {_describe(medium)}",
                "try another file; if others fail too, the mmproj may be damaged",
            )
        for index in range(functions.mtmd_input_chunks_size(chunks)):
            yield functions.mtmd_input_chunks_get(chunks, index)

    def _make_bitmap(self, medium: Medium) -> Any:
        """Return a medium as an `mtmd_bitmap`."""
        functions = self._functions
        if isinstance(medium, Picture):
            if not functions.mtmd_support_vision(self._context):
                raise InputError(f"{self._mmproj} has no vision tower", "use another mmproj")
            width, height = medium.image.size
            data = medium.image.tobytes()
            pixels = (ctypes.c_uint8 * len(data)).from_buffer_copy(data)
            return functions.mtmd_bitmap_init(width, height, pixels)
        rate = functions.mtmd_get_audio_sample_rate(self._context)
        if not functions.mtmd_support_audio(self._context) or rate != RATE:
            raise InputError(
                f"{self._mmproj} has no audio tower for {RATE} Hz", "pass --listen whisper"
            )
        samples = np.ascontiguousarray(medium.clip, np.float32)
        pointer = samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        return functions.mtmd_bitmap_init_from_audio(len(samples), pointer)

    def _get_tokens(self, chunk: Any) -> list[int]:
        count = ctypes.c_size_t()
        tokens = self._functions.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return list(tokens[: count.value])

    def _encode_chunk(self, chunk: Any) -> np.ndarray:
        """Return the features (patches, embedding size) of a part."""
        functions = self._functions
        if functions.mtmd_input_chunk_get_type(chunk) not in (_IMAGE, _AUDIO):
            raise MmtuiError(f"{self._mmproj} makes something else of a picture or recording")
        if functions.mtmd_encode_chunk(self._context, chunk):
            raise MmtuiError("llama.cpp could not encode a part", "try a smaller file")
        shape = (
            functions.mtmd_input_chunk_get_n_tokens(chunk),
            self._language.input_size,
        )
        return np.ctypeslib.as_array(functions.mtmd_get_output_embd(self._context), shape).copy()

    def _make_tile(self, chunk: Any, first: int) -> Tile | None:
        """Return where the patches of a chunk are placed; None for one after the other.

        Args:
            chunk: Patches of the picture.
            first: The number of the first one.
        """
        functions = self._functions
        is_causal = not functions.mtmd_decode_use_non_causal(self._context, chunk)
        if is_causal and not self._has_mrope:
            return None
        count = functions.mtmd_input_chunk_get_n_tokens(chunk)
        length = functions.mtmd_input_chunk_get_n_pos(chunk)
        if functions.mtmd_input_chunk_get_type(chunk) == _AUDIO and self._has_mrope:
            line = np.arange(count, dtype=np.int32)
            offsets = np.stack([line, line, line, np.zeros_like(line)])
            return Tile(first, offsets, np.array([[1], [1], [1], [0]], np.int32), length, is_causal)
        if not self._has_mrope:
            offsets = np.arange(count, dtype=np.int32)[None]
            return Tile(first, offsets, np.ones((1, 1), np.int32), length, is_causal)
        tokens = functions.mtmd_input_chunk_get_tokens_image(chunk)
        at_0, at_1 = (
            [functions.mtmd_image_tokens_get_decoder_pos(tokens, start, i) for i in range(count)]
            for start in (0, 1)
        )
        offsets, moved = (
            np.array([[place.t, place.y, place.x, place.z] for place in places], np.int32).T
            for places in (at_0, at_1)
        )
        return Tile(first, offsets, (moved - offsets)[:, :1], length, is_causal)


def _describe(medium: Medium) -> str:
    if isinstance(medium, Picture):
        width, height = medium.image.size
        return f"a picture of {width} x {height} pixels"
    return f"a recording of {len(medium.clip) / RATE:.1f} s"

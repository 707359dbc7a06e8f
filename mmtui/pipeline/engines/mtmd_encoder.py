"""Encodes pictures with the vision tower in an mmproj, which llama.cpp's mtmd computes."""

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
from mmtui.pipeline.vision.encoder import EncodedPicture
from mmtui.pipeline.vision.images import Picture

_TEXT, _IMAGE = 0, 1  # MTMD_INPUT_CHUNK_TYPE_TEXT, ..._IMAGE


class MtmdEncoder:
    """The vision tower of a GGUF model."""

    def __init__(self, language: LlamaLanguage, mmproj: Path) -> None:
        """Load a vision tower.

        Args:
            language: The model that it belongs to.
            mmproj: The file with the tower and its projector.

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
        with crashes.reading(mmproj):
            self._context = functions.mtmd_init_from_file(name, language.handle, options)
        if not self._context:
            with record_errors(functions, "mtmd_log_set") as lines:
                functions.mtmd_init_from_file(name, language.handle, options)
            reason = f": {lines[0].removeprefix('error: ')}" if lines else ""
            raise InputError(
                f"llama.cpp can't load {mmproj}{reason}",
                "use the mmproj that belongs to the model; it may also be damaged",
            )
        if not functions.mtmd_support_vision(self._context):
            raise InputError(f"{mmproj} has no vision tower", "use another mmproj")
        self._has_mrope = bool(functions.mtmd_decode_use_mrope(self._context))

    def __del__(self) -> None:
        if self._context:
            self._functions.mtmd_free(self._context)

    def encode(self, picture: Picture) -> EncodedPicture:
        """Return the projected patch features of a picture, and the tokens around them."""
        layout: list[int | None] = []
        features: list[np.ndarray] = []
        tiles: list[Tile] = []
        with ExitStack() as stack:
            stack.enter_context(crashes.reading(self._mmproj))
            for chunk in self._tokenize(picture, stack):
                if self._functions.mtmd_input_chunk_get_type(chunk) == _TEXT:
                    layout += self._get_tokens(chunk)
                else:
                    if (tile := self._make_tile(chunk, sum(map(len, features)))) is not None:
                        tiles.append(tile)
                    features.append(self._encode_chunk(chunk))
                    layout += [None] * len(features[-1])
        if tiles:
            self._language.tiles[picture.sha256] = tuple(tiles)
        return EncodedPicture(np.concatenate(features), "", tuple(layout))

    def _tokenize(self, picture: Picture, stack: ExitStack) -> Iterator[Any]:
        """Have mtmd resize a picture, cut it into tiles, and add the tokens around them.

        Yields:
            Chunks of tokens and of pixels, which are freed with `stack`.
        """
        functions = self._functions
        width, height = picture.image.size
        pixels = (ctypes.c_uint8 * (3 * width * height)).from_buffer_copy(picture.image.tobytes())
        bitmap = functions.mtmd_bitmap_init(width, height, pixels)
        stack.callback(functions.mtmd_bitmap_free, bitmap)
        chunks = functions.mtmd_input_chunks_init()
        stack.callback(functions.mtmd_input_chunks_free, chunks)
        marker = functions.mtmd_default_marker()
        text = functions.mtmd_input_text(
            text=marker, text_len=len(marker), add_special=False, parse_special=True
        )
        bitmaps = (ctypes.c_void_p * 1)(bitmap)
        if functions.mtmd_tokenize(self._context, chunks, ctypes.byref(text), bitmaps, 1):
            raise MmtuiError(f"{self._mmproj} can't encode a picture of {width} x {height} pixels")
        for index in range(functions.mtmd_input_chunks_size(chunks)):
            yield functions.mtmd_input_chunks_get(chunks, index)

    def _get_tokens(self, chunk: Any) -> list[int]:
        count = ctypes.c_size_t()
        tokens = self._functions.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
        return list(tokens[: count.value])

    def _encode_chunk(self, chunk: Any) -> np.ndarray:
        """Return the features (patches, embedding size) of a tile."""
        functions = self._functions
        if functions.mtmd_input_chunk_get_type(chunk) != _IMAGE:
            raise MmtuiError(f"{self._mmproj} makes something else of a picture")
        if functions.mtmd_encode_chunk(self._context, chunk):
            raise MmtuiError("llama.cpp could not encode the picture", "try a smaller picture")
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

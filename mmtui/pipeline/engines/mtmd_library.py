"""The C API of mtmd, llama.cpp's library for pictures and sound, from the same package.

llama-cpp-python declares it in a separate module. For xllamacpp, the functions that are called
here are declared as in `mtmd.h` of the releases in `llama_library.XLLAMACPP_VERSIONS`, and the
default parameters are compared with that header, as in `llama_library`.
"""

import ctypes
from functools import cache
from typing import Any

from mmtui.errors import MissingError
from mmtui.pipeline.engines.llama_library import LlamaLibrary, get_ignored_log

_SPARE_BYTES = 256  # room for fields that a later release may append, as in `llama_library`
_INPUT_FIELDS = {"text", "text_len", "add_special", "parse_special"}


@cache
def load_mtmd(library: LlamaLibrary) -> Any:
    """Return the functions and structs of `mtmd.h`, as attributes, and silence their log.

    Raises:
        MissingError: The package has no mtmd, or one whose declarations are not known.
    """
    try:
        if library.package == "llama-cpp-python":
            from llama_cpp import mtmd_cpp as functions
        else:
            functions = library.functions
            _declare(functions)
        _check_defaults(functions)
    except (ImportError, OSError, AttributeError) as error:
        raise MissingError(
            f"{library.package} {library.version} can't encode pictures: {error}",
            f"pip install --upgrade {library.package}",
        ) from error
    functions.mtmd_log_set(get_ignored_log(), None)
    functions.mtmd_helper_log_set(get_ignored_log(), None)
    return functions


class _ContextParams(ctypes.Structure):
    _fields_ = (
        ("use_gpu", ctypes.c_bool),
        ("device", ctypes.c_void_p),
        ("print_timings", ctypes.c_bool),
        ("n_threads", ctypes.c_int),
        ("image_marker", ctypes.c_char_p),
        ("media_marker", ctypes.c_char_p),
        ("flash_attn_type", ctypes.c_int),
        ("warmup", ctypes.c_bool),
        ("image_min_tokens", ctypes.c_int),
        ("image_max_tokens", ctypes.c_int),
        ("cb_eval", ctypes.c_void_p),
        ("cb_eval_user_data", ctypes.c_void_p),
        ("batch_max_tokens", ctypes.c_int),
        ("progress_callback", ctypes.c_void_p),
        ("progress_callback_user_data", ctypes.c_void_p),
        ("spare", ctypes.c_uint8 * _SPARE_BYTES),
    )


class _InputText(ctypes.Structure):
    _fields_ = (
        ("text", ctypes.c_char_p),
        ("text_len", ctypes.c_size_t),
        ("add_special", ctypes.c_bool),
        ("parse_special", ctypes.c_bool),
    )


class _DecoderPos(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in "txyz")


def _declare(library: Any) -> None:
    pointer, size, flag = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_bool
    int32, uint32, text = ctypes.c_int32, ctypes.c_uint32, ctypes.c_char_p
    tokens, floats = ctypes.POINTER(int32), ctypes.POINTER(ctypes.c_float)
    declarations: dict[str, tuple[Any, list[Any]]] = {
        "mtmd_log_set": (None, [pointer, pointer]),
        "mtmd_helper_log_set": (None, [pointer, pointer]),
        "mtmd_default_marker": (text, []),
        "mtmd_context_params_default": (_ContextParams, []),
        "mtmd_init_from_file": (pointer, [text, pointer, _ContextParams]),
        "mtmd_free": (None, [pointer]),
        "mtmd_support_vision": (flag, [pointer]),
        "mtmd_support_audio": (flag, [pointer]),
        "mtmd_get_audio_sample_rate": (ctypes.c_int, [pointer]),
        "mtmd_decode_use_mrope": (flag, [pointer]),
        "mtmd_decode_use_non_causal": (flag, [pointer, pointer]),
        "mtmd_bitmap_init": (pointer, [uint32, uint32, ctypes.POINTER(ctypes.c_uint8)]),
        "mtmd_bitmap_init_from_audio": (pointer, [size, ctypes.POINTER(ctypes.c_float)]),
        "mtmd_bitmap_free": (None, [pointer]),
        "mtmd_tokenize": (
            int32,
            [pointer, pointer, ctypes.POINTER(_InputText), ctypes.POINTER(pointer), size],
        ),
        "mtmd_input_chunks_init": (pointer, []),
        "mtmd_input_chunks_free": (None, [pointer]),
        "mtmd_input_chunks_size": (size, [pointer]),
        "mtmd_input_chunks_get": (pointer, [pointer, size]),
        "mtmd_input_chunk_get_type": (ctypes.c_int, [pointer]),
        "mtmd_input_chunk_get_n_tokens": (size, [pointer]),
        "mtmd_input_chunk_get_n_pos": (int32, [pointer]),
        "mtmd_input_chunk_get_tokens_text": (tokens, [pointer, ctypes.POINTER(size)]),
        "mtmd_input_chunk_get_tokens_image": (pointer, [pointer]),
        "mtmd_image_tokens_get_decoder_pos": (_DecoderPos, [pointer, int32, size]),
        "mtmd_encode_chunk": (int32, [pointer, pointer]),
        "mtmd_get_output_embd": (floats, [pointer]),
    }
    for name, (result, arguments) in declarations.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.mtmd_input_text = _InputText


def _check_defaults(functions: Any) -> None:
    """Compare the default parameters with those of `mtmd.h`.

    Raises:
        ImportError: One differs: the structs of this library are laid out in another way.
    """
    params = functions.mtmd_context_params_default()
    expected: dict[str, object] = {
        "use_gpu": True, "device": None, "print_timings": True, "n_threads": 4,
        "media_marker": functions.mtmd_default_marker(), "flash_attn_type": -1, "warmup": True,
        "image_min_tokens": -1, "image_max_tokens": -1, "cb_eval": None,
        "cb_eval_user_data": None, "progress_callback": None,
    }  # fmt: skip
    for field, value in expected.items():
        found = getattr(params, field)
        if found != value and (found or value):  # a null function pointer is not None
            raise ImportError(f"mtmd_context_params_default().{field} is {found}, not {value}")
    if {name for name, _ in functions.mtmd_input_text._fields_} != _INPUT_FIELDS:
        raise ImportError("mtmd_input_text has other fields")

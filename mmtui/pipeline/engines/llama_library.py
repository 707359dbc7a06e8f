"""llama.cpp's C API, from an installed Python package that contains it.

llama-cpp-python compiles llama.cpp when it is installed, and declares its functions for ctypes.
xllamacpp contains llama.cpp compiled, in an extension module that exports the C API without
declarations. That module is loaded by path, without importing the package, and the functions that
the engine calls are declared here as in `llama.h` of the releases in `XLLAMACPP_VERSIONS`. If the
default parameters of a library differ from those of that header, it is refused, because a struct
with another layout would be misread without an error.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from mmtui.errors import MissingError

Package = Literal["llama-cpp-python", "xllamacpp"]
PACKAGES: tuple[Package, ...] = get_args(Package)
XLLAMACPP_VERSIONS = frozenset({"2026.10.11549"})  # releases for which `_declare` was seen to work

_MODULES: dict[Package, str] = {"llama-cpp-python": "llama_cpp", "xllamacpp": "xllamacpp"}
_CURES: dict[Package, str] = {
    "llama-cpp-python": "pip install --force-reinstall --no-cache-dir llama-cpp-python",
    "xllamacpp": f"pip install --force-reinstall xllamacpp=={max(XLLAMACPP_VERSIONS)}",
}
# Space for fields that a later release may append. A struct of this size is passed by value on the
# stack or by reference to a copy, so a callee that expects a shorter struct reads the right bytes.
_SPARE_BYTES = 256
_GGML_TYPE_F16 = 1
_LOG_LEVEL_ERROR = 4  # GGML_LOG_LEVEL_ERROR

ProgressCallback = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_float, ctypes.c_void_p)
_LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


@dataclass(frozen=True)
class LlamaLibrary:
    """A loaded llama.cpp.

    Attributes:
        functions: The functions and default parameters of `llama.h`, as attributes.
        package: The Python package that contains it.
        version: The version of that package.
    """

    functions: Any  # ctypes functions; llama-cpp-python's module has no type hints either
    package: Package
    version: str


@contextmanager
def record_errors(functions: Any, setter: str = "llama_log_set") -> Iterator[list[str]]:
    """Collect the lines that llama.cpp logs as errors.

    A Ctrl-C may be lost meanwhile, so this is only for what has failed and fails again at once.

    Args:
        functions: The functions of `llama.h` or `mtmd.h`.
        setter: The name of the one that sets the callback of the log.
    """
    lines: list[str] = []

    def record(level: int, text: bytes, _: object) -> None:
        if level == _LOG_LEVEL_ERROR:
            lines.append(text.decode(errors="replace").strip())

    callback = _LogCallback(record)
    set_callback = getattr(functions, setter)
    set_callback(callback, None)
    try:
        yield lines
    finally:
        set_callback(get_ignored_log(), None)


def find_packages() -> list[Package]:
    """Return the installed packages that contain llama.cpp, the preferred one first.

    Nothing is imported. An xllamacpp that is not one of `XLLAMACPP_VERSIONS` is left out.
    """
    found = [package for package in PACKAGES if find_spec(_MODULES[package]) is not None]
    if "xllamacpp" in found and metadata.version("xllamacpp") not in XLLAMACPP_VERSIONS:
        found.remove("xllamacpp")
    return found


def find_files(package: Package) -> list[Path]:
    """Return the files of an installed package that contain llama.cpp, sorted."""
    spec = find_spec(_MODULES[package])
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent
    patterns = {"llama-cpp-python": ("__init__.py", "lib/*"), "xllamacpp": ("*.so", "*.pyd")}
    return sorted(file for pattern in patterns[package] for file in folder.glob(pattern))


@cache
def load_library(package: Package) -> LlamaLibrary:
    """Load llama.cpp and silence its log, which would be written over the screen.

    If an assertion of it fails, no debugger is started to print the stack.

    Raises:
        MissingError: The package is not installed, can't be loaded, or is a version without
            declarations.
    """
    try:
        functions = _import_llama_cpp() if package == "llama-cpp-python" else _open_xllamacpp()
        version = metadata.version(package)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        raise MissingError(f"{package} can't be loaded: {error}", _CURES[package]) from error
    functions.llama_log_set(get_ignored_log(), None)
    os.environ["GGML_NO_BACKTRACE"] = "1"
    native = functions._lib if package == "llama-cpp-python" else functions
    if hasattr(native, "ggml_set_abort_callback"):
        native.ggml_set_abort_callback(get_ignored_log())
    functions.llama_backend_init()
    return LlamaLibrary(functions, package, version)


def _import_llama_cpp() -> Any:
    import llama_cpp

    return llama_cpp.llama_cpp


def _open_xllamacpp() -> ctypes.CDLL:
    """Open xllamacpp's extension module as a shared library and declare the functions.

    Raises:
        ImportError: The release is not one of `XLLAMACPP_VERSIONS`, or the defaults of its
            parameters are not those of the declarations.
        AttributeError: The library does not export the C API (the one for Windows).
        OSError: The library can't be loaded.
    """
    version = metadata.version("xllamacpp")
    if version not in XLLAMACPP_VERSIONS:
        raise ImportError(f"version {version} is not one of {', '.join(XLLAMACPP_VERSIONS)}")
    files = find_files("xllamacpp")
    if not files:
        raise ImportError("its extension module is missing")
    library = ctypes.CDLL(str(files[0]))
    _declare(library)
    _check_defaults(library)
    return library


class _ModelParams(ctypes.Structure):
    _fields_ = (
        ("devices", ctypes.c_void_p),
        ("tensor_buft_overrides", ctypes.c_void_p),
        ("n_gpu_layers", ctypes.c_int32),
        ("split_mode", ctypes.c_int),
        ("load_mode", ctypes.c_int),
        ("lazy_mode", ctypes.c_int),
        ("main_gpu", ctypes.c_int32),
        ("tensor_split", ctypes.c_void_p),
        ("progress_callback", ProgressCallback),
        ("progress_callback_user_data", ctypes.c_void_p),
        ("kv_overrides", ctypes.c_void_p),
        ("vocab_only", ctypes.c_bool),
        ("check_tensors", ctypes.c_bool),
        ("use_extra_bufts", ctypes.c_bool),
        ("spare", ctypes.c_uint8 * _SPARE_BYTES),
    )


class _ContextParams(ctypes.Structure):
    _fields_ = (
        ("n_ctx", ctypes.c_uint32),
        ("n_batch", ctypes.c_uint32),
        ("n_ubatch", ctypes.c_uint32),
        ("n_seq_max", ctypes.c_uint32),
        ("n_rs_seq", ctypes.c_uint32),
        ("n_outputs_max", ctypes.c_uint32),
        ("n_outputs_max_per_seq", ctypes.c_uint32),
        ("n_threads", ctypes.c_int32),
        ("n_threads_batch", ctypes.c_int32),
        ("ctx_type", ctypes.c_int),
        ("rope_scaling_type", ctypes.c_int),
        ("pooling_type", ctypes.c_int),
        ("attention_type", ctypes.c_int),
        ("flash_attn_type", ctypes.c_int),
        ("rope_freq_base", ctypes.c_float),
        ("rope_freq_scale", ctypes.c_float),
        ("yarn_ext_factor", ctypes.c_float),
        ("yarn_attn_factor", ctypes.c_float),
        ("yarn_beta_fast", ctypes.c_float),
        ("yarn_beta_slow", ctypes.c_float),
        ("yarn_orig_ctx", ctypes.c_uint32),
        ("defrag_thold", ctypes.c_float),
        ("cb_eval", ctypes.c_void_p),
        ("cb_eval_user_data", ctypes.c_void_p),
        ("type_k", ctypes.c_int),
        ("type_v", ctypes.c_int),
        ("abort_callback", ctypes.c_void_p),
        ("abort_callback_data", ctypes.c_void_p),
        ("unused", ctypes.c_void_p),
        ("embeddings", ctypes.c_bool),
        ("offload_kqv", ctypes.c_bool),
        ("no_perf", ctypes.c_bool),
        ("op_offload", ctypes.c_bool),
        ("swa_full", ctypes.c_bool),
        ("kv_unified", ctypes.c_bool),
        ("spare", ctypes.c_uint8 * _SPARE_BYTES),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.POINTER(ctypes.c_float)),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


def _declare(library: ctypes.CDLL) -> None:
    """Declare the functions that the engine calls."""
    pointer, size, flag = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_bool
    int32, uint32, text = ctypes.c_int32, ctypes.c_uint32, ctypes.c_char_p
    tokens = ctypes.POINTER(int32)
    buffer = ctypes.POINTER(ctypes.c_uint8)
    declarations: dict[str, tuple[Any, list[Any]]] = {
        "llama_backend_init": (None, []),
        "llama_log_set": (None, [pointer, pointer]),
        "llama_model_default_params": (_ModelParams, []),
        "llama_model_load_from_file": (pointer, [ctypes.c_char_p, _ModelParams]),
        "llama_model_free": (None, [pointer]),
        "llama_model_desc": (int32, [pointer, ctypes.c_char_p, size]),
        "llama_model_n_embd": (int32, [pointer]),
        "llama_model_n_embd_inp": (int32, [pointer]),
        "llama_model_n_ctx_train": (int32, [pointer]),
        "llama_model_get_vocab": (pointer, [pointer]),
        "llama_model_chat_template": (text, [pointer, text]),
        "llama_model_has_encoder": (flag, [pointer]),
        "llama_model_has_decoder": (flag, [pointer]),
        "llama_model_is_diffusion": (flag, [pointer]),
        "llama_model_is_hybrid": (flag, [pointer]),
        "llama_model_is_recurrent": (flag, [pointer]),
        "llama_vocab_type": (ctypes.c_int, [pointer]),
        "llama_vocab_n_tokens": (int32, [pointer]),
        "llama_vocab_bos": (int32, [pointer]),
        "llama_vocab_eos": (int32, [pointer]),
        "llama_vocab_get_add_bos": (flag, [pointer]),
        "llama_vocab_get_attr": (ctypes.c_int, [pointer, int32]),
        "llama_vocab_get_text": (text, [pointer, int32]),
        "llama_vocab_is_eog": (flag, [pointer, int32]),
        "llama_tokenize": (int32, [pointer, text, int32, tokens, int32, flag, flag]),
        "llama_token_to_piece": (int32, [pointer, int32, text, int32, int32, flag]),
        "llama_context_default_params": (_ContextParams, []),
        "llama_init_from_model": (pointer, [pointer, _ContextParams]),
        "llama_free": (None, [pointer]),
        "llama_n_ctx": (uint32, [pointer]),
        "llama_set_causal_attn": (None, [pointer, flag]),
        "llama_set_n_threads": (None, [pointer, int32, int32]),
        "llama_batch_init": (_Batch, [int32, int32, int32]),
        "llama_batch_free": (None, [_Batch]),
        "llama_decode": (int32, [pointer, _Batch]),
        "llama_get_logits": (ctypes.POINTER(ctypes.c_float), [pointer]),
        "llama_get_memory": (pointer, [pointer]),
        "llama_memory_seq_rm": (flag, [pointer, int32, int32, int32]),
        "llama_state_seq_get_size": (size, [pointer, int32]),
        "llama_state_seq_get_data": (size, [pointer, buffer, size, int32]),
        "llama_state_seq_set_data": (size, [pointer, buffer, size, int32]),
    }
    for name, (result, arguments) in declarations.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def _check_defaults(library: ctypes.CDLL) -> None:
    """Compare default parameters with those of `llama.h`, field by field.

    Raises:
        ImportError: A default differs, so the structs of this library may have another layout.
    """
    expected: dict[str, dict[str, object]] = {
        "llama_model_default_params": {
            "devices": None, "tensor_buft_overrides": None, "n_gpu_layers": -1, "split_mode": 1,
            "load_mode": -1, "lazy_mode": 1, "main_gpu": 0, "tensor_split": None,
            "progress_callback": None, "kv_overrides": None, "vocab_only": False,
            "check_tensors": False, "use_extra_bufts": True,
        },
        "llama_context_default_params": {
            "n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_rs_seq": 0,
            "n_threads": 4, "n_threads_batch": 4, "rope_scaling_type": -1, "pooling_type": -1,
            "attention_type": -1, "flash_attn_type": -1, "rope_freq_base": 0.0,
            "yarn_ext_factor": -1.0, "yarn_attn_factor": -1.0, "yarn_orig_ctx": 0,
            "defrag_thold": -1.0, "cb_eval": None, "type_k": _GGML_TYPE_F16,
            "type_v": _GGML_TYPE_F16, "abort_callback": None, "embeddings": False,
            "offload_kqv": True, "no_perf": True, "op_offload": True, "swa_full": True,
            "kv_unified": False,
        },
    }  # fmt: skip
    for name, fields in expected.items():
        params = getattr(library, name)()
        for field, value in fields.items():
            default = getattr(params, field)
            if default != value and (default or value):  # a null function pointer is not None
                raise ImportError(f"{name}().{field} is {default}, not {value}")


@cache
def get_ignored_log() -> Any:
    """Return a C function that ignores a line of llama.cpp's log.

    `abs` of the C library is used, because it has no side effects. In a Python callback, the
    KeyboardInterrupt of a Ctrl-C while a model loads would be raised and lost.
    """
    return ctypes.cast(ctypes.CDLL(None).abs, _LogCallback)

"""The memory that a GGUF model needs, estimated from its header."""

from collections.abc import Sequence
from pathlib import Path

from mmtui.errors import InputError
from mmtui.pipeline.assets.gguf_header import DAMAGED_HINT, Header, read_header

FIRST_CONTEXT = 2048  # positions of a new KV cache, which grows with the conversation
_CACHE_BYTES = 2  # of a number in the KV cache, which has 16 bits


def estimate_memory(files: Sequence[Path], mmproj: Path | None) -> int:
    """Return the bytes of the weights, of the mmproj, and of the KV cache at the start.

    Args:
        files: The file, or all files of a model that is split, in order.
        mmproj: The file with its vision or audio tower; None without one.

    Raises:
        InputError: A file is damaged.
    """
    header = read_header(files[0])
    model = sum(file.stat().st_size for file in files)
    # Each number of a position is computed with several weights.
    if estimate_position(header) > model:
        raise InputError(f"the header of {files[0]} is damaged: its sizes are wrong", DAMAGED_HINT)
    return model + (mmproj.stat().st_size if mmproj else 0) + estimate_cache(header)


def estimate_cache(model: Header) -> int:
    """Return the bytes of the KV cache at the start; 0 for a model without attention."""
    context = model.get_number(f"{model.architecture}.context_length") or FIRST_CONTEXT
    return estimate_position(model) * min(FIRST_CONTEXT, context)


def estimate_position(model: Header) -> int:
    """Return the bytes of a position in the KV cache; 0 for a model without attention.

    Some models need less, because layers with a sliding window keep fewer positions.
    """
    architecture, values = model.architecture, model.values
    # A damaged header may claim billions of layers, but each of them has tensors.
    layers = min(model.get_number(f"{architecture}.block_count"), len(model.tensors))
    heads = _sum(values.get(f"{architecture}.attention.head_count"), layers)
    if heads < 1:
        return 0
    key_heads = values.get(f"{architecture}.attention.head_count_kv")
    all_key_heads = heads if key_heads is None else _sum(key_heads, layers)
    head_size = model.get_number(f"{architecture}.embedding_length") * layers // heads
    sizes = [
        model.get_number(f"{architecture}.attention.{part}_length") or head_size
        for part in ("key", "value")
    ]
    return all_key_heads * sum(sizes) * _CACHE_BYTES


def _sum(number: object, layers: int) -> int:
    """Return the sum over all layers of a number, which may be a list with one for each layer."""
    if isinstance(number, list):
        return sum(value for value in number if isinstance(value, int))
    return number * layers if isinstance(number, int) else 0

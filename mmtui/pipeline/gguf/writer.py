"""Writing of GGUF files from safetensors or another GGUF, with an adapter merged.

The layout is that of llama.cpp's `convert_hf_to_gguf.py` for the architectures `llama` and `phi2`.
Tensors are computed one at a time, so that the model need not fit into memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmtui.errors import InputError
from mmtui.files import read_optional_json
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.file_names import WEIGHTS_PATTERN
from mmtui.pipeline.gguf import layout, tensors, vocabulary
from mmtui.pipeline.gguf.lora import Lora

Quantization = Literal["f32", "bf16", "f16", "q8_0", "q4_0"]
STEP = "converting the language model (once)"


@dataclass(frozen=True)
class _Tensor:
    """A tensor to write; `make` computes its bytes in the type `kind`."""

    name: str
    shape: tuple[int, ...]
    kind: Any  # gguf.GGMLQuantizationType
    make: Callable[[], np.ndarray]


def convert_folder(
    source: Path,
    target: Path,
    quantization: Quantization,
    adapter: Path | None = None,
    report: Report = ignore_progress,
) -> None:
    """Convert a language model in Hugging Face's layout to GGUF.

    Args:
        source: The folder of the language model.
        target: The file to write.
        quantization: The type of the weights.
        adapter: The folder of a PEFT adapter to merge.
        report: Receives the progress.

    Raises:
        InputError: The model is not supported or damaged, or the adapter does not fit.
    """
    config = read_optional_json(source / "config.json")
    if reason := layout.get_unsupported_reason(config):
        raise InputError(f"the language model in {source} can't be a GGUF: {reason}")
    stored: dict[str, tensors.StoredTensor] = {}
    for shard in sorted(source.glob(WEIGHTS_PATTERN)):
        stored |= tensors.open_tensors(shard)
    lora = _load_adapter(adapter, {name.removesuffix(".weight") for name in stored})
    mapping = layout.map_tensors(config, stored)

    def combine(names: tuple[str, ...]) -> np.ndarray:
        parts = [layout.to_gguf_layout(config, name, merge(name)) for name in names]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def merge(name: str) -> np.ndarray:
        values, module = stored[name].read(), name.removesuffix(".weight")
        if lora is not None and name.endswith(".weight") and module in lora.modules:
            values += lora.compute_delta(module, values.shape)
        return values

    written = []
    for target_name, names in mapping.items():
        shapes = [stored[name].shape for name in names]
        shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        kind = _select_type(target_name, shape, quantization)
        written.append(_Tensor(target_name, shape, kind, _quantize_later(combine, names, kind)))
    _write_folder(source, target, quantization, written, report)


def write_random(
    source: Path,
    target: Path,
    quantization: Quantization,
    draw: Callable[[str, tuple[int, ...]], np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    report: Report = ignore_progress,
) -> None:
    """Write a GGUF with random weights: one block of each tensor is quantized and repeated.

    Args:
        source: The Hugging Face folder with config and tokenizer.
        target: The file to write.
        quantization: The type of the weights.
        draw: Returns random values for a tensor's name and shape.
        shapes: The shapes of the transformers tensors by name.
        report: Receives the progress.
    """
    config = read_optional_json(source / "config.json")
    written = []
    for target_name, names in layout.map_tensors(config, shapes).items():
        shape = (sum(shapes[name][0] for name in names), *shapes[names[0]][1:])
        kind = _select_type(target_name, shape, quantization)
        block = _quantize_later(partial(draw, target_name), (min(shape[0], 64), *shape[1:]), kind)
        written.append(_Tensor(target_name, shape, kind, partial(_repeat, block, shape[0])))
    _write_folder(source, target, quantization, written, report)


def _repeat(make: Callable[[], np.ndarray], rows: int) -> np.ndarray:
    """Repeat the rows of a block up to this number of rows."""
    block = make()
    return np.resize(block, (rows, *block.shape[1:]))


def _write_folder(
    source: Path,
    target: Path,
    quantization: Quantization,
    written: "list[_Tensor]",
    report: Report,
) -> None:
    """Write the metadata, the tokenizer and the tensors of a model in Hugging Face's layout."""
    config = read_optional_json(source / "config.json")
    writer = _create_writer(target, layout.ARCHITECTURES[config["model_type"]])
    layout.write_metadata(writer, config, quantization)
    vocabulary.write_tokenizer(writer, source, int(config["vocab_size"]))
    _write_tensors(writer, written, report)


def merge_adapter(
    source: Path,
    target: Path,
    quantization: Quantization,
    adapter: Path,
    report: Report = ignore_progress,
) -> None:
    """Merge an adapter into a GGUF; only the tensors that it changes are quantized again.

    Args:
        source: The GGUF.
        target: The file to write.
        quantization: The type of the tensors that change.
        adapter: The folder of a PEFT adapter.
        report: Receives the progress.

    Raises:
        InputError: The GGUF or the adapter is damaged, or they do not fit.
    """
    from gguf import GGUFValueType
    from gguf.quants import dequantize

    reader = layout.open_gguf(source)
    metadata = layout.Metadata(reader)
    modules = {t.name: layout.get_modules(metadata.architecture, t.name) for t in reader.tensors}
    lora = _load_adapter(adapter, {name for names in modules.values() for name in names})
    assert lora is not None
    written = []
    for tensor in reader.tensors:
        shape, kind = tuple(int(size) for size in reversed(tensor.shape)), tensor.tensor_type

        def copy(tensor: Any = tensor) -> np.ndarray:
            return np.asarray(tensor.data)

        def merge(names: tuple[str, ...], tensor: Any = tensor) -> np.ndarray:
            values = np.array(dequantize(tensor.data, tensor.tensor_type))  # copies F32, too
            heads = metadata.count_heads(tensor.name)
            ends = np.cumsum(metadata.split_rows(names, len(values)))[:-1]
            for name, rows in zip(names, np.split(values, ends), strict=True):
                if name in lora.modules:
                    delta = lora.compute_delta(name, rows.shape)
                    np.add(rows, _to_gguf_order(delta, heads), out=rows)
            return values

        make: Callable[[], np.ndarray] = copy
        if tensor.name.endswith(".weight") and lora.modules.intersection(modules[tensor.name]):
            kind = _select_type(tensor.name, shape, quantization)
            make = _quantize_later(merge, modules[tensor.name], kind)
        written.append(_Tensor(tensor.name, shape, kind, make))
    writer = _create_writer(target, metadata.architecture)
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key not in ("general.architecture", "general.file_type"):
            is_array = field.types[0] == GGUFValueType.ARRAY
            inner = field.types[1] if is_array else None
            writer.add_key_value(key, field.contents(), field.types[0], inner)
    writer.add_file_type(layout.FILE_TYPES[quantization])
    _write_tensors(writer, written, report)


def _to_gguf_order(delta: np.ndarray, heads: int | None) -> np.ndarray:
    """Interleave the rows of a change as in the GGUF, unless `heads` is None."""
    return delta if heads is None else layout.interleave_heads(delta, heads)


def _load_adapter(adapter: Path | None, modules: set[str]) -> Lora | None:
    """Load an adapter, and check that it changes only these modules."""
    if adapter is None:
        return None
    lora = Lora(adapter)
    if unknown := lora.modules - modules:
        raise InputError(f"the adapter in {adapter} does not fit: {min(unknown)} has no place")
    return lora


def _select_type(name: str, shape: tuple[int, ...], quantization: Quantization) -> Any:
    """Return the type of a tensor: fp32 for vectors, at least 8 bits for embeddings and output."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) == 1:
        return GGMLQuantizationType.F32
    if quantization == "q4_0" and name in ("token_embd.weight", "output.weight"):
        quantization = "q8_0"
    kind = GGMLQuantizationType[quantization.upper()]
    block, _ = GGML_QUANT_SIZES[kind]
    return kind if shape[-1] % block == 0 else GGMLQuantizationType.F16


def _quantize_later(
    make: Callable[[Any], np.ndarray], argument: Any, kind: Any
) -> Callable[[], np.ndarray]:
    """Return a function that computes `make(argument)` and quantizes it."""
    from gguf.quants import quantize

    return lambda: quantize(np.ascontiguousarray(make(argument), np.float32), kind)


def _create_writer(target: Path, architecture: str) -> Any:
    """Create a `gguf.GGUFWriter`."""
    from gguf import GGUFWriter

    return GGUFWriter(target, architecture)


def _write_tensors(writer: Any, written: list[_Tensor], report: Report) -> None:
    """Write the header of a GGUF, then its tensors, and close the writer."""
    from gguf import GGML_QUANT_SIZES

    sizes = []
    for tensor in written:
        block, size = GGML_QUANT_SIZES[tensor.kind]
        sizes.append(int(np.prod(tensor.shape)) // block * size)
        float_32 = np.dtype(np.float32)
        writer.add_tensor_info(tensor.name, tensor.shape, float_32, sizes[-1], tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done = 0
    for tensor, size in zip(written, sizes, strict=True):
        report(STEP, done, sum(sizes))
        writer.write_tensor_data(tensor.make())
        done += size
    writer.close()
    report(STEP, done, done)

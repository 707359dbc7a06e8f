"""Writing of GGUF files from a Hugging Face folder or another GGUF, with an adapter merged.

The layout is that of llama.cpp's `convert_hf_to_gguf.py`, for its architectures `llama` and
`phi2`. Tensors are made one at a time: a model need not fit into memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mmtui.errors import InputError
from mmtui.pipeline.assets.checkpoint import WEIGHTS_PATTERN
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.gguf import layout, tensors, vocabulary
from mmtui.pipeline.gguf.lora import Lora
from mmtui.pipeline.tokenizer import read_json

Quantization = Literal["f32", "bf16", "f16", "q8_0", "q4_0"]
STEP = "converting the language model (once)"


@dataclass(frozen=True)
class _Tensor:
    """One of the file: `make` gives it as it is stored in the type `kind`."""

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
    """Convert the language model in a Hugging Face folder.

    Raises:
        InputError: The model is not supported or damaged, or the adapter does not fit.
    """
    config = read_json(source / "config.json")
    if reason := layout.get_unsupported_reason(config):
        raise InputError(f"the language model in {source} can't be a GGUF: {reason}")
    read: dict[str, tensors.StoredTensor] = {}
    for shard in sorted(source.glob(WEIGHTS_PATTERN)):
        read |= tensors.open_tensors(shard)
    lora = _lora(adapter, {name.removesuffix(".weight") for name in read})
    parts = layout.map_tensors(config, read)  # each stored tensor, and what it is made of

    def weight(names: tuple[str, ...]) -> np.ndarray:
        made = [layout.to_gguf_layout(config, name, adapted(name)) for name in names]
        return made[0] if len(made) == 1 else np.concatenate(made)

    def adapted(name: str) -> np.ndarray:
        values, module = read[name].read(), name.removesuffix(".weight")
        if lora is not None and name.endswith(".weight") and module in lora.modules:
            values += lora.compute_delta(module, values.shape)
        return values

    made = []
    for stored, names in parts.items():
        shapes = [read[name].shape for name in names]
        shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        kind = _kind(stored, shape, quantization)
        made.append(_Tensor(stored, shape, kind, _quantized(weight, names, kind)))
    _write_folder(source, target, quantization, made, report)


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
    config = read_json(source / "config.json")
    made = []
    for stored, names in layout.map_tensors(config, shapes).items():
        shape = (sum(shapes[name][0] for name in names), *shapes[names[0]][1:])
        kind = _kind(stored, shape, quantization)
        pattern = _quantized(partial(draw, stored), (min(shape[0], 64), *shape[1:]), kind)
        made.append(_Tensor(stored, shape, kind, partial(_repeated, pattern, shape[0])))
    _write_folder(source, target, quantization, made, report)


def _repeated(pattern: Callable[[], np.ndarray], rows: int) -> np.ndarray:
    made = pattern()
    return np.resize(made, (rows, *made.shape[1:]))


def _write_folder(
    source: Path,
    target: Path,
    quantization: Quantization,
    made: "list[_Tensor]",
    report: Report,
) -> None:
    config = read_json(source / "config.json")
    writer = _writer(target, layout.ARCHITECTURES[config["model_type"]])
    layout.write_metadata(writer, config, quantization)
    vocabulary.write_tokenizer(writer, source, int(config["vocab_size"]))
    _store(writer, made, report)


def merge_adapter(
    source: Path,
    target: Path,
    quantization: Quantization,
    adapter: Path,
    report: Report = ignore_progress,
) -> None:
    """Merge an adapter into a GGUF; only the tensors that it changes are quantized again."""
    from gguf import GGUFValueType
    from gguf.quants import dequantize

    reader = layout.open_gguf(source)
    metadata = layout.Metadata(reader)
    modules = {t.name: layout.get_modules(metadata.architecture, t.name) for t in reader.tensors}
    lora = _lora(adapter, {name for names in modules.values() for name in names})
    assert lora is not None
    made = []
    for tensor in reader.tensors:
        shape, kind = tuple(int(size) for size in reversed(tensor.shape)), tensor.tensor_type

        def stored(tensor: Any = tensor) -> np.ndarray:
            return np.asarray(tensor.data)

        def merged(names: tuple[str, ...], tensor: Any = tensor) -> np.ndarray:
            values = np.array(dequantize(tensor.data, tensor.tensor_type))  # F32 is the file's own
            heads = metadata.count_heads(tensor.name)
            ends = np.cumsum(metadata.split_rows(names, len(values)))[:-1]
            for name, rows in zip(names, np.split(values, ends), strict=True):
                if name in lora.modules:
                    delta = lora.compute_delta(name, rows.shape)
                    np.add(rows, _in_place(delta, heads), out=rows)
            return values

        make: Callable[[], np.ndarray] = stored
        if tensor.name.endswith(".weight") and lora.modules.intersection(modules[tensor.name]):
            kind = _kind(tensor.name, shape, quantization)
            make = _quantized(merged, modules[tensor.name], kind)
        made.append(_Tensor(tensor.name, shape, kind, make))
    writer = _writer(target, metadata.architecture)
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key not in ("general.architecture", "general.file_type"):
            is_array = field.types[0] == GGUFValueType.ARRAY
            inner = field.types[1] if is_array else None
            writer.add_key_value(key, field.contents(), field.types[0], inner)
    writer.add_file_type(layout.FILE_TYPES[quantization])
    _store(writer, made, report)


def _in_place(delta: np.ndarray, heads: int | None) -> np.ndarray:
    return delta if heads is None else layout.interleave_heads(delta, heads)


def _lora(adapter: Path | None, modules: set[str]) -> Lora | None:
    if adapter is None:
        return None
    lora = Lora(adapter)
    if stray := lora.modules - modules:
        raise InputError(f"the adapter in {adapter} does not fit: {min(stray)} has no place")
    return lora


def _kind(name: str, shape: tuple[int, ...], quantization: Quantization) -> Any:
    """Return a tensor's type: fp32 for vectors, at least 8 bits for embeddings and output."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) == 1:
        return GGMLQuantizationType.F32
    if quantization == "q4_0" and name in ("token_embd.weight", "output.weight"):
        quantization = "q8_0"
    kind = GGMLQuantizationType[quantization.upper()]
    block, _ = GGML_QUANT_SIZES[kind]
    return kind if shape[-1] % block == 0 else GGMLQuantizationType.F16


def _quantized(
    make: Callable[[Any], np.ndarray], argument: Any, kind: Any
) -> Callable[[], np.ndarray]:
    from gguf.quants import quantize

    return lambda: quantize(np.ascontiguousarray(make(argument), np.float32), kind)


def _writer(target: Path, architecture: str) -> Any:
    from gguf import GGUFWriter

    return GGUFWriter(target, architecture)


def _store(writer: Any, made: list[_Tensor], report: Report) -> None:
    from gguf import GGML_QUANT_SIZES

    sizes = []
    for tensor in made:
        block, size = GGML_QUANT_SIZES[tensor.kind]
        sizes.append(int(np.prod(tensor.shape)) // block * size)
        float_32 = np.dtype(np.float32)
        writer.add_tensor_info(tensor.name, tensor.shape, float_32, sizes[-1], tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    done = 0
    for tensor, size in zip(made, sizes, strict=True):
        report(STEP, done, sum(sizes))
        writer.write_tensor_data(tensor.make())
        done += size
    writer.close()
    report(STEP, done, done)

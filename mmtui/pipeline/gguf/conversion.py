"""Conversion of language models to GGUF, in the cache."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from mmtui.errors import InputError
from mmtui.files import read_optional_json
from mmtui.pipeline import tokenizer
from mmtui.pipeline.assets.derived import ensure_folder, hash_files
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.file_names import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    GGUF_FILE,
    WEIGHTS_PATTERN,
)
from mmtui.pipeline.assets.spec import Precision
from mmtui.pipeline.gguf import layout, lora, vocabulary, writer
from mmtui.pipeline.gguf.writer import Quantization

REVISION = 2  # of the conversion; increase it to convert all cached models again
# The types of GGUF for the precisions of spec.json. 8 bits are as good as 16 and faster on a CPU.
QUANTIZATIONS: dict[Precision, Quantization] = {
    "auto": "q8_0", "fp32": "f32", "bf16": "bf16", "fp16": "f16", "nf4": "q4_0",
}  # fmt: skip
# Maximum disk space of a conversion, relative to the size of 16-bit weights.
RELATIVE_SIZES: dict[Quantization, float] = {
    "f32": 2.1, "bf16": 1.1, "f16": 1.1, "q8_0": 0.6, "q4_0": 0.4,
}  # fmt: skip


@dataclass(frozen=True)
class Gguf:
    """A GGUF file and its tokenizer.

    Attributes:
        model: The file, with the adapter merged.
        folder: The folder of the tokenizer, in Hugging Face's layout.
    """

    model: Path
    folder: Path


def find_gguf(weights: Path) -> Path | None:
    """Return the GGUF file of an asset, which is a file or folder; None if it has safetensors."""
    if weights.suffix == ".gguf":
        return weights
    if any(weights.glob(WEIGHTS_PATTERN)):
        return None
    models = sorted(file for file in weights.glob("*.gguf") if "mmproj" not in file.name)
    return next(iter(models), None)


def get_unsupported_reason(weights: Path, adapter: Path | None) -> str | None:
    """Return the reason why llama.cpp can't run a model, or None if it can.

    Args:
        weights: The weights of the language model, a folder or a GGUF file.
        adapter: The folder of a PEFT adapter, if there is one.
    """
    if adapter is not None and lora.read_scale(adapter) is None:
        return "its adapter is not a plain LoRA"
    if find_gguf(weights) is not None:
        return None
    return layout.get_unsupported_reason(read_optional_json(weights / "config.json"))


def to_gguf(weights: Path, adapter: Path | None, precision: Precision, report: Report) -> Gguf:
    """Convert weights to GGUF in the cache, and merge the adapter.

    A GGUF file without an adapter is used unchanged.

    Args:
        weights: The weights of the language model, a folder or a GGUF file.
        adapter: The folder of a PEFT adapter, if there is one.
        precision: The precision of spec.json.
        report: Receives the progress.

    Raises:
        InputError: The weights are damaged, or llama.cpp can't run them.
    """
    if reason := get_unsupported_reason(weights, adapter):
        raise InputError(f"llama.cpp can't run this model: {reason}", "pass --engine torch")
    source = find_gguf(weights)
    if source is not None and adapter is None:
        return Gguf(source, _find_tokenizer(source))
    quantization = QUANTIZATIONS[precision]
    if source is not None:
        files, folder = [source], source.parent
        # With 4 bits, rounding would be larger than the changes of the adapter.
        quantization = "q8_0" if quantization == "q4_0" else quantization
    else:
        files, folder = [*sorted(weights.glob(WEIGHTS_PATTERN))], weights
    size = sum(path.stat().st_size for path in files)
    files += [folder / name for name in tokenizer.FILES if (folder / name).exists()]
    if adapter is not None:
        files.append(adapter / ADAPTER_CONFIG_FILE)
        files.append(adapter / ADAPTER_WEIGHTS_FILE)
    name = f"{weights.stem}-{hash_files(files)}-{quantization}-{REVISION}"

    def write(work: Path) -> None:
        if source is not None and adapter is not None:
            writer.merge_adapter(source, work / GGUF_FILE, quantization, adapter, report)
            copy_tokenizer(_find_tokenizer(source), work)
        else:
            writer.convert_folder(weights, work / GGUF_FILE, quantization, adapter, report)
            copy_tokenizer(weights, work)

    growth = 4 if source is not None else 1  # a GGUF may have 4 bits per weight instead of 16
    needed = int(growth * RELATIVE_SIZES[quantization] * size)
    converted = ensure_folder(name, needed=needed, write=write)
    return Gguf(converted / GGUF_FILE, converted)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files of a tokenizer from one folder to another."""
    for name in tokenizer.FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _find_tokenizer(source: Path) -> Path:
    """Return the folder of a GGUF's tokenizer; write it from the GGUF's metadata if needed."""
    if (source.parent / "tokenizer.json").exists():
        return source.parent

    def write(work: Path) -> None:
        metadata = layout.Metadata(layout.open_gguf(source))
        vocabulary.restore_tokenizer(metadata.values, work)

    return ensure_folder(
        f"{source.stem}-{hash_files([source])}-tokenizer-{REVISION}", 10_000_000, write
    )

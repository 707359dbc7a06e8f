"""Conversion of a language model to GGUF, cached until its files change."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from mmtui.errors import InputError
from mmtui.pipeline import tokenizer
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.derived import ensure_folder, hash_files
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import Precision
from mmtui.pipeline.gguf import layout, lora, vocabulary, writer
from mmtui.pipeline.gguf.writer import Quantization

REVISION = 2  # of the conversion; increase it to convert all cached models again
# What a precision of spec.json is in a GGUF. 8 bits are as good as 16, and faster on a CPU.
QUANTIZATIONS: dict[Precision, Quantization] = {
    "auto": "q8_0", "fp32": "f32", "bf16": "bf16", "fp16": "f16", "nf4": "q4_0",
}  # fmt: skip
# Maximum disk space of a conversion, relative to the size of 16-bit weights.
SIZES: dict[Quantization, float] = {"f32": 2.1, "bf16": 1.1, "f16": 1.1, "q8_0": 0.6, "q4_0": 0.4}


@dataclass(frozen=True)
class Gguf:
    """A GGUF file with the adapter merged, and the folder of its tokenizer."""

    model: Path
    folder: Path


def find_gguf(weights: Path) -> Path | None:
    """Return the GGUF of an asset (a file or folder), or None if it has safetensors."""
    if weights.suffix == ".gguf":
        return weights
    if any(weights.glob(checkpoint.WEIGHTS_PATTERN)):
        return None
    return next(iter(sorted(weights.glob("*.gguf"))), None)


def get_unsupported_reason(weights: Path, adapter: Path | None) -> str | None:
    """Return why llama.cpp can't run these weights, or None if it can."""
    if adapter is not None and lora.read_scale(adapter) is None:
        return "its adapter is no plain LoRA"
    if find_gguf(weights) is not None:
        return None
    return layout.get_unsupported_reason(tokenizer.read_json(weights / "config.json"))


def to_gguf(weights: Path, adapter: Path | None, precision: Precision, report: Report) -> Gguf:
    """Convert weights to GGUF and merge the adapter; a GGUF without an adapter is used as it is.

    Raises:
        InputError: The weights are damaged, or llama.cpp can't run them.
    """
    if reason := get_unsupported_reason(weights, adapter):
        raise InputError(f"llama.cpp can't run this model: {reason}", "--engine torch runs it")
    source = find_gguf(weights)
    if source is not None and adapter is None:
        return Gguf(source, _tokenizer(source))
    quantization = QUANTIZATIONS[precision]
    if source is not None:
        parts, beside = [source], source.parent
        # 8 bits hold the sum of 4-bit weights and small changes; 4 bits again would drown these.
        quantization = "q8_0" if quantization == "q4_0" else quantization
    else:
        parts, beside = [*sorted(weights.glob(checkpoint.WEIGHTS_PATTERN))], weights
    size = sum(path.stat().st_size for path in parts)
    parts += [beside / file for file in tokenizer.FILES if (beside / file).exists()]
    if adapter is not None:
        parts += [
            adapter / checkpoint.ADAPTER_CONFIG_FILE,
            adapter / checkpoint.ADAPTER_WEIGHTS_FILE,
        ]
    name = f"{weights.stem}-{hash_files(parts)}-{quantization}-{REVISION}"

    def write(work: Path) -> None:
        if source is not None and adapter is not None:
            writer.merge_adapter(source, work / checkpoint.GGUF_FILE, quantization, adapter, report)
            copy_tokenizer(_tokenizer(source), work)
        else:
            writer.convert_folder(
                weights, work / checkpoint.GGUF_FILE, quantization, adapter, report
            )
            copy_tokenizer(weights, work)

    quarters = 4 if source is not None else 1  # it may hold 4 bits a weight
    folder = ensure_folder(name, needed=int(quarters * SIZES[quantization] * size), write=write)
    return Gguf(folder / checkpoint.GGUF_FILE, folder)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy the files of a tokenizer from one folder to another."""
    for name in tokenizer.FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _tokenizer(source: Path) -> Path:
    """Return the folder of a GGUF's tokenizer; write it from the GGUF's metadata if needed."""
    if (source.parent / "tokenizer.json").exists():
        return source.parent

    def write(work: Path) -> None:
        metadata = layout.Metadata(layout.open_gguf(source))
        vocabulary.restore_tokenizer(metadata.values, work)

    return ensure_folder(
        f"{source.stem}-{hash_files([source])}-tokenizer-{REVISION}", 10_000_000, write
    )

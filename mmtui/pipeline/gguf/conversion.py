"""Weights in another form, made once and kept in the cache, whole or not at all."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from mmtui.errors import InputError
from mmtui.pipeline import tokenizer
from mmtui.pipeline.assets.derived import ensure_folder, hash_files
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import Precision
from mmtui.pipeline.gguf import layout, lora, vocabulary, writer
from mmtui.pipeline.gguf.writer import Quantization

REVISION = 2  # of what is made here; a change makes everyone convert anew
# What a precision of spec.json is in a GGUF. 8 bits are as good as 16, and faster on a CPU.
QUANTIZATIONS: dict[Precision, Quantization] = {
    "auto": "q8_0", "fp32": "f32", "bf16": "bf16", "fp16": "f16", "nf4": "q4_0",
}  # fmt: skip
# What a conversion takes of the disk, at the most, in sizes of weights in 16 bits.
SIZES: dict[Quantization, float] = {"f32": 2.1, "bf16": 1.1, "f16": 1.1, "q8_0": 0.6, "q4_0": 0.4}


@dataclass(frozen=True)
class Gguf:
    """A GGUF with its adapter in it, and the folder with its tokenizer."""

    model: Path
    folder: Path


def gguf_in(weights: Path) -> Path | None:
    """The GGUF that an asset is or holds; None for one with safetensors."""
    if weights.suffix == ".gguf":
        return weights
    if any(weights.glob("model*.safetensors")):
        return None
    return next(iter(sorted(weights.glob("*.gguf"))), None)


def refusal(weights: Path, adapter: Path | None) -> str | None:
    """Why llama.cpp can't have these weights; None if it can."""
    if adapter is not None and lora.scale(adapter) is None:
        return "its adapter is no plain LoRA"
    if gguf_in(weights) is not None:
        return None
    return layout.refusal(tokenizer.read_json(weights / "config.json"))


def to_gguf(weights: Path, adapter: Path | None, precision: Precision, report: Report) -> Gguf:
    """What llama.cpp loads; a GGUF without an adapter is used as it is.

    Raises InputError for weights that `refusal` gives a reason against, or that are damaged.
    """
    if reason := refusal(weights, adapter):
        raise InputError(f"llama.cpp can't run this model: {reason}", "--engine torch runs it")
    source = gguf_in(weights)
    if source is not None and adapter is None:
        return Gguf(source, _tokenizer(source))
    quantization = QUANTIZATIONS[precision]
    if source is not None:
        parts, beside = [source], source.parent
        # 8 bits hold the sum of 4-bit weights and small changes; 4 bits again would drown these.
        quantization = "q8_0" if quantization == "q4_0" else quantization
    else:
        parts, beside = [*sorted(weights.glob("model*.safetensors"))], weights
    size = sum(path.stat().st_size for path in parts)
    parts += [beside / file for file in tokenizer.FILES if (beside / file).exists()]
    if adapter is not None:
        parts += [adapter / lora.SETTINGS, adapter / lora.WEIGHTS]
    name = f"{weights.stem}-{hash_files(parts)}-{quantization}-{REVISION}"

    def write(work: Path) -> None:
        if source is not None and adapter is not None:
            writer.from_gguf(source, work / "model.gguf", quantization, adapter, report)
            copy_tokenizer(_tokenizer(source), work)
        else:
            writer.from_folder(weights, work / "model.gguf", quantization, adapter, report)
            copy_tokenizer(weights, work)

    quarters = 4 if source is not None else 1  # it may hold 4 bits a weight
    folder = ensure_folder(name, needed=int(quarters * SIZES[quantization] * size), write=write)
    return Gguf(folder / "model.gguf", folder)


def copy_tokenizer(source: Path, target: Path) -> None:
    for name in tokenizer.FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def _tokenizer(source: Path) -> Path:
    """The folder with the tokenizer of a GGUF: beside it, or written from what it holds."""
    if (source.parent / "tokenizer.json").exists():
        return source.parent

    def write(work: Path) -> None:
        facts = layout.Facts(layout.reader(source))
        vocabulary.restore(facts.values, work)

    return ensure_folder(
        f"{source.stem}-{hash_files([source])}-tokenizer-{REVISION}", 10_000_000, write
    )

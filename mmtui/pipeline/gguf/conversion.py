"""Weights in another form, made once and kept in the cache, whole or not at all."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mmtui.errors import InputError
from mmtui.pipeline import tokenizer
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import Pin, Precision
from mmtui.pipeline.gguf import layout, lora, vocabulary, writer
from mmtui.pipeline.gguf.writer import Quantization

_MANIFEST = "manifest.json"
REVISION = 2  # of what is made here; a change makes everyone convert anew
# What a precision of spec.json is in a GGUF. 8 bits are as good as 16, and faster on a CPU.
QUANTIZATIONS: dict[Precision, Quantization] = {
    "auto": "q8_0", "fp32": "f32", "bf16": "bf16", "fp16": "f16", "nf4": "q4_0",
}  # fmt: skip
# What a conversion takes of the disk, at the most, in sizes of weights in 16 bits.
SIZES: dict[Quantization, float] = {"f32": 2.1, "bf16": 1.1, "f16": 1.1, "q8_0": 0.6, "q4_0": 0.4}
UNUSED_S = 30 * 24 * 3600.0  # after which a conversion is removed


@dataclass(frozen=True)
class Gguf:
    """A GGUF with its adapter in it, and the folder with its tokenizer."""

    model: Path
    folder: Path


def kept(name: str, needed: int, write: Callable[[Path], None]) -> Path:
    """The folder of the cache that `write` fills, if it is not there and intact."""
    target = fetch.cache_dir() / "converted" / name
    if _is_intact(target):
        with suppress(OSError):  # a cache that is only read
            (target / _MANIFEST).touch()
        return target
    _remove_unused(target.parent)
    with fetch.workspace(name, needed=needed) as work:
        if not _is_intact(target):
            write(work)
            files = [path for path in sorted(work.iterdir()) if path.is_file()]
            pins = [Pin(path.name, path.stat().st_size, fetch.sha256(path)) for path in files]
            (work / _MANIFEST).write_text(json.dumps([vars(pin) for pin in pins]))
            target.mkdir(parents=True, exist_ok=True)
            for path in [*files, work / _MANIFEST]:  # the manifest last: it vouches
                path.replace(target / path.name)
    return target


def _remove_unused(folder: Path) -> None:
    """Each adapter that was ever tried has left one."""
    for manifest in folder.glob(f"*/{_MANIFEST}"):
        if time.time() - manifest.stat().st_mtime > UNUSED_S:
            shutil.rmtree(manifest.parent, ignore_errors=True)


def _is_intact(target: Path) -> bool:
    try:
        pins = [Pin(**pin) for pin in json.loads((target / _MANIFEST).read_bytes())]
    except (OSError, ValueError, TypeError):
        return False
    return bool(pins) and all(fetch.intact(target / pin.name, pin) for pin in pins)


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
    name = f"{weights.stem}-{key(parts)}-{quantization}-{REVISION}"

    def write(work: Path) -> None:
        if source is not None and adapter is not None:
            writer.from_gguf(source, work / "model.gguf", quantization, adapter, report)
            copy_tokenizer(_tokenizer(source), work)
        else:
            writer.from_folder(weights, work / "model.gguf", quantization, adapter, report)
            copy_tokenizer(weights, work)

    quarters = 4 if source is not None else 1  # it may hold 4 bits a weight
    folder = kept(name, needed=int(quarters * SIZES[quantization] * size), write=write)
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

    return kept(f"{source.stem}-{key([source])}-tokenizer-{REVISION}", 10_000_000, write)


def key(parts: list[Path]) -> str:
    """Of all bytes that a conversion is made of."""
    try:
        digests = [fetch.digest(path) for path in parts]
    except OSError as error:
        raise InputError(f"{error.filename} can't be read: {error.strerror}") from error
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]

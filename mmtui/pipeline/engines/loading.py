"""Load an engine with its language model. Libraries are imported when they are needed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.errors import MissingError
from mmtui.pipeline.assets import fetch, gguf_files, hashes
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.gguf_files import GgufFiles
from mmtui.pipeline.assets.spec import Asset, EngineName, Part, Precision
from mmtui.pipeline.engines import probe
from mmtui.pipeline.engines.engine import Engine, Language
from mmtui.pipeline.engines.threads import ThreadCount
from mmtui.pipeline.gguf import conversion
from mmtui.pipeline.sequence import PREFILL_CHUNK
from mmtui.pipeline.vision.encoder import VisionEncoder

if TYPE_CHECKING:
    from mmtui.pipeline.engines.llama_language import LlamaLanguage
    from mmtui.pipeline.engines.mtmd_encoder import MtmdEncoder

_LARGE_MODEL = 600_000_000  # bytes of weights; smaller models compute larger batches of a prompt
_MAX_CHUNK = 512  # positions in a batch


def load_engine(
    engine: EngineName,
    weights: Path,
    *,
    part: Part | None = None,
    precision: Precision = "auto",
    adapter: Path | None = None,
    prompt_lookup: bool = True,
    report: Report = ignore_progress,
) -> Engine:
    """Load a language model into an engine.

    Args:
        engine: Which engine decodes.
        weights: A GGUF, or a folder in Hugging Face's layout.
        part: The part of the model in the folder that is the language model; None for all of it.
        precision: The precision to compute in, or to convert the weights to.
        adapter: Folder of a LoRA adapter, which is merged into the weights.
        prompt_lookup: Whether llama.cpp verifies drafts that are copied from the conversation,
            which is faster.
        report: Called as the weights are converted and loaded.

    Raises:
        MissingError: The engine is not installed, or crashes on this machine.
        InputError: The weights are damaged, or the engine can't run this model.
    """
    threads = ThreadCount()  # the load is measured while the weights are read
    if engine == "llamacpp":
        from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine

        llama = load_llama_language(weights, precision=precision, adapter=adapter, report=report)
        return LlamaEngine(llama, prompt_lookup, threads)
    from mmtui.pipeline.engines import torch_language
    from mmtui.pipeline.engines.torch_engine import TorchEngine

    folder = prepare_weights("torch", weights, report=report)
    language = torch_language.load(
        folder, part=part, precision=precision, adapter=adapter, report=report
    )
    return TorchEngine(language, threads)


def load_llama_language(
    weights: Path,
    *,
    precision: Precision = "auto",
    adapter: Path | None = None,
    report: Report = ignore_progress,
) -> "LlamaLanguage":
    """Load a language model with the llama.cpp that works best on this machine.

    Raises:
        MissingError: llama.cpp is not installed, or crashes on this machine.
        InputError: llama.cpp can't load these weights.
    """
    from mmtui.pipeline.engines import llama_language

    library, outcome = probe.choose_library()
    return llama_language.load(
        weights,
        library,
        extra_buffers=outcome == "works",
        precision=precision,
        adapter=adapter,
        report=report,
    )


def load_gguf(
    files: GgufFiles,
    weights: Path,
    *,
    prompt_lookup: bool = True,
    report: Report = ignore_progress,
) -> Engine:
    """Load a GGUF of any architecture into llama.cpp, with the tokenizer that is stored in it.

    Args:
        files: The files of the model.
        weights: The file, or the folder that the files were downloaded to.
        prompt_lookup: Whether drafts that are copied from the conversation are verified.
        report: Called as the weights are loaded.

    Raises:
        MissingError: llama.cpp is not installed, or crashes on this machine.
        InputError: A file is damaged, or llama.cpp can't load the model or chat with it.
        MmtuiError: The model, its mmproj and a KV cache are larger than the free memory.
    """
    from mmtui.pipeline.engines import llama_language
    from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine

    threads = ThreadCount()  # the load is measured while the weights are read
    library, outcome = probe.choose_library()
    located = gguf_files.locate(files, weights)
    language = llama_language.load_gguf(
        located.shards,
        library,
        extra_buffers=outcome == "works",
        mmproj=located.mmproj or located.audio_tower,
        report=report,
    )
    chunk = _choose_chunk(sum(file.stat().st_size for file in located.shards))
    return LlamaEngine(replace(language, chunk=chunk), prompt_lookup, threads)


def _choose_chunk(weight_bytes: int) -> int:
    """Return how many positions of a prompt are computed in a batch, after which it can be stopped.

    A picture of a few hundred patches is computed faster in one batch, but a large model needs
    seconds for 128 positions.
    """
    chunk = PREFILL_CHUNK * _LARGE_MODEL // max(weight_bytes, 1)
    return min(max(chunk, PREFILL_CHUNK), _MAX_CHUNK)


def load_mmproj(
    language: Language, files: GgufFiles, weights: Path, *, report: Report = ignore_progress
) -> VisionEncoder:
    """Load the vision tower of a GGUF model.

    Args:
        language: The model, which `load_gguf` has loaded.
        files: The files of the model.
        weights: The file, or the folder that the files were downloaded to.
        report: Called when the tower is loaded.

    Raises:
        MissingError: The llama.cpp at hand can't encode pictures, or there is no vision tower.
        InputError: The file is damaged, or for another model.
    """
    mmproj = gguf_files.locate(files, weights).mmproj
    if mmproj is None:
        raise MissingError(f"{files.name} can't see: its mmproj has no vision tower")
    return _load_tower(language, mmproj, "loading the vision tower", report)


def load_audio_tower(
    language: Language, files: GgufFiles, weights: Path, *, report: Report = ignore_progress
) -> "MtmdEncoder":
    """Load the mmproj of a GGUF model that hears. The arguments are those of `load_mmproj`.

    Raises:
        MissingError: The llama.cpp at hand can't encode recordings, or there is no audio tower.
        InputError: The file is damaged, or for another model.
    """
    mmproj = gguf_files.locate(files, weights).audio_tower
    if mmproj is None:
        raise MissingError(f"{files.name} has no audio tower", "pass --listen whisper")
    return _load_tower(language, mmproj, "loading the audio tower", report)


def _load_tower(language: Language, mmproj: Path, step: str, report: Report) -> "MtmdEncoder":
    from mmtui.pipeline.engines.llama_language import LlamaLanguage
    from mmtui.pipeline.engines.mtmd_encoder import MtmdEncoder

    assert isinstance(language, LlamaLanguage)
    report(step, 0, 1)
    encoder = MtmdEncoder(language, mmproj)
    report(step, 1, 1)
    return encoder


def prepare_weights(
    engine: EngineName,
    weights: Path,
    *,
    precision: Precision = "auto",
    adapter: Path | None = None,
    report: Report = ignore_progress,
) -> Path:
    """Convert weights, if necessary, to what the engine loads.

    Returns:
        A GGUF for llama.cpp, a folder in Hugging Face's layout for torch.

    Raises:
        InputError: The weights are damaged, or the engine can't run this model.
    """
    if engine == "llamacpp":
        return conversion.to_gguf(weights, adapter, precision, report).model
    if (source := conversion.find_gguf(weights)) is None:
        return weights
    from mmtui.pipeline.gguf import to_huggingface

    return to_huggingface.convert(source, hashes.get(source), report)


def fetch_for_torch(asset: Asset, report: Report = ignore_progress) -> Path:
    """Fetch a language model, and convert it if it is a GGUF.

    Returns:
        A folder in Hugging Face's layout.

    Raises:
        MissingError: The asset can't be fetched.
        InputError: The weights are damaged, or torch can't run this model.
    """
    return prepare_weights("torch", fetch.fetch(asset, report), report=report)


def split_engine(
    engine: Engine, count: int, on_evict: Callable[[Engine], None]
) -> Sequence[Engine]:
    """Return engines that compute together, as far as the engine can; else the engine alone.

    Args:
        engine: An engine that has not been used.
        count: How many engines.
        on_evict: Called with an engine whose cache is about to be emptied to make room for others.
    """
    if count > 1:
        from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine

        if isinstance(engine, LlamaEngine):
            return engine.split(count, on_evict)
    return [engine]

"""Export a model for llama.cpp: its language model as a GGUF, its vision tower as an mmproj."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import load_file

from mmtrain.export import destination
from mmtrain.export.mmproj import write_mmproj
from mmtui.errors import InputError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.file_names import GGUF_FILE, LANGUAGE_FOLDER, SPEC_FILE
from mmtui.pipeline.assets.spec import Precision
from mmtui.pipeline.assets.weight_files import WeightFiles
from mmtui.pipeline.engines import torch_language
from mmtui.pipeline.engines.loading import fetch_for_torch
from mmtui.pipeline.gguf.conversion import copy_tokenizer
from mmtui.pipeline.gguf.writer import Quantization, convert_folder
from mmtui.pipeline.tokenizer import Tokenizer
from mmtui.pipeline.vision import projector as projectors

MMPROJ_FILE = "mmproj.gguf"


def export_gguf(
    model: str,
    place: Path,
    quantization: Quantization,
    report: Report = ignore_progress,
    notify: Callable[[str], None] = print,
) -> Path:
    """Write a model whose language model is one GGUF, next to its projector.

    The adapter is merged into the language model. Where the vision tower is a vision transformer,
    an mmproj for other programs is beside the GGUF, and a Modelfile for Ollama.

    Args:
        model: The model, as `--model` names it.
        place: The folder to write.
        quantization: The number format of the weight matrices.
        report: Called with the progress of downloads and of the conversion.
        notify: Called with the reason why there is no mmproj, and with what Ollama does otherwise.

    Raises:
        InputError: llama.cpp does not support this language model.
        UsageError: The folder holds a run or other files.
    """
    found = checkpoint.find(model)
    destination.check(place, marker=SPEC_FILE)
    weights = fetch_for_torch(found.spec.language.weights, report)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        language = Path(name) / LANGUAGE_FOLDER
        language.mkdir()
        adapter = found.adapter
        if found.spec.language.weights.part is not None:
            weights, adapter = _extract_language(found, weights, Path(name) / "extracted"), None
        convert_folder(weights, language / GGUF_FILE, quantization, adapter, report)
        copy_tokenizer(weights, language)
        mmproj = language / MMPROJ_FILE
        if found.can_see and (reason := _write_mmproj(found, mmproj, quantization, report)):
            notify(f"there is no mmproj: {reason}")
        has_mmproj, has_template = mmproj.exists(), bool(Tokenizer(language).chat_template)
        plain = dataclasses.replace(found.spec.language, precision="auto")
        checkpoint.write(
            place,
            dataclasses.replace(found.spec, language=plain),
            projector=load_file(found.projector) if found.projector else None,
            language=language,
        )
    if has_mmproj:
        (place / "Modelfile").write_text(_make_modelfile(has_template))
        if found.spec.language.prompt.number_pictures:
            notify("Ollama does not number the pictures, so the model may mix up several of them")
    return place


def _extract_language(found: Checkpoint, weights: Path, folder: Path) -> Path:
    """Save the language model of a larger model on its own, with the adapter merged."""
    spec = found.spec.language
    precision: Precision = "fp32" if spec.precision == "fp32" else "bf16"
    loaded = torch_language.load(
        weights,
        part=spec.weights.part,
        precision=precision,
        adapter=found.adapter,
        device=torch.device("cpu"),
    )
    loaded.model.save_pretrained(folder)
    tokenizer: Any = loaded.tokenizer
    tokenizer.save_pretrained(folder)
    return folder


def _write_mmproj(
    found: Checkpoint, file: Path, quantization: Quantization, report: Report
) -> str | None:
    """Write the mmproj of a model, or return the reason why llama.cpp can't compute it."""
    vision, weights = found.spec.vision, found.projector_weights
    assert vision is not None and weights is not None
    state = WeightFiles(fetch.fetch(weights, report), weights.part)
    output = "weight" if "weight" in state.names else "2.weight"
    projector = projectors.load(
        fetch.fetch(weights, report),
        vision.width,
        len(state.read(output)),
        activation=found.spec.projector.activation,
        part=weights.part,
    )
    try:
        write_mmproj(
            file,
            vision,
            fetch.fetch(vision.weights, report),
            projector,
            found.spec.projector.activation,
            in_fp32=quantization == "f32",
        )
    except InputError as error:
        return str(error)
    return None


def _make_modelfile(has_template: bool) -> str:
    """Return the Modelfile with which Ollama creates the model."""
    lines = [f"FROM ./{LANGUAGE_FOLDER}/{GGUF_FILE}", f"FROM ./{LANGUAGE_FOLDER}/{MMPROJ_FILE}"]
    if not has_template:  # the form of Phi-2, which mmtui uses then
        lines += [
            'TEMPLATE """{{ if .System }}{{ .System }}',
            "{{ end }}Instruct: {{ .Prompt }}",
            'Output: {{ .Response }}"""',
            'PARAMETER stop "Instruct:"',
        ]
    return "\n".join(lines) + "\n"

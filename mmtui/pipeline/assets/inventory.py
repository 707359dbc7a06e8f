"""The list of models on this machine, with the files that are missing."""

from pathlib import Path
from typing import Any

from mmtui import machine
from mmtui.errors import InputError, MmtuiError
from mmtui.pipeline.assets import checkpoint, fetch, speech_models, stores
from mmtui.pipeline.assets.file_names import SPEC_FILE
from mmtui.pipeline.assets.gguf_memory import estimate_memory
from mmtui.pipeline.assets.spec import SpeechChoice
from mmtui.pipeline.assets.stores import StoredModel

_LARGE_CACHE = 8_000_000_000  # bytes; more than the KV cache of any model at the start
RUNS_FOLDER = Path("runs")  # the default of mmtrain, relative to the working directory


def list_models(speech: SpeechChoice = "auto") -> list[dict[str, Any]]:
    """List the presets, the checkpoints in the user's data directory and in `runs`, and GGUFs.

    The GGUFs are those in the stores of Ollama, LM Studio, Hugging Face and llama.cpp.

    Args:
        speech: The speech model of the presets and checkpoints; "auto" is that of each.

    Returns:
        An entry for each model: "name"; "sees", whether it has vision; "parts", the "role", "uri",
        local "path" (or None) and "download" size in bytes of each part; and "error" if the
        checkpoint can't be read. Entries of checkpoints also have "reads", whether the model was
        trained with the text in pictures. Entries of GGUFs also have "store", "size" in bytes,
        "quantization", "hears", whether there is an audio tower, and "fits", whether there is
        enough free memory.
    """
    own = [_describe(name, speech) for name in (*checkpoint.PRESETS, *_list_folders())]
    free = machine.get_free_memory()
    return [*own, *(_describe_stored(model, free) for model in stores.list_stored_models())]


def summarize_model(entry: dict[str, Any]) -> str:
    """Summarize an entry of `list_models`, as in "vision, 186 MB to fetch"."""
    if "error" in entry:
        return str(entry["error"])
    vision = "vision" if entry["sees"] else "no vision"
    if entry.get("reads"):
        vision += " and reading"
    vision += ", hears" if entry.get("hears") else ""
    if "store" in entry:
        fits = "" if entry["fits"] else ", does not fit into the free memory"
        kind = f"{entry['quantization']} ".lstrip()
        return f"{kind}{entry['size'] / 1e9:.1f} GB, {vision}{fits} ({entry['store']})"
    missing = [part["download"] for part in entry["parts"] if part["path"] is None]
    if not missing:
        return f"{vision}, on this machine"
    return f"{vision}, {sum(missing) / 1e6:,.0f} MB to fetch"


def _describe_stored(model: StoredModel, free: int) -> dict[str, Any]:
    roles = {"language": model.files[0], "vision": model.mmproj}
    return {
        "name": model.name,
        "sees": model.can_see,
        "parts": [
            {"role": role, "uri": str(path), "path": str(path), "download": 0}
            for role, path in roles.items()
            if path is not None
        ],
        "store": model.store,
        "size": model.size,
        "quantization": model.quantization,
        "hears": model.can_hear,
        "fits": _fits(model, free),
    }


def _fits(model: StoredModel, free: int) -> bool:
    """Return whether a model fits into the free memory, with its KV cache at the start."""
    if model.size > free or model.size + _LARGE_CACHE < free:
        return model.size < free  # reading the header takes longer
    try:
        return estimate_memory(model.files, model.mmproj) <= free
    except InputError:  # opening it reports what is wrong
        return False


def _list_folders() -> list[str]:
    """List the folders of checkpoints, without those that replace a preset."""
    folders = [
        folder
        for parent in (checkpoint.get_user_models_folder(), RUNS_FOLDER)
        for folder in sorted(spec.parent for spec in parent.glob(f"*/{SPEC_FILE}"))
    ]
    presets = [checkpoint.get_user_models_folder() / name for name in checkpoint.PRESETS]
    return [str(folder) for folder in folders if folder not in presets]


def _describe(name: str, speech: SpeechChoice) -> dict[str, Any]:
    """Return the entry of a model."""
    try:
        found = checkpoint.find(name)
    except MmtuiError as error:
        return {"name": name, "sees": False, "parts": [], "error": str(error)}
    parts = []
    for role, asset in speech_models.choose(found.spec, speech).assets.items():
        path = fetch.locate(asset)
        parts.append(
            {
                "role": role,
                "uri": asset.uri,
                "path": str(path) if path else None,
                "download": asset.download,
            }
        )
    reads = found.spec.reads_text
    return {"name": name, "sees": found.can_see, "reads": reads, "parts": parts}

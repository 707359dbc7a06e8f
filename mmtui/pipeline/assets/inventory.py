"""The models that `--model` accepts, and which of their files are on this machine."""

from pathlib import Path
from typing import Any

from mmtui.errors import MmtuiError
from mmtui.pipeline.assets import checkpoint, fetch

RUNS = Path("runs")  # where mmtrain writes, seen from the working directory


def list_models() -> list[dict[str, Any]]:
    """List the presets and the checkpoints in the user's data directory and in `runs`.

    Returns:
        An entry for each model: "name", "sees", and "parts" with the role, URI, local path (or
        None) and download size in bytes of each; "error" if a checkpoint can't be read.
    """
    return [_entry(name) for name in (*checkpoint.PRESETS, *_folders())]


def summarize_model(entry: dict[str, Any]) -> str:
    """Summarize an entry of the inventory, as in "sees, 186 MB to fetch"."""
    if "error" in entry:
        return str(entry["error"])
    does = "sees" if entry["sees"] else "does not see"
    missing = [part["download"] for part in entry["parts"] if part["path"] is None]
    if not missing:
        return f"{does}, all here"
    return f"{does}, {sum(missing) / 1e6:,.0f} MB to fetch"


def _folders() -> list[str]:
    folders = [
        folder
        for place in (checkpoint.get_user_models_folder(), RUNS)
        for folder in sorted(spec.parent for spec in place.glob(f"*/{checkpoint.SPEC_FILE}"))
    ]
    presets = [checkpoint.get_user_models_folder() / name for name in checkpoint.PRESETS]
    return [str(folder) for folder in folders if folder not in presets]


def _entry(name: str) -> dict[str, Any]:
    try:
        found = checkpoint.find(name)
    except MmtuiError as error:
        return {"name": name, "sees": False, "parts": [], "error": str(error)}
    parts = []
    for role, asset in found.spec.assets.items():
        path = fetch.locate(asset)
        parts.append(
            {
                "role": role,
                "uri": asset.uri,
                "path": str(path) if path else None,
                "download": asset.download,
            }
        )
    return {"name": name, "sees": found.can_see, "parts": parts}

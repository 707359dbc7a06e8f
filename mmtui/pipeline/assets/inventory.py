"""The list of models on this machine, with the files that are missing."""

from pathlib import Path
from typing import Any

from mmtui.errors import MmtuiError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.file_names import SPEC_FILE

RUNS_FOLDER = Path("runs")  # the default of mmtrain, relative to the working directory


def list_models() -> list[dict[str, Any]]:
    """List the presets and the checkpoints in the user's data directory and in `runs`.

    Returns:
        An entry for each model: "name"; "sees", whether it has vision; "parts", the "role", "uri",
        local "path" (or None) and "download" size in bytes of each part; and "error" if the
        checkpoint can't be read.
    """
    return [_describe(name) for name in (*checkpoint.PRESETS, *_list_folders())]


def summarize_model(entry: dict[str, Any]) -> str:
    """Summarize an entry of `list_models`, as in "vision, 186 MB to fetch"."""
    if "error" in entry:
        return str(entry["error"])
    vision = "vision" if entry["sees"] else "no vision"
    missing = [part["download"] for part in entry["parts"] if part["path"] is None]
    if not missing:
        return f"{vision}, on this machine"
    return f"{vision}, {sum(missing) / 1e6:,.0f} MB to fetch"


def _list_folders() -> list[str]:
    """List the folders of checkpoints, without those that replace a preset."""
    folders = [
        folder
        for parent in (checkpoint.get_user_models_folder(), RUNS_FOLDER)
        for folder in sorted(spec.parent for spec in parent.glob(f"*/{SPEC_FILE}"))
    ]
    presets = [checkpoint.get_user_models_folder() / name for name in checkpoint.PRESETS]
    return [str(folder) for folder in folders if folder not in presets]


def _describe(name: str) -> dict[str, Any]:
    """Return the entry of a model."""
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

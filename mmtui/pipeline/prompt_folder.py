"""The folder with what models have read of conversations, one file for each conversation."""

from contextlib import suppress
from pathlib import Path

from mmtui.pipeline.assets.fetch import get_cache_folder


def get_path(conversation: str) -> Path:
    """Return the path of the file of a conversation."""
    return get_cache_folder() / "prompts" / f"{conversation}.state"


def remove(conversation: str) -> None:
    """Remove the file of a conversation, if there is one."""
    with suppress(OSError):
        get_path(conversation).unlink(missing_ok=True)


def remove_oldest(max_bytes: int) -> None:
    """Remove the files that were not used for the longest time until the rest is small enough.

    Raises:
        OSError: The folder can't be read.
    """
    folder = get_path("").parent
    files = [(file.stat().st_mtime_ns, file.stat().st_size, file) for file in folder.iterdir()]
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= max_bytes:
            return
        file.unlink(missing_ok=True)
        total -= size

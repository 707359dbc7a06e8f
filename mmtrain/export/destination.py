"""The folder that an export writes."""

from pathlib import Path

from mmtrain.run import folder
from mmtui.errors import UsageError


def check(place: Path, marker: str | None = None) -> None:
    """Check that a folder may be written.

    Args:
        place: The folder.
        marker: A file that shows that an existing folder is an earlier export; None if an earlier
            export is not replaced.

    Raises:
        UsageError: It holds a run or other files, or is a file.
    """
    if (place / folder.RECORD).exists():
        raise UsageError(f"{place} contains a run", "choose another folder")
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is not a folder", "choose another folder")
    is_replaced = marker is not None and (place / marker).exists()
    if place.exists() and not is_replaced and any(place.iterdir()):
        raise UsageError(f"{place} contains other files", "choose another folder")

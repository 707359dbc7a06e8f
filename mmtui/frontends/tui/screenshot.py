"""Save what the app shows as a picture."""

from pathlib import Path
from typing import Any

from textual.app import App

from mmtui.errors import MmtuiError, UsageError
from mmtui.files import replacing


def save_screenshot(app: App[Any], file: Path) -> None:
    """Write the screen of an app to an SVG file.

    Raises:
        UsageError: The name does not end in .svg, or the file exists.
        InputError: `file` is a device, a link or a folder.
        MmtuiError: The file can't be written.
    """
    if file.suffix.lower() != ".svg":
        raise UsageError(f"{file}: the name must end in .svg", "for example screen.svg")
    if file.exists():
        raise UsageError(f"{file} exists", "choose another name")
    try:
        with replacing(file) as temporary:
            temporary.write_text(app.export_screenshot(title="mmtui"), "utf-8")
    except OSError as error:
        raise MmtuiError(f"{file} can't be written: {error.strerror}") from error

"""Access to the clipboard of this machine: read pictures and files, write text."""

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

from mmtui.chat import attachments
from mmtui.chat.attachments import LoadedFile
from mmtui.chat.notice import Notice
from mmtui.errors import InputError, MissingError

_PNG_MODES = ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")
TIMEOUT_S = 2.0  # also delays quitting
INSTALL_HINT = (
    "on Linux, install wl-clipboard (Wayland) or xclip (X11); over SSH, attach a file by its path"
)


def load() -> list[LoadedFile]:
    """Load the picture in the clipboard, as PNG, or the files that were copied.

    Raises:
        MissingError: The clipboard can't be read.
        InputError: It has no picture and no files, or a file can't be attached.
    """
    from PIL import Image, ImageGrab, ImageOps, UnidentifiedImageError

    grabbed: Future[Any] = Future()

    def grab() -> None:
        try:
            grabbed.set_result(ImageGrab.grabclipboard())
        except Exception as error:
            grabbed.set_exception(error)

    # A daemon thread, because a program that owns the clipboard and hangs must not block quitting.
    Thread(target=grab, daemon=True).start()
    try:
        found = grabbed.result(TIMEOUT_S)
        if isinstance(found, Image.Image):
            found = ImageOps.exif_transpose(found)
            found = found if found.mode in _PNG_MODES else found.convert("RGBA")
    except NotImplementedError:
        raise MissingError("no clipboard is available", INSTALL_HINT) from None
    except UnidentifiedImageError:
        found = None
    except TimeoutError:
        raise MissingError("the clipboard does not respond", "copy the picture again") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise MissingError(f"the clipboard can't be read: {error}", INSTALL_HINT) from error
    if isinstance(found, list):
        return [attachments.load(Path(file)) for file in found]
    if found is None:
        raise InputError("there is no picture in the clipboard", "copy one, or attach a file")
    stream = io.BytesIO()
    found.save(stream, "PNG", compress_level=1)  # fast; size matters less
    return [attachments.load_picture(stream.getvalue(), "clipboard.png", "the clipboard")]


def copy(text: str) -> bool:
    """Copy a text to the clipboard with a program of this machine.

    Returns:
        Whether it was copied. If there is no such program, only the terminal can copy.
    """
    encoding = "utf-16" if sys.platform == "win32" else "utf-8"
    return any(_run_with_input(command, text.encode(encoding)) for command in _find_commands())


def copy_notice(is_copied: bool) -> Notice:
    """Return the notice for a text that was sent to the terminal, and perhaps copied by `copy`."""
    if is_copied:
        return Notice("copied", is_error=False)
    hint = "not every terminal supports this; /export writes a file"
    return Notice("sent to the terminal's clipboard", hint, is_error=False)


def _find_commands() -> Iterator[list[str]]:
    """Yield commands that copy their stdin to the clipboard, and may not be installed."""
    if sys.platform == "darwin":
        yield ["pbcopy"]
    elif sys.platform == "win32":
        yield ["clip"]
    else:
        if os.environ.get("WAYLAND_DISPLAY"):
            yield ["wl-copy", "--type", "text/plain"]
        if os.environ.get("DISPLAY"):
            yield ["xclip", "-selection", "clipboard"]


def _run_with_input(command: list[str], data: bytes) -> bool:
    """Run a command, and return whether it is installed and succeeded."""
    if shutil.which(command[0]) is None:
        return False
    try:
        # In a new session, so that it still provides the clipboard when the terminal is closed.
        run = subprocess.run(
            command, input=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=TIMEOUT_S, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0

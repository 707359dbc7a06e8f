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
from mmtui.chat.attachments import Loaded
from mmtui.errors import InputError, MissingError

PNG = ("1", "L", "LA", "P", "I;16", "RGB", "RGBA")  # image modes that PNG supports
PATIENCE_S = 2.0  # timeout; quitting waits for it
HOW = "on Linux it takes wl-clipboard (Wayland) or xclip (X11); over SSH, attach a file by its path"


def load() -> list[Loaded]:
    """A picture, as PNG, or the files that were copied.

    Raises MissingError where the clipboard can't be read, InputError if it holds nothing usable.
    """
    from PIL import Image, ImageGrab, ImageOps, UnidentifiedImageError

    grabbed: Future[Any] = Future()

    def grab() -> None:
        try:
            grabbed.set_result(ImageGrab.grabclipboard())
        except Exception as error:
            grabbed.set_exception(error)

    # A daemon thread: a program that owns the clipboard and hangs must not block quitting.
    Thread(target=grab, daemon=True).start()
    try:
        found = grabbed.result(PATIENCE_S)
        if isinstance(found, Image.Image):
            found = ImageOps.exif_transpose(found)
            found = found if found.mode in PNG else found.convert("RGBA")
    except NotImplementedError:
        raise MissingError("there is no clipboard that mmtui can read", HOW) from None
    except UnidentifiedImageError:
        found = None
    except TimeoutError:
        raise MissingError("the clipboard does not answer", "copy it anew") from None
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise MissingError(f"the clipboard can't be read: {error}", HOW) from error
    if isinstance(found, list):
        return [attachments.load(Path(file)) for file in found]
    if found is None:
        raise InputError("there is no picture in the clipboard", "copy one, or attach a file")
    stream = io.BytesIO()
    found.save(stream, "PNG", compress_level=1)  # fast; size matters less
    return [attachments.loaded_picture(stream.getvalue(), "clipboard.png", "the clipboard")]


def copy(text: str) -> bool:
    """Put a text in the clipboard, by the programs that `load` reads it with.

    Returns:
        Whether it is there. Without such a program, only the terminal can copy.
    """
    encoding = "utf-16" if sys.platform == "win32" else "utf-8"
    return any(_fed(command, text.encode(encoding)) for command in _programs())


def outcome(is_copied: bool) -> tuple[str, str | None]:
    """What to tell after a text was copied, if it was, and handed to the terminal."""
    if is_copied:
        return "copied", None
    hint = "not every terminal does; /export writes a file"
    return "handed to the terminal, for it to copy", hint


def _programs() -> Iterator[list[str]]:
    if sys.platform == "darwin":
        yield ["pbcopy"]
    elif sys.platform == "win32":
        yield ["clip"]
    else:
        if os.environ.get("WAYLAND_DISPLAY"):
            yield ["wl-copy", "--type", "text/plain"]
        if os.environ.get("DISPLAY"):
            yield ["xclip", "-selection", "clipboard"]


def _fed(command: list[str], data: bytes) -> bool:
    """Whether a program is there and takes that."""
    if shutil.which(command[0]) is None:
        return False
    try:
        # In a session of its own: it holds the clipboard when the terminal is closed.
        run = subprocess.run(
            command, input=data, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=PATIENCE_S, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0

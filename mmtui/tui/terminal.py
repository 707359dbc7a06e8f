"""What the terminal can draw; asked before Textual reads what it says."""

import os
import re
import select
import struct
import sys
import threading
import time
from functools import cache
from typing import Any, Literal, NamedTuple

from mmtui.text import printable

Drawing = Literal["sixel", "kitty", "blocks"]

KITTY = "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # a picture of one pixel: would you draw it?
CELL = "\x1b[16t"
ATTRIBUTES = "\x1b[c"  # comes last: all terminals answer it, so that nothing comes after
PATIENCE_S = 0.2
ANSWERS = {
    "kitty": re.compile(r"\x1b_Gi=31;(\w+)[^\x1b]*\x1b\\"),
    "cell": re.compile(r"\x1b\[6;(\d+);(\d+)t"),
    "attributes": re.compile(r"\x1b\[\?([\d;]*)c"),
}
# Arrows and the like, and answers that are not whole.
KEYS = re.compile(r"\x1b(_[^\x1b]*(\x1b\\)?|\[[?\d;]*[A-Za-z~]?|O[A-Z]|.)?", re.DOTALL)


class Terminal(NamedTuple):
    """`typed`: what the user typed meanwhile. `cell`: width and height in pixels, if known."""

    drawing: Drawing = "blocks"
    typed: str = ""
    cell: tuple[int, int] | None = None
    answered: bool = True


def ask() -> Terminal:
    """Takes as long as the terminal does to answer, PATIENCE_S at the most."""
    if os.name != "posix" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Terminal()
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard, termios.TCSANOW)
    try:
        sys.stdout.write(KITTY + CELL + ATTRIBUTES)
        sys.stdout.flush()
        found = understood(_read(keyboard))
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
    return found._replace(cell=_cell() or found.cell)


def forget_late_answers() -> None:
    """They would stand in the prompt."""
    import termios

    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


def _cell() -> tuple[int, int] | None:
    """As the terminal told the kernel."""
    import fcntl
    import termios

    told = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    rows, columns, width, height = struct.unpack("4H", told)
    return (width // columns, height // rows) if width and height and columns and rows else None


def _read(keyboard: int) -> str:
    said = b""
    deadline = time.monotonic() + PATIENCE_S
    while not ANSWERS["attributes"].search(text := said.decode(errors="replace")):
        ready, _, _ = select.select([keyboard], [], [], max(deadline - time.monotonic(), 0))
        if not ready or not (more := os.read(keyboard, 4096)):
            break
        said += more
    return text


def understood(said: str) -> Terminal:
    """Answers, and between them what was typed.

    Sixel comes before Kitty's graphics: some terminals that claim both draw only Sixel well.
    """
    found = {name: answer.search(said) for name, answer in ANSWERS.items()}
    drawing: Drawing = "blocks"
    if (attributes := found["attributes"]) and "4" in attributes[1].split(";"):
        drawing = "sixel"
    elif (kitty := found["kitty"]) and kitty[1] == "OK":
        drawing = "kitty"
    cell = (int(found["cell"][2]), int(found["cell"][1])) if found["cell"] else None
    for answer in ANSWERS.values():
        said = answer.sub("", said)
    typed = printable(KEYS.sub("", said)).strip("\n")
    return Terminal(drawing, typed, cell, attributes is not None)


def picture_widget(terminal: Terminal) -> Any:
    """The class of the widget that draws a picture."""
    with _importing:
        widget = _widgets(terminal.cell)
    return {
        "sixel": widget.SixelImage,
        "kitty": widget.TGPImage,
        "blocks": widget.HalfcellImage,
    }[terminal.drawing]


_importing = threading.Lock()  # thumbnails are drawn in threads


@cache
def _widgets(cell: tuple[int, int] | None) -> Any:
    """textual_image asks the terminal when it is imported; the answers would go to Textual."""
    if cell:
        width, height = cell
        os.environ |= {"TEXTUAL_CELL_WIDTH": str(width), "TEXTUAL_CELL_HEIGHT": str(height)}
    before = sys.__stdout__
    vars(sys)["__stdout__"] = _Silent()
    try:
        from textual_image import widget
    finally:
        vars(sys)["__stdout__"] = before
    return widget


class _Silent:
    """Stands in for a terminal that can't be asked, but has the size that it has."""

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return 1

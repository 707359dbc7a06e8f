"""What the terminal can draw; asked before Textual reads what it says."""

import errno
import os
import re
import select
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal, NamedTuple

from mmtui.frontends.tui.responses import split_responses
from mmtui.text import printable

Drawing = Literal["sixel", "kitty", "blocks"]

# A picture of one pixel: would you draw it? tmux takes the question for a title, so the title is
# put away meanwhile.
KITTY = "\x1b[22;2t\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[23;2t"
CELL = "\x1b[16t"
ATTRIBUTES = "\x1b[c"  # comes last: all terminals answer it, so that nothing comes after
PATIENCE_S = 0.2
ANSWERS = {
    "kitty": re.compile(r"\x1b_Gi=31;(\w+)[^\x1b]*\x1b\\"),
    "cell": re.compile(r"\x1b\[6;(\d+);(\d+)t"),
    "attributes": re.compile(r"\x1b\[\?([\d;]*)c"),
}
KEYS = re.compile(r"\x1b(\[[?\d;]*[A-Za-z~]?|O[A-Z]|.)?", re.DOTALL)  # arrows and the like


class Terminal(NamedTuple):
    """What a terminal can draw, and what was read from it.

    Attributes:
        drawing: The best way in which it draws pictures.
        typed: What the user typed meanwhile.
        cell: Width and height of a character in pixels, if known.
        answered: Whether all answers came in time.
        unfinished: The end of what was read, perhaps the beginning of an answer.
    """

    drawing: Drawing = "blocks"
    typed: str = ""
    cell: tuple[int, int] | None = None
    answered: bool = True
    unfinished: str = ""

    def updated(self, answers: str) -> "Terminal":
        """Return what is known after more answers came."""
        late = parse_responses(answers)
        return self._replace(
            drawing=self.drawing if late.drawing == "blocks" else late.drawing,
            cell=self.cell or late.cell,
            answered=self.answered or late.answered,
        )


@contextmanager
def quiet_keyboard() -> Iterator[None]:
    """Don't echo what is typed or answered before the chat has the screen."""
    if not _is_terminal():
        yield
        return
    import termios
    import tty

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


def query() -> Terminal:
    """Ask the terminal, within `quiet_keyboard`.

    Takes as long as the terminal does to answer, at most PATIENCE_S.
    """
    if not _is_terminal():
        return Terminal()
    sys.stdout.write((CELL if _is_multiplexed() else KITTY + CELL) + ATTRIBUTES)
    sys.stdout.flush()
    found = parse_responses(_read(sys.stdin.fileno()))
    return found._replace(cell=_cell() or found.cell)


def _is_terminal() -> bool:
    return os.name == "posix" and sys.stdin.isatty() and sys.stdout.isatty()


def _is_multiplexed() -> bool:
    """Whether this is tmux or screen, which draw nothing by Kitty's protocol."""
    name = os.environ.get("TERM", "")
    return "TMUX" in os.environ or "STY" in os.environ or name.startswith(("tmux", "screen"))


def is_gone() -> bool:
    """Whether the terminal was closed, or its connection: what is typed has no end, then."""
    if os.name != "posix" or sys.__stdin__ is None:
        return False
    import termios

    try:
        termios.tcgetattr(sys.__stdin__.fileno())
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False


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


def parse_responses(text: str) -> Terminal:
    """Understand answers, and find what was typed between them.

    Sixel comes before Kitty's graphics: some terminals that claim both draw only Sixel well.
    """
    keys, answers, unfinished = split_responses(text)
    found = {name: answer.search(answers) for name, answer in ANSWERS.items()}
    drawing: Drawing = "blocks"
    if (attributes := found["attributes"]) and "4" in attributes[1].split(";"):
        drawing = "sixel"
    elif (kitty := found["kitty"]) and kitty[1] == "OK":
        drawing = "kitty"
    cell = (int(found["cell"][2]), int(found["cell"][1])) if found["cell"] else None
    typed = printable(KEYS.sub("", keys)).strip("\n")
    return Terminal(drawing, typed, cell, attributes is not None, unfinished)


def picture_widget(terminal: Terminal) -> Any:
    """The class of the widget that draws a picture."""
    with _importing:
        return _widgets(terminal.cell)[terminal.drawing]


_importing = threading.Lock()  # thumbnails are drawn in threads


@cache
def _widgets(cell: tuple[int, int] | None) -> dict[Drawing, Any]:
    """textual_image asks the terminal when it is imported; the answers would go to Textual."""
    if cell:
        width, height = cell
        os.environ |= {"TEXTUAL_CELL_WIDTH": str(width), "TEXTUAL_CELL_HEIGHT": str(height)}
    before = sys.__stdout__
    vars(sys)["__stdout__"] = _Silent()
    try:
        from textual_image import widget

        from mmtui.frontends.tui.halfblocks import HalfblocksImage
    finally:
        vars(sys)["__stdout__"] = before
    return {"sixel": widget.SixelImage, "kitty": widget.TGPImage, "blocks": HalfblocksImage}


class _Silent:
    """Stands in for a terminal that can't be asked, but has the size that it has."""

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return 1

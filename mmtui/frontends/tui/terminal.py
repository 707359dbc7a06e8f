"""Query the terminal about graphics and cell size, before Textual reads its input."""

import errno
import os
import re
import select
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Literal, NamedTuple

from mmtui.frontends.tui.responses import split_responses
from mmtui.text import printable

Graphics = Literal["sixel", "kitty", "blocks"]

SAVE_TITLE, RESTORE_TITLE = "\x1b[22;2t", "\x1b[23;2t"  # on a stack of the terminal
# Asks whether a picture of one pixel could be drawn. Some terminals, such as tmux, mistake this for
# a title, so the title is saved before it and restored after it.
KITTY_QUERY = f"{SAVE_TITLE}\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\{RESTORE_TITLE}"
CELL_SIZE_QUERY = "\x1b[16t"
# Sent last: every terminal responds to it, so its response ends the wait for the others.
ATTRIBUTES_QUERY = "\x1b[c"
TIMEOUT_S = 0.2
RESPONSES = {
    "kitty": re.compile(r"\x1b_Gi=31;(\w+)[^\x1b]*\x1b\\"),
    "cell": re.compile(r"\x1b\[6;(\d+);(\d+)t"),
    "attributes": re.compile(r"\x1b\[\?([\d;]*)c"),
}
SPECIAL_KEYS = re.compile(r"\x1b(\[[?\d;]*[A-Za-z~]?|O[A-Z]|.)?", re.DOTALL)  # such as arrows


class Terminal(NamedTuple):
    """The capabilities of a terminal, and what was read together with its responses.

    Attributes:
        graphics: The best way to draw pictures.
        typed: The keys that were pressed before the responses arrived.
        cell_size: Width and height of a character in pixels; None if unknown.
        has_responded: Whether all responses arrived before the timeout.
        unfinished: The end of the input, which may be the start of another response.
    """

    graphics: Graphics = "blocks"
    typed: str = ""
    cell_size: tuple[int, int] | None = None
    has_responded: bool = True
    unfinished: str = ""

    def add_responses(self, responses: str) -> "Terminal":
        """Return a copy that is updated by responses that arrived later."""
        late = parse_responses(responses)
        return self._replace(
            graphics=self.graphics if late.graphics == "blocks" else late.graphics,
            cell_size=self.cell_size or late.cell_size,
            has_responded=self.has_responded or late.has_responded,
        )


@contextmanager
def disable_echo() -> Iterator[None]:
    """Turn the echo of the terminal off until Textual takes over.

    Keys arrive as Textual reads them: Enter is not turned into a line feed, which Textual takes for
    Ctrl+J, and Ctrl+Q and Ctrl+S do not control the flow of the output.
    """
    if not _is_terminal():
        yield
        return
    import termios
    import tty

    stdin = sys.stdin.fileno()
    attributes = termios.tcgetattr(stdin)
    tty.setcbreak(stdin, termios.TCSANOW)
    input_flags, *other_attributes = termios.tcgetattr(stdin)
    input_flags &= ~(termios.ICRNL | termios.IXON)
    termios.tcsetattr(stdin, termios.TCSANOW, [input_flags, *other_attributes])
    try:
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSANOW, attributes)


@contextmanager
def keep_title() -> Iterator[None]:
    """Restore the title of the window at the end, in terminals that can do that."""
    _write_to_screen(SAVE_TITLE)
    try:
        yield
    finally:
        _write_to_screen(RESTORE_TITLE)


def _write_to_screen(sequence: str) -> None:
    """Write a sequence where Textual draws, unless the terminal was closed."""
    if _is_terminal() and sys.__stderr__ is not None and sys.__stderr__.isatty():
        with suppress(OSError):
            sys.__stderr__.write(sequence)
            sys.__stderr__.flush()


def query() -> Terminal:
    """Query the terminal, within `disable_echo`.

    Returns when the terminal has responded, at the latest after TIMEOUT_S.
    """
    if not _is_terminal():
        return Terminal()
    queries = [] if _is_multiplexed() else [KITTY_QUERY]
    sys.stdout.write("".join([*queries, CELL_SIZE_QUERY, ATTRIBUTES_QUERY]))
    sys.stdout.flush()
    terminal = parse_responses(_read_responses(sys.stdin.fileno()))
    return terminal._replace(cell_size=_get_cell_size() or terminal.cell_size)


def _is_terminal() -> bool:
    return os.name == "posix" and sys.stdin.isatty() and sys.stdout.isatty()


def _is_multiplexed() -> bool:
    """Return whether this is tmux or screen, which do not support Kitty's graphics."""
    name = os.environ.get("TERM", "")
    return "TMUX" in os.environ or "STY" in os.environ or name.startswith(("tmux", "screen"))


def is_closed() -> bool:
    """Return whether the terminal or its connection was closed."""
    if os.name != "posix" or sys.__stdin__ is None:
        return False
    import termios

    try:
        termios.tcgetattr(sys.__stdin__.fileno())
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False


def _get_cell_size() -> tuple[int, int] | None:
    """Return width and height of a character in pixels, if the kernel knows them."""
    import fcntl
    import termios

    window_size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    rows, columns, width, height = struct.unpack("4H", window_size)
    return (width // columns, height // rows) if width and height and columns and rows else None


def _read_responses(stdin: int) -> str:
    """Read up to the last response, the end of the input or the timeout."""
    data = b""
    deadline = time.monotonic() + TIMEOUT_S
    while not RESPONSES["attributes"].search(text := data.decode(errors="replace")):
        ready, _, _ = select.select([stdin], [], [], max(deadline - time.monotonic(), 0))
        if not ready or not (more := os.read(stdin, 4096)):
            break
        data += more
    return text


def parse_responses(text: str) -> Terminal:
    """Parse the responses of a terminal, and the keys between them.

    Sixel is preferred to Kitty's graphics, because some terminals that support both draw only Sixel
    well.
    """
    keys, responses, unfinished = split_responses(text)
    found = {name: pattern.search(responses) for name, pattern in RESPONSES.items()}
    graphics: Graphics = "blocks"
    if (attributes := found["attributes"]) and "4" in attributes[1].split(";"):
        graphics = "sixel"
    elif (kitty := found["kitty"]) and kitty[1] == "OK":
        graphics = "kitty"
    cell_size = (int(found["cell"][2]), int(found["cell"][1])) if found["cell"] else None
    typed = printable(SPECIAL_KEYS.sub("", keys).replace("\r", "\n")).strip("\n")
    return Terminal(graphics, typed, cell_size, attributes is not None, unfinished)


def get_picture_widget(terminal: Terminal) -> Any:
    """Return the class of the widget that draws pictures in a terminal."""
    with _import_lock:
        return _import_widgets(terminal.cell_size)[terminal.graphics]


_import_lock = threading.Lock()  # thumbnails are drawn in threads


@cache
def _import_widgets(cell_size: tuple[int, int] | None) -> dict[Graphics, Any]:
    """Import textual_image without letting it query the terminal.

    It does so on import, and Textual would take the responses for keys.
    """
    if cell_size:
        width, height = cell_size
        os.environ |= {"TEXTUAL_CELL_WIDTH": str(width), "TEXTUAL_CELL_HEIGHT": str(height)}
    stdout = sys.__stdout__
    vars(sys)["__stdout__"] = _NotATerminal()
    try:
        from textual_image import widget

        from mmtui.frontends.tui.halfblocks import HalfblocksImage
    finally:
        vars(sys)["__stdout__"] = stdout
    return {"sixel": widget.SixelImage, "kitty": widget.TGPImage, "blocks": HalfblocksImage}


class _NotATerminal:
    """A replacement of stdout that is not queried, but has the descriptor of the terminal."""

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return 1

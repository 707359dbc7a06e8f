"""Conversion of a document in another process, with limits of its time and memory."""

import base64
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, BinaryIO

from mmtui.errors import InputError
from mmtui.pipeline.documents.converter import Item
from mmtui.pipeline.documents.formats import Format
from mmtui.pipeline.documents.page_ranges import Ranges, encode_ranges

TIMEOUT_S = 60.0  # for the next page
POLL_S = 0.1  # how often a cancellation is noticed
MAX_LINE_BYTES = 100_000_000  # of the output; a page or its picture


class ConversionCancelledError(Exception):
    """The user does not want the document any more."""


def convert(
    file: BinaryIO,
    name: str,
    format_: Format,
    ranges: Ranges | None = None,
    pictures: str = "none",
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Item]:
    """Convert a document.

    Args:
        file: The open file, at its start; it has a descriptor.
        name: Its name in errors.
        format_: Its format.
        ranges: The pages to read; None is all.
        pictures: Of which pages of a PDF a picture is drawn: "none", "textless" or "all".
        is_cancelled: Asked while the next page is awaited.

    Yields:
        The items that the process writes, without the last one.

    Raises:
        InputError: The document can't be read, or reading it takes too long.
        ConversionCancelledError: `is_cancelled` returned True.
    """
    module = "mmtui.pipeline.documents.converter"
    # -P: no module is imported from the current folder, which may be one of downloads.
    command = [sys.executable, "-P", "-m", module, format_, encode_ranges(ranges), pictures]
    process = subprocess.Popen(
        command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    lines: queue.Queue[bytes] = queue.Queue(maxsize=4)
    is_closed = threading.Event()
    reader = threading.Thread(target=_read_lines, args=(process.stdout, lines, is_closed))
    reader.start()
    try:
        while True:
            item = _parse(_wait_for_line(lines, name, is_cancelled), name)
            if "error" in item:
                raise InputError(f"{name} {item['error']}", item["hint"] or None)
            if item.get("end"):
                return
            yield item
    finally:
        is_closed.set()
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def decode_picture(item: Item) -> bytes:
    """Return the picture of a page."""
    return base64.b64decode(item["picture"])


def _read_lines(stream: IO[bytes], lines: "queue.Queue[bytes]", is_closed: threading.Event) -> None:
    """Put each line into the queue, and an empty one at the end."""
    while not is_closed.is_set():
        line = stream.readline(MAX_LINE_BYTES)
        while not is_closed.is_set():
            with suppress(queue.Full):
                lines.put(line, timeout=POLL_S)
                break
        if not line:
            return


def _wait_for_line(
    lines: "queue.Queue[bytes]", name: str, is_cancelled: Callable[[], bool]
) -> bytes:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if is_cancelled():
            raise ConversionCancelledError
        with suppress(queue.Empty):
            return lines.get(timeout=POLL_S)
    raise InputError(f"{name}: reading it takes too long", "it may be damaged; try a part of it")


def _parse(line: bytes, name: str) -> Item:
    """Return an item; a process that died has written no last one."""
    try:
        item: Item = json.loads(line)
    except ValueError:
        hint = "it may be damaged; save it again with the program that made it"
        raise InputError(f"{name} can't be read: the converter crashed", hint) from None
    return item

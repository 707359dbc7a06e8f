"""Reader of the rows of a damaged SQLite file, without SQLite.

File format: https://www.sqlite.org/fileformat2.html.
"""

import struct
from collections.abc import Iterator
from typing import Any

_PAGE_SIZE = 4096  # bytes; SQLite's default, used if the header is damaged
_FILE_HEADER = 100  # bytes, on the first page
_LEAF = 0x0D  # the kind of a page that holds rows of a table
_LEAF_HEADER = 8  # bytes
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)  # by serial type


class _CutError(Exception):
    """A row that points outside of its page or its file."""


def read_rows(data: bytes) -> Iterator[tuple[int, list[Any]]]:
    """Yield the rowid and the values of each row of all tables, in the order of the file.

    Free pages are skipped: their rows were deleted. A row with a damaged overflow page keeps the
    values before the damage; the value at the damage is cut.

    Args:
        data: The database file, without a write-ahead log.
    """
    pages = _Pages(data)
    for number in range(1, pages.count + 1):
        if number not in pages.free:
            yield from _read_leaf(pages, number)


class _Pages:
    """The pages of a file, counted from 1."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        size = int.from_bytes(data[16:18], "big")
        size = 65536 if size == 1 else size
        is_size = size >= 512 and size & (size - 1) == 0
        self.size = size if is_size else _PAGE_SIZE
        reserved = data[20] if len(data) > 20 and is_size else 0
        self.usable = self.size - reserved if reserved < 33 else self.size
        self.count = -(-len(data) // self.size)
        self.free = self._read_free()

    def page(self, number: int) -> bytes:
        """Return the usable bytes of a page. Raises _CutError if there is no such page."""
        if not 1 <= number <= self.count:
            raise _CutError
        start = (number - 1) * self.size
        return self._data[start : start + self.usable]

    def _read_free(self) -> set[int]:
        free: set[int] = set()
        number = int.from_bytes(self._data[32:36], "big")
        while 1 <= number <= self.count and number not in free:
            free.add(number)
            page = self.page(number)
            number, length = struct.unpack_from(">II", page.ljust(8, b"\0"))
            length = min(length, (len(page) - 8) // 4)
            free.update(struct.unpack_from(f">{max(length, 0)}I", page, 8))
        return free


def _read_leaf(pages: _Pages, number: int) -> Iterator[tuple[int, list[Any]]]:
    page = pages.page(number)
    start = _FILE_HEADER if number == 1 else 0
    if len(page) < start + _LEAF_HEADER or page[start] != _LEAF:
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    for cell in range(count):
        at = start + _LEAF_HEADER + 2 * cell
        try:
            yield _read_cell(pages, page, int.from_bytes(page[at : at + 2], "big"))
        except _CutError:
            continue


def _read_cell(pages: _Pages, page: bytes, at: int) -> tuple[int, list[Any]]:
    length, at = _read_varint(page, at)
    rowid, at = _read_varint(page, at)
    max_local, min_local = pages.usable - 35, (pages.usable - 12) * 32 // 255 - 23
    if length <= max_local:
        payload = page[at : at + length]
    else:
        local = min_local + (length - min_local) % (pages.usable - 4)
        local = local if local <= max_local else min_local
        overflow = int.from_bytes(page[at + local : at + local + 4], "big")
        payload = page[at : at + local] + _read_overflow(pages, overflow, length - local)
    return _signed(rowid), _read_record(payload)


def _read_overflow(pages: _Pages, number: int, length: int) -> bytes:
    """Return the bytes of a chain of overflow pages up to the first missing page."""
    parts: list[bytes] = []
    while length > 0:
        try:
            page = pages.page(number)
        except _CutError:
            break
        parts.append(page[4 : 4 + length])
        number = int.from_bytes(page[:4], "big")
        length -= pages.usable - 4
    return b"".join(parts)


def _read_record(payload: bytes) -> list[Any]:
    """Return the values of a row. Raises _CutError if their types can't be read."""
    end, at = _read_varint(payload, 0)
    types = []
    while at < end:
        kind, at = _read_varint(payload, at)
        types.append(kind)
    at, values = end, []
    for kind in types:
        value, at = _read_value(payload, at, kind)
        values.append(value)
    return values


def _read_value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    """Return a value and the offset of the next one."""
    if kind >= 12:
        end = at + (kind - 12) // 2
        data = payload[at:end]
        return data.decode(errors="replace") if kind % 2 else data, end
    if kind == 7:
        data = payload[at : at + 8]
        return struct.unpack(">d", data)[0] if len(data) == 8 else None, at + 8
    if kind >= 8:
        return {8: 0, 9: 1}.get(kind), at
    end = at + _INTEGER_BYTES[kind]
    return int.from_bytes(payload[at:end], "big", signed=True) if kind else None, end


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of 1 to 9 bytes and the offset behind it."""
    value = 0
    for count in range(9):
        if at + count >= len(data):
            raise _CutError
        byte = data[at + count]
        if count == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + count + 1
    raise _CutError


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value

"""The header of a GGUF: its metadata and the list of its tensors, without the weights.

A vocabulary has up to a million strings. They are skipped, so that many files can be listed fast.
Format: docs/gguf.md of ggml.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

from mmtui.errors import InputError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_ALIGNMENT = 32  # of the weights in the file, unless general.alignment has another
# struct's codes of the types of values; 8 is a string and 9 an array.
_CODES = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_KEPT_ITEMS = 64  # longer arrays are skipped
DAMAGED_HINT = "it may be cut off or damaged: download or copy it again"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a GGUF.

    Attributes:
        shape: Its dimensions, the one that is contiguous first.
        type: Number of its ggml type.
        offset: Where it starts, counted from the first weight.
    """

    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def size(self) -> int:
        """The size in bytes.

        Raises:
            KeyError: The type is unknown.
        """
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            block, size = GGML_QUANT_SIZES[GGMLQuantizationType(self.type)]
        except ValueError as error:
            raise KeyError(self.type) from error
        return prod(self.shape) // int(block) * int(size)


@dataclass(frozen=True)
class Header:
    """The header of a GGUF: its metadata and the list of its tensors.

    Attributes:
        path: The file.
        values: The metadata by key, without long arrays.
        tensors: The tensors by name.
        start: The offset of the weights in the file, in bytes.
    """

    path: Path
    values: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]
    start: int

    @property
    def architecture(self) -> str:
        """llama.cpp's name of the architecture; "" if it is missing."""
        return self.get_text("general.architecture")

    @cached_property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self.path.stat().st_size

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The bytes of each tensor by name; tensors of unknown types are left out."""
        sizes: dict[str, int] = {}
        for name, tensor in self.tensors.items():
            try:
                sizes[name] = tensor.size
            except KeyError:  # a type of a newer llama.cpp
                continue
        return sizes

    def get_text(self, key: str) -> str:
        """Return the string with this key, or "" if it is missing."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def get_number(self, key: str) -> int:
        """Return the integer with this key, or 0 if it is missing."""
        value = self.values.get(key)
        return value if isinstance(value, int) else 0

    def check_complete(self) -> None:
        """Check that the file has all its weights.

        Raises:
            InputError: The file is shorter than its header requires.
        """
        ends = [self.tensors[name].offset + size for name, size in self.sizes.items()]
        expected = self.start + max(ends, default=0)
        if self.size < expected:
            raise InputError(
                f"{self.path} is cut off: {self.size / 1e6:,.1f} of {expected / 1e6:,.1f} MB are"
                " here",
                DAMAGED_HINT,
            )


def read_header(path: Path) -> Header:
    """Read the header of a GGUF.

    Raises:
        InputError: The file can't be read, is not a GGUF, or has a damaged header.
    """
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file", "pass a GGUF file")
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise InputError(
                    f"{path} is not a GGUF", "a model of another format must be converted first"
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(path, data).read()
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}", "check the name") from error
    except (struct.error, ValueError, OverflowError, MemoryError) as error:
        raise InputError(f"the header of {path} is damaged", DAMAGED_HINT) from error


class _Reader:
    """Reads a header from start to end."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self._path, self._data, self._offset = path, data, len(MAGIC)

    def read(self) -> Header:
        """Read the whole header."""
        version = self._read_number("I")
        if version not in _VERSIONS:
            raise InputError(
                f"{self._path} has version {version} of GGUF; 2 and 3 can be read",
                "download the model again: it is old, or for big-endian machines",
            )
        tensor_count, value_count = self._read_number("Q"), self._read_number("Q")
        values: dict[str, Any] = {}
        for _ in range(value_count):
            key = self._read_text()
            values[key] = self._read_value(self._read_number("I"))
        tensors: dict[str, StoredTensor] = {}
        for _ in range(tensor_count):
            name = self._read_text()
            dimensions = self._read_number("I")
            if dimensions > _MAX_DIMENSIONS:
                raise ValueError(name)
            shape = tuple(self._read_number("Q") for _ in range(dimensions))
            tensors[name] = StoredTensor(shape, self._read_number("I"), self._read_number("Q"))
        alignment = values.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError("general.alignment")
        return Header(self._path, values, tensors, -(-self._offset // alignment) * alignment)

    def _read_number(self, code: str) -> Any:
        (value,) = struct.unpack_from(f"<{code}", self._data, self._offset)
        self._offset += struct.calcsize(f"<{code}")
        return value

    def _read_text(self) -> str:
        length = self._read_number("Q")
        self._require(length)
        text = self._data[self._offset : self._offset + length].decode(errors="replace")
        self._offset += length
        return text

    def _read_value(self, kind: int) -> Any:
        """Read a value; return None for a long array, which is skipped."""
        if kind == _STRING:
            return self._read_text()
        if kind == _ARRAY:
            return self._read_array()
        return self._read_number(self._get_code(kind))

    def _read_array(self) -> list[Any] | None:
        kind, length = self._read_number("I"), self._read_number("Q")
        if kind == _ARRAY:
            raise ValueError("an array of arrays")
        if length <= _KEPT_ITEMS:
            return [self._read_value(kind) for _ in range(length)]
        if kind == _STRING:
            self._skip_texts(length)
        else:
            size = length * struct.calcsize(f"<{self._get_code(kind)}")
            self._require(size)
            self._offset += size
        return None

    def _skip_texts(self, count: int) -> None:
        offset, data, unpack = self._offset, self._data, struct.Struct("<Q").unpack_from
        for _ in range(count):
            offset += 8 + unpack(data, offset)[0]
        self._offset = offset
        self._require(0)

    def _require(self, size: int) -> None:
        """Check that the file has this many more bytes."""
        if self._offset + size > len(self._data):
            raise ValueError("the file ends in its header")

    @staticmethod
    def _get_code(kind: int) -> str:
        if kind not in _CODES:
            raise ValueError(f"no type {kind}")
        return _CODES[kind]

"""Pictures, recordings and documents of requests.

Pictures are in files while a request needs them.
"""

import asyncio
import base64
import binascii
import hashlib
import io
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mmtui.errors import InputError
from mmtui.server.errors import ApiError

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

MAX_PICTURES = 32  # in a request
MAX_PICTURE_BYTES = 20_000_000
_MAX_CHECKED = 1000
_DATA_URI = re.compile(r"data:image/[\w.+-]+(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)

_DOCUMENT_URI = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)


class PictureFolder:
    """A folder of pictures that are named by their SHA-256, as the model process expects them."""

    def __init__(self, folder: Path, executor: Executor) -> None:
        """Create the folder's index.

        Args:
            folder: An empty folder.
            executor: Where pictures are decoded; its size limits the memory that this needs.
        """
        self._folder, self._executor = folder, executor
        self._uses: Counter[str] = Counter()
        self._checked: OrderedDict[str, None] = OrderedDict()  # pictures that could be decoded

    async def add(self, data: bytes) -> str:
        """Store a picture until it is released, and return its path.

        Raises:
            ApiError: It is not a picture, damaged, or too large.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._checked:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, self._check, sha256, data)
            if len(self._checked) > _MAX_CHECKED:
                self._checked.popitem(last=False)
        path = self._folder / sha256
        if not self._uses[sha256]:
            path.write_bytes(data)
        self._uses[sha256] += 1
        return str(path)

    def release(self, paths: Iterable[str]) -> None:
        """Delete the pictures of a request, unless another one needs them."""
        for path in map(Path, paths):
            self._uses[path.name] -= 1
            if not self._uses[path.name]:
                del self._uses[path.name]
                path.unlink(missing_ok=True)

    def _check(self, sha256: str, data: bytes) -> None:
        """Decode a picture, unless another request has done so in the meantime."""
        if sha256 not in self._checked:
            _check_picture(data)
            self._checked[sha256] = None


def decode_data_uri(url: str, param: str) -> bytes:
    """Return the bytes of a picture in a data URI.

    Raises:
        ApiError: It is another address, which is not fetched, or the data is invalid or too large.
    """
    if (start := _DATA_URI.match(url)) is None:
        message = "pictures are accepted as data URIs only, such as data:image/jpeg;base64,..."
        raise ApiError(message, param=param, code="invalid_image_url")
    data = decode_base64(unquote(url[start.end() :]), param)
    if len(data) > MAX_PICTURE_BYTES:
        limit = MAX_PICTURE_BYTES // 1_000_000
        message = f"the picture has more than {limit} MB, the limit"
        raise ApiError(message, status=413, param=param, code="image_too_large")
    return data


def decode_document(uri: str, name: str, param: str) -> str:
    """Return the text of a document in a data URI, in its frame.

    Raises:
        ApiError: The data is invalid, not a document, or too large.
    """
    from mmtui.pipeline.documents.chunks import write_document
    from mmtui.pipeline.documents.framing import frame
    from mmtui.pipeline.documents.reading import decode_document
    from mmtui.pipeline.documents.recognition import recognize_page

    if (start := _DOCUMENT_URI.match(uri)) is None:
        message = "files are accepted as data URIs only, such as data:application/pdf;base64,..."
        raise ApiError(message, param=param, code="invalid_file_data")
    data = decode_base64(unquote(uri[start.end() :]), param)
    name = Path(name).name or "document"
    try:
        document = decode_document(io.BytesIO(data), name, name, recognize=recognize_page)
    except InputError as error:
        raise ApiError(str(error), param=param, code="invalid_file") from None
    return frame(name, write_document(document))


def decode_base64(text: str, param: str) -> bytes:
    """Decode Base64, which can have line breaks; raise ApiError if the text is something else."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("the data is not valid Base64", param=param) from None


def decode_recording(data: bytes, param: str) -> "Clip":
    """Decode the first 15 s of a recording; raise ApiError if it is not one."""
    from mmtui.pipeline.speech import sound

    try:
        return sound.decode(io.BytesIO(data)).clip
    except InputError as error:
        raise ApiError(str(error), param=param, code="invalid_audio") from None


def _check_picture(data: bytes) -> None:
    from mmtui.pipeline.input_files import decode_picture

    try:
        decode_picture(io.BytesIO(data), "image_url")
    except InputError as error:
        raise ApiError(str(error), param="messages", code="invalid_image") from None

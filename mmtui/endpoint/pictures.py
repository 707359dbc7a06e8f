"""Pictures as data URIs, the only form that every server accepts."""

import base64
import io
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MAX_SIDE = 1568  # pixels; what large models resize a picture to before they read it
MAX_CACHED_CHARACTERS = 100_000_000
_JPEG_QUALITY = 90
_FEW_COLORS = 128  # of a drawing: PNG is smaller, and letters stay sharp


def encode_picture(image: "Image.Image") -> str:
    """Return an upright RGB picture as a data URI, scaled down to `MAX_SIDE` pixels."""
    from PIL import Image

    image = image.copy()
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    if image.getcolors(_FEW_COLORS) is not None:
        image.save(stream, "PNG")
        kind = "png"
    else:
        image.save(stream, "JPEG", quality=_JPEG_QUALITY)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


class DataUriCache:
    """Keeps encoded pictures, so that each is decoded once in a chat."""

    def __init__(self) -> None:
        self._encoded: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, key: str, load: "Callable[[], Image.Image]") -> str:
        """Return an encoded picture. Any thread may call this.

        Args:
            key: Identifies the picture.
            load: Returns its pixels, if they are not encoded yet.
        """
        with self._lock:
            if (found := self._encoded.get(key)) is not None:
                return found
            self._encoded[key] = encoded = encode_picture(load())
            while len(self._encoded) > 1 and self._count_characters() > MAX_CACHED_CHARACTERS:
                del self._encoded[next(iter(self._encoded))]  # the oldest
            return encoded

    def _count_characters(self) -> int:
        return sum(map(len, self._encoded.values()))

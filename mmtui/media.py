"""Pictures and recordings of a message, from paths, bytes, PIL images or arrays."""

import hashlib
import io
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.errors import InputError, UsageError
from mmtui.pipeline import input_files

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

    from mmtui.pipeline.speech import sound
    from mmtui.pipeline.vision.images import Picture


class Image:
    """A picture of a message.

    Args:
        source: A path, an open binary file or its bytes, a PIL image, or an array (height, width,
            3) of `uint8`.
        name: The name in results and errors; the path by default.
    """

    def __init__(
        self,
        source: "str | os.PathLike[str] | BinaryIO | bytes | PIL.Image.Image | NDArray[np.uint8]",
        name: str | None = None,
    ) -> None:
        self._source = source
        is_path = isinstance(source, str | os.PathLike)
        self.name = name or (os.fspath(source) if is_path else "picture")  # type: ignore[arg-type]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, such as that the picture is cut off."""
        return self.picture.notes

    @cached_property
    def picture(self) -> "Picture":
        """The decoded picture.

        Raises:
            InputError: The file is not a picture, is damaged, or is too large.
        """
        import numpy as np
        from PIL import Image as PillowImage

        from mmtui.pipeline.vision.images import Picture

        source = self._source
        if isinstance(source, str | os.PathLike):
            return input_files.read_picture(Path(source))
        if isinstance(source, bytes):
            source = io.BytesIO(source)
        if not isinstance(source, PillowImage.Image | np.ndarray):
            return input_files.decode_picture(source, self.name)
        if isinstance(source, np.ndarray):
            if source.ndim != 3 or source.shape[2] != 3 or source.dtype != "uint8":
                raise InputError(
                    f"{self.name}: an array of {source.dtype} {source.shape} is no picture",
                    "pass uint8 values in the shape (height, width, 3)",
                )
            source = PillowImage.fromarray(source)
        image = source.convert("RGB")
        digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes())
        return Picture(digest.hexdigest(), image)


class Sound:
    """A recording of a message; its first 15 s are transcribed.

    Args:
        source: A path, the bytes of an audio file, or an array of samples in [-1, 1], (samples,)
            or (channels, samples).
        rate: Samples per second, for an array.
        name: The name in results and errors; the path by default.
    """

    def __init__(
        self,
        source: "str | os.PathLike[str] | bytes | NDArray[np.float32]",
        rate: int | None = None,
        name: str | None = None,
    ) -> None:
        self._source, self._rate = source, rate
        is_path = isinstance(source, str | os.PathLike)
        self.name = name or (os.fspath(source) if is_path else "recording")  # type: ignore[arg-type]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, such as that only the start is transcribed."""
        return self.recording.notes

    @cached_property
    def recording(self) -> "sound.Sound":
        """The first 15 s of the recording, mono at 16 kHz.

        Raises:
            InputError: The file is not a recording, or is empty.
            UsageError: An array has no rate.
        """
        from mmtui.pipeline.speech import sound

        source = self._source
        if isinstance(source, str | os.PathLike):
            return input_files.read_sound(Path(source))
        if isinstance(source, bytes):
            return sound.decode(io.BytesIO(source))
        if not self._rate:
            raise UsageError(f"{self.name}: an array of samples needs its rate", "pass rate=16000")
        return sound.convert_samples(source, self._rate)

"""Pictures, recordings and documents of a message, from paths, bytes, PIL images or arrays."""

import hashlib
import io
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mmtui.errors import InputError, UsageError
from mmtui.pipeline import input_files
from mmtui.pipeline.documents import reading
from mmtui.pipeline.documents.document import DocumentText
from mmtui.pipeline.documents.page_ranges import parse_ranges
from mmtui.pipeline.documents.recognition import recognize_page

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

    from mmtui.pipeline.assets.fetch import Report
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


class Document:
    """A document of a message: a text file, a PDF, a Word document or an HTML page.

    Args:
        source: A path, an open binary file or its bytes.
        name: The name that the model and errors get; the name of the file by default.
        pages: The pages of a PDF to read, such as "3-7" or "1,4"; all by default.
    """

    def __init__(
        self,
        source: "str | os.PathLike[str] | BinaryIO | bytes",
        name: str | None = None,
        pages: str | None = None,
    ) -> None:
        self._source = source
        is_path = isinstance(source, str | os.PathLike)
        self.path = os.fspath(source) if is_path else name or "document"  # type: ignore[arg-type]
        self.name = name or Path(self.path).name
        self._ranges = parse_ranges(pages) if pages else None
        self._content: DocumentText | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, such as that pages have no text."""
        return self.content.notes

    @property
    def content(self) -> DocumentText:
        """The text of the document.

        Raises:
            InputError: The file is not a document, is damaged, or has no text.
        """
        return self.read()

    def read(self, report: "Report" = reading.ignore_progress) -> DocumentText:
        """Read the text, once; `report` is called with (step, done, total) for each page."""
        if self._content is None:
            source = self._source
            if isinstance(source, bytes):
                source = io.BytesIO(source)
            if isinstance(source, str | os.PathLike):
                with input_files.open_file(Path(source)) as file:
                    self._content = self._decode(file, report)
            else:
                self._content = self._decode(source, report)
        return self._content

    def _decode(self, file: BinaryIO, report: "Report") -> DocumentText:
        return reading.decode_document(
            file, self.name, self.path, self._ranges, recognize=recognize_page, report=report
        )

"""Writing of speech to a sound file: wav, flac, mp3, aac or ogg."""

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from mmtui.errors import MissingError, UsageError

# The name of each container and its codec, by the suffix of the file.
FORMATS = {
    ".wav": ("wav", "pcm_s16le"),
    ".flac": ("flac", "flac"),
    ".mp3": ("mp3", "libmp3lame"),
    ".aac": ("adts", "aac"),
    ".ogg": ("ogg", "libopus"),
    ".opus": ("ogg", "libopus"),
}
_CONTAINERS = FORMATS | {".pcm": ("s16le", "pcm_s16le")}  # samples without a header


def check_suffix(path: Path) -> None:
    """Raise UsageError if the suffix of a file is not that of a format that can be written."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(
            f"{path.name}: sound is not written in this format", f"use {', '.join(FORMATS)}"
        )


class SoundWriter:
    """Writes mono 16-bit samples to a file, in the format of a suffix."""

    def __init__(self, file: Path | BinaryIO, suffix: str, rate: int) -> None:
        """Start a file.

        Args:
            file: The path, or a file that is open for writing and seeking.
            suffix: The suffix of a format in `FORMATS`, or ".pcm".
            rate: Samples per second.

        Raises:
            OSError: The file can't be written.
            MissingError: The codec is missing.
        """
        import av

        container, codec = _CONTAINERS[suffix.lower()]
        if codec not in av.codecs_available:
            message = f"the installed PyAV can't encode {suffix.removeprefix('.')}"
            raise MissingError(message, "pip install --force-reinstall av")
        self._rate = rate
        target = str(file) if isinstance(file, Path) else file
        self._container: Any = av.open(target, "w", format=container)
        self._stream: Any = self._container.add_stream(codec, rate=rate, layout="mono")
        self._container.start_encoding()

    def write(self, samples: bytes) -> None:
        """Add samples."""
        import av
        import numpy as np

        if samples:
            values = np.frombuffer(samples, "<i2")[None]
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout="mono")
            frame.sample_rate = self._rate
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write the end of the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

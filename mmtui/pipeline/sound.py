"""Bytes of an audio file -> the first 15 s, as mono float32 at 16 kHz."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import av
import av.logging
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from mmtui.errors import InputError

RATE = 16_000  # Hz, what Whisper hears
LIMIT_S = 15.0
# Containers that hold their sound themselves: no playlists, which name other files and hosts.
_FORMATS = "wav,w64,aiff,flac,mp3,mov,mp4,m4a,ogg,matroska,webm,aac,amr,caf,au,asf,avi,mpegts"

av.logging.set_level(av.logging.PANIC)  # what a decoder thinks of a damaged file is not news
# Tags in other encodings than UTF-8 are no reason to refuse a recording. Since 19, PyAV agrees.
_LENIENT = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}

Clip = NDArray[np.float32]


def decode(file: BinaryIO) -> Clip:
    """(samples,) in [-1, 1], at most 15 s. No more of the file is decoded than that.

    What is damaged is left out, as a player would. Raises InputError if nothing remains.
    """
    limit = int(LIMIT_S * RATE)
    pieces: list[Clip] = []
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
    try:
        with av.open(file, options=options, **_LENIENT) as container:
            if not container.streams.audio:
                raise InputError("there is no sound in this file")
            length = 0
            for piece in _resampled(_frames(container)):
                pieces.append(piece)
                length += len(piece)
                if length >= limit:
                    break
    except (FFmpegError, ValueError, UnicodeDecodeError) as error:
        if not pieces:
            raise InputError(
                "this is not a recording that mmtui can read",
                "wav, flac, mp3, m4a, ogg, opus, webm and other common formats work",
            ) from error
    clip: Clip = np.concatenate([*pieces, np.zeros(0, np.float32)])[:limit]
    if not len(clip):
        raise InputError("the recording is empty")
    return np.clip(np.nan_to_num(clip), -1, 1, out=clip)


def _frames(container: Any) -> Iterator[Any]:
    damaged: FFmpegError | None = None
    found = False
    for packet in container.demux(container.streams.audio[0]):
        try:
            frames = packet.decode()
        except FFmpegError as error:
            damaged = error
            continue
        for frame in frames:
            found = True
            yield frame
    if damaged is not None and not found:
        raise damaged


def _resampled(frames: Iterable[Any]) -> Iterator[Clip]:
    """Mono at 16 kHz; a stream may change its rate and its channels on the way."""
    kind: tuple[str, str, int] | None = None
    resampler: Any = None
    for frame in frames:
        if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
            if resampler is not None:
                yield from _arrays(resampler.resample(None))
            resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        yield from _arrays(resampler.resample(frame))
    if resampler is not None:
        yield from _arrays(resampler.resample(None))


def _arrays(frames: Iterable[Any]) -> Iterator[Clip]:
    return (frame.to_ndarray()[0] for frame in frames)

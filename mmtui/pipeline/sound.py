"""Bytes of an audio file -> the first 15 s, as mono float32 at 16 kHz."""

from typing import BinaryIO

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

    Raises InputError for what has no sound or is damaged at its beginning.
    """
    limit = int(LIMIT_S * RATE)
    pieces: list[Clip] = []
    length = 0
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
    try:
        with av.open(file, options=options, **_LENIENT) as container:
            if not container.streams.audio:
                raise InputError("there is no sound in this file")
            try:
                for frame in container.decode(container.streams.audio[0]):
                    for resampled in resampler.resample(frame):
                        pieces.append(resampled.to_ndarray()[0])
                        length += len(pieces[-1])
                    if length >= limit:
                        break
            except FFmpegError:
                if not length:  # a recording that was cut off is as good as what it holds
                    raise
            pieces.extend(rest.to_ndarray()[0] for rest in resampler.resample(None))
    except (FFmpegError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            "this is not a recording that mmtui can read",
            "wav, flac, mp3, m4a, ogg, opus, webm and other common formats work",
        ) from error
    clip = np.concatenate([*pieces, np.zeros(0, np.float32)])[:limit]
    if not len(clip):
        raise InputError("the recording is empty")
    clean: Clip = np.clip(np.nan_to_num(clip), -1, 1)
    return clean

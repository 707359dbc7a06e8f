"""Decoding of whole sound files, to play them or to store them in another format."""

import io
import wave
from collections.abc import Iterator
from typing import BinaryIO

import av

from mmtui.errors import InputError
from mmtui.pipeline.speech.sound import MIN_RATE, decode_frames, open_sound, select_track

MAX_S = 3600.0  # what follows is not decoded
PCM_RATE = 24_000  # Hz, of samples without a header in replies of audio models
SAMPLE_BYTES = 2
_RATES = range(8_000, 48_001)  # Hz, that are played as they are
_SIGNATURES = {
    b"RIFF": "wav",
    b"ID3": "mp3",
    b"\xff\xfb": "mp3",
    b"\xff\xf3": "mp3",
    b"\xff\xf2": "mp3",
    b"\xff\xf1": "aac",
    b"\xff\xf9": "aac",
    b"OggS": "ogg",
    b"fLaC": "flac",
    b"\x1aE\xdf\xa3": "webm",
}


def find_format(data: bytes) -> str:
    """Return the format of a sound file as a suffix, such as "mp3"; "" if it has no signature."""
    if data[4:8] == b"ftyp":
        return "m4a"
    return next((name for start, name in _SIGNATURES.items() if data.startswith(start)), "")


def add_header(samples: bytes) -> bytes:
    """Return a WAV file with mono 16-bit samples at `PCM_RATE`."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(PCM_RATE)
        file.writeframes(samples[: len(samples) // SAMPLE_BYTES * SAMPLE_BYTES])
    return stream.getvalue()


def find_rate(file: BinaryIO) -> int:
    """Return the rate in Hz at which a sound is best played, and rewind the file.

    Raises:
        UnsupportedAudioError: The file is not a sound file.
        InputError: The file has no sound.
    """
    with open_sound(file) as container:
        if not (tracks := container.streams.audio):
            raise InputError("there is no sound in this file")
        rate = tracks[0].rate or PCM_RATE
    file.seek(0)
    return rate if rate in _RATES else PCM_RATE


def decode_samples(file: BinaryIO, rate: int) -> Iterator[bytes]:
    """Yield a sound file in blocks of mono 16-bit samples, up to an hour.

    Of several tracks, the one that is transcribed is used.

    Args:
        file: The file, at its start.
        rate: Samples per second.

    Raises:
        UnsupportedAudioError: The file is not a sound file.
        InputError: The file has no sound.
    """
    remaining = int(MAX_S * rate)
    with open_sound(file) as container:
        if not (tracks := container.streams.audio):
            raise InputError("there is no sound in this file")
        track = tracks[0]
        if len(tracks) > 1:
            track, _ = select_track(container, list(tracks))
            container.seek(0)
        resampler: av.AudioResampler | None = None
        kind: tuple[str, str, int] | None = None
        for frame in decode_frames(container, track):
            if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
                if frame.sample_rate < MIN_RATE:
                    raise InputError(f"a sound at {frame.sample_rate} Hz can't be played")
                if resampler is not None:
                    yield from _to_blocks(resampler.resample(None))
                resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            assert resampler is not None
            for block in _to_blocks(resampler.resample(frame)):
                yield block[: remaining * SAMPLE_BYTES]
                remaining -= len(block) // SAMPLE_BYTES
            if remaining <= 0:
                return
        if resampler is not None:
            yield from _to_blocks(resampler.resample(None))


def measure_seconds(file: BinaryIO) -> float:
    """Return the length of a sound file in seconds, by decoding it.

    Raises:
        UnsupportedAudioError: The file is not a sound file.
        InputError: The file has no sound.
    """
    rate = find_rate(file)
    size = sum(len(block) for block in decode_samples(file, rate))
    if not size:
        raise InputError("the sound is empty")
    return size / SAMPLE_BYTES / rate


def _to_blocks(frames: "list[av.AudioFrame]") -> Iterator[bytes]:
    for frame in frames:
        yield frame.to_ndarray().tobytes()

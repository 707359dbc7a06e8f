"""Sound files in many formats."""

import io

import av
import numpy as np
from av.stream import Disposition

from mmtui.pipeline.speech.clip import RATE


def make_tone(seconds: float, rate: int, channels: int, hertz: float = 440) -> np.ndarray:
    sine = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.repeat(sine.astype(np.float32)[None], channels, 0)


def encode(
    sound: np.ndarray, rate: int, container: str, codec: str, layout: str | None = None
) -> bytes:
    file = io.BytesIO()
    layout = layout or ("stereo" if len(sound) == 2 else "mono")
    with av.open(file, "w", format=container) as output:
        options = {"strict": "experimental"} if codec == "vorbis" else {}
        stream = output.add_stream(codec, rate=rate, layout=layout, options=options)
        frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            stream.format, layout, rate, frame_size=stream.frame_size or 1024
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return file.getvalue()


def encode_tracks(*sounds: np.ndarray, default: int | None = None, language: str = "") -> bytes:
    """Encode sounds as the tracks of an mkv file."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        streams = [output.add_stream("pcm_s16le", rate=RATE, layout="mono") for _ in sounds]
        for number, stream in enumerate(streams):
            stream.disposition = Disposition.default if number == default else Disposition(0)
            if language:
                stream.metadata["language"] = language
        for stream, sound in zip(streams, sounds, strict=True):
            samples = (sound * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = RATE
            resampler = av.AudioResampler("s16", "mono", RATE, frame_size=4096)
            for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                output.mux(stream.encode(piece))
            output.mux(stream.encode(None))
    return file.getvalue()

"""Recordings of every kind -> 16 kHz mono, the first 15 s."""

import io
import time
import wave

import av
import numpy as np
import pytest

from mmtui.errors import InputError
from mmtui.pipeline.sound import RATE, decode


def tone(seconds: float, rate: int, channels: int, hertz: float = 440) -> np.ndarray:
    sine = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.repeat(sine.astype(np.float32)[None], channels, 0)


def encoded(sound: np.ndarray, rate: int, container: str, codec: str) -> bytes:
    file = io.BytesIO()
    layout = "stereo" if len(sound) == 2 else "mono"
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


def wav_header(size: int, rate: int) -> bytes:
    """That of 16-bit mono with `size` bytes of samples."""
    file = io.BytesIO()
    with wave.open(file, "wb") as empty:
        empty.setparams((1, 2, rate, 0, "NONE", ""))
        empty.writeframes(b"")
    return file.getvalue()[:40] + size.to_bytes(4, "little")


KINDS = [
    ("wav", "pcm_s16le", 8000, 1),
    ("wav", "pcm_s24le", 96000, 2),
    ("wav", "pcm_f32le", 44100, 2),
    ("flac", "flac", 96000, 2),
    ("mp3", "libmp3lame", 44100, 2),
    ("mp4", "aac", 48000, 1),
    ("ogg", "vorbis", 44100, 2),
    ("ogg", "libopus", 48000, 1),
    ("webm", "libopus", 48000, 2),
]


@pytest.mark.parametrize(("container", "codec", "rate", "channels"), KINDS)
def test_formats_rates_and_channels(container, codec, rate, channels):
    clip = decode(io.BytesIO(encoded(tone(2, rate, channels), rate, container, codec)))
    assert clip.dtype == np.float32 and clip.ndim == 1
    assert abs(len(clip) / RATE - 2) < 0.1
    spectrum = np.abs(np.fft.rfft(clip))
    assert abs(spectrum.argmax() * RATE / len(clip) - 440) < 2
    assert 0.2 < np.abs(clip).max() <= 1


def test_only_the_first_15_seconds_of_hours():
    rate, hours = 8000, 3
    samples = hours * 3600 * rate
    header = wav_header(2 * samples, rate)

    class Endless(io.BytesIO):
        """A three-hour wav that counts what is read of it."""

        def __init__(self) -> None:
            super().__init__(header + bytes(2 * samples))
            self.taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    file = Endless()
    began = time.perf_counter()
    clip = decode(file)
    assert len(clip) == 15 * RATE
    assert file.taken < 2_000_000
    assert time.perf_counter() - began < 5


def test_tags_that_are_not_utf8_do_no_harm():
    title = b"caf\xe9\0"
    info = b"INFOINAM" + len(title).to_bytes(4, "little") + title + b"\0"
    chunk = b"LIST" + len(info).to_bytes(4, "little") + info
    header, samples = wav_header(32_000, RATE), bytes(range(1, 201)) * 160
    clip = decode(io.BytesIO(header[:36] + chunk + header[36:] + samples))
    assert len(clip) == RATE


@pytest.mark.parametrize(
    ("container", "codec"), [("mp3", "libmp3lame"), ("mp4", "aac"), ("adts", "aac")]
)
def test_damage_in_the_middle_costs_no_more_than_itself(container, codec):
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 44_100 * 8)).astype(np.float32)
    data = bytearray(encoded(sound, 44_100, container, codec))
    at = len(data) * 3 // 10
    data[at : at + 300] = bytes(range(256)) + bytes(44)
    assert len(decode(io.BytesIO(bytes(data)))) / RATE > 7


def test_a_stream_may_change_its_rate_and_channels():
    data = encoded(tone(2, 22_050, 1), 22_050, "adts", "aac")
    data += encoded(tone(2, 44_100, 2), 44_100, "adts", "aac")
    assert len(decode(io.BytesIO(data))) / RATE > 3.5


def test_a_recording_that_was_cut_off_is_what_it_holds():
    whole = encoded(tone(4, 48000, 1), 48000, "ogg", "libopus")
    clip = decode(io.BytesIO(whole[: len(whole) // 2]))
    assert 1 < len(clip) / RATE < 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a recording"),
        (b"ID3 but then text", "not a recording"),
        (wav_header(0, 16000), "recording"),
        (b"RIFF\x24\x00\x00\x00WAVE", "recording"),
    ],
)
def test_what_is_no_recording(data, says):
    with pytest.raises(InputError, match=says):
        decode(io.BytesIO(data))


def test_a_video_without_sound():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(InputError, match="no sound"):
        decode(io.BytesIO(file.getvalue()))


def test_a_playlist_opens_nothing(tmp_path):
    """HLS and concat files name others; none of them may be followed."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encoded(tone(1, 16000, 1), 16000, "wav", "pcm_s16le"))
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    for playlist in (hls, f"ffconcat version 1.0\nfile {secret}\n"):
        with pytest.raises(InputError, match="not a recording"):
            decode(io.BytesIO(playlist.encode()))


def test_random_damage_never_raises_anything_else():
    generator = np.random.default_rng(0)
    for container, codec, rate, channels in KINDS:
        good = np.frombuffer(encoded(tone(0.3, rate, channels), rate, container, codec), np.uint8)
        for _ in range(15):
            bad = good.copy()
            at = generator.integers(0, len(bad), 20)
            bad[at] = generator.integers(0, 256, 20)
            try:
                assert np.isfinite(decode(io.BytesIO(bad.tobytes()))).all()
            except InputError:
                continue

"""Decoding of whole sounds, to play them or to store them."""

import io

import numpy as np
import pytest
from sound_files import encode, encode_tracks, make_tone

from mmtui.errors import InputError
from mmtui.pipeline.input_files import read_samples
from mmtui.pipeline.speech import sound_stream

RATE = 24_000
KINDS = [
    ("wav", "pcm_s24le", 96_000, 2),
    ("flac", "flac", 96_000, 2),
    ("mp3", "libmp3lame", 44_100, 2),
    ("mp4", "aac", 48_000, 1),
    ("ogg", "libopus", 48_000, 1),
]


def decode(data: bytes) -> np.ndarray:
    blocks = sound_stream.decode_samples(io.BytesIO(data), RATE)
    return np.frombuffer(b"".join(blocks), "<i2")


@pytest.mark.parametrize(("container", "codec", "rate", "channels"), KINDS)
def test_a_sound_of_any_length_is_decoded(container, codec, rate, channels):
    data = encode(make_tone(20, rate, channels), rate, container, codec)
    samples = decode(data)
    assert len(samples) / RATE == pytest.approx(20, abs=0.2)
    assert samples.std() / 32768 == pytest.approx(0.5 / 2**0.5, abs=0.03)
    assert sound_stream.measure_seconds(io.BytesIO(data)) == pytest.approx(20, abs=0.2)
    suffix = {"mp4": "m4a"}.get(container, container)
    assert sound_stream.find_format(data) in (suffix, "")


def test_the_track_that_is_transcribed_is_played():
    silence = np.zeros((1, 16_000), np.float32)
    data = encode_tracks(silence, silence, make_tone(1, 16_000, 1, 1000))
    assert np.abs(decode(data).astype(int)).max() > 10_000


def test_a_rate_that_speakers_have_is_kept(tmp_path):
    for rate, expected in ((16_000, 16_000), (48_000, 48_000), (96_000, 24_000)):
        file = tmp_path / f"{rate}.wav"
        file.write_bytes(encode(make_tone(0.5, rate, 1), rate, "wav", "pcm_s16le"))
        found, blocks = read_samples(file)
        assert found == expected and len(b"".join(blocks)) == expected


@pytest.mark.parametrize("data", [b"RIFF....", b"no sound" * 100, b"OggS" + bytes(500)])
def test_what_is_no_sound_is_refused(data):
    with pytest.raises(InputError):
        decode(data)
    with pytest.raises(InputError):
        sound_stream.measure_seconds(io.BytesIO(data))

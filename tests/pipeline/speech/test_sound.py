"""Decoding of recordings of many formats to the first 15 s, mono at 16 kHz."""

import io
import wave

import av
import numpy as np
import pytest
from sound_files import encode, encode_tracks, make_tone

from mmtui.errors import InputError
from mmtui.pipeline.speech.clip import RATE, Clip
from mmtui.pipeline.speech.sound import decode as decode_sound
from mmtui.pipeline.speech.sound import is_silent


def decode(file: io.BytesIO) -> Clip:
    return decode_sound(file).clip


def make_wav_header(size: int, rate: int) -> bytes:
    """Make the header of a 16-bit mono file with `size` bytes of samples."""
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
    clip = decode(io.BytesIO(encode(make_tone(2, rate, channels), rate, container, codec)))
    assert clip.dtype == np.float32 and clip.ndim == 1
    assert abs(len(clip) / RATE - 2) < 0.1
    spectrum = np.abs(np.fft.rfft(clip))
    assert abs(spectrum.argmax() * RATE / len(clip) - 440) < 2
    assert 0.2 < np.abs(clip).max() <= 1


def test_only_the_first_15_seconds_of_hours_are_decoded():
    rate, hours = 8000, 3
    samples = hours * 3600 * rate
    header = make_wav_header(2 * samples, rate)

    class Endless(io.BytesIO):
        """A wav file of three hours that counts the bytes that are read."""

        def __init__(self) -> None:
            super().__init__(header + bytes(2 * samples))
            self.taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    file = Endless()
    clip = decode(file)
    assert len(clip) == 15 * RATE
    assert file.taken < 2_000_000


def test_tags_that_are_not_utf8_are_ignored():
    title = b"caf\xe9\0"
    info = b"INFOINAM" + len(title).to_bytes(4, "little") + title + b"\0"
    chunk = b"LIST" + len(info).to_bytes(4, "little") + info
    header, samples = make_wav_header(32_000, RATE), bytes(range(1, 201)) * 160
    clip = decode(io.BytesIO(header[:36] + chunk + header[36:] + samples))
    assert len(clip) == RATE


@pytest.mark.parametrize(
    ("container", "codec"), [("mp3", "libmp3lame"), ("mp4", "aac"), ("adts", "aac")]
)
def test_damaged_packets_are_skipped(container, codec):
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 44_100 * 8)).astype(np.float32)
    data = bytearray(encode(sound, 44_100, container, codec))
    at = len(data) * 3 // 10
    data[at : at + 300] = bytes(range(256)) + bytes(44)
    assert len(decode(io.BytesIO(bytes(data)))) / RATE > 7


def find_frequency(clip: Clip) -> float:
    """Return the strongest frequency in Hz."""
    return float(np.abs(np.fft.rfft(clip)).argmax() * RATE / len(clip))


def test_channels_that_cancel_out_are_not_mixed():
    left = make_tone(1, RATE, 1)
    for right in (-left, -0.9 * left):
        sound = np.concatenate([left, right])
        clip = decode(io.BytesIO(encode(sound, RATE, "wav", "pcm_s16le")))
        assert np.sqrt(np.square(clip).mean()) > 0.3


def test_different_channels_are_mixed():
    sound = np.concatenate([make_tone(1, RATE, 1, 440), make_tone(1, RATE, 1, 1000)])
    clip = decode(io.BytesIO(encode(sound, RATE, "wav", "pcm_s16le")))
    spectrum = np.abs(np.fft.rfft(clip))
    assert spectrum[440] > 1000 and spectrum[1000] > 1000


def test_the_centre_of_surround_sound_is_used():
    music, voice = make_tone(1, RATE, 6, 440), make_tone(1, RATE, 1, 1000) / 4
    music[2] = voice[0]  # FL FR FC LFE BL BR
    clip = decode(io.BytesIO(encode(music, RATE, "wav", "pcm_s16le", "5.1")))
    assert find_frequency(clip) == 1000
    music[2] = 0  # a film with a silent centre channel
    assert find_frequency(decode(io.BytesIO(encode(music, RATE, "wav", "pcm_s16le", "5.1")))) == 440


def test_one_channel_of_many_is_audible():
    for channels in (8, 16):
        sound = np.zeros((RATE, channels), np.float32)
        sound[:, 5] = make_tone(1, RATE, 1)[0]
        file = io.BytesIO()
        with wave.open(file, "wb") as output:
            output.setparams((channels, 2, RATE, 0, "NONE", ""))
            output.writeframes((sound * 32767).astype("<i2").tobytes())
        clip = decode(io.BytesIO(file.getvalue()))
        assert find_frequency(clip) == 440 and not is_silent(clip)


def test_the_default_track_is_used():
    data = encode_tracks(
        make_tone(1, RATE, 1, 440), make_tone(1, RATE, 1, 1000), default=1, language="eng"
    )
    sound = decode_sound(io.BytesIO(data))
    assert find_frequency(sound.clip) == 1000
    assert sound.notes == ("track 2 of 2 (eng) is used",)


def test_a_silent_default_track_is_skipped():
    silence = np.zeros((1, RATE), np.float32)
    for default in (None, 0, 1):
        data = encode_tracks(silence, silence, make_tone(1, RATE, 1, 1000), default=default)
        sound = decode_sound(io.BytesIO(data))
        assert find_frequency(sound.clip) == 1000
        assert sound.notes == ("track 3 of 3 is used",)
    assert is_silent(decode(io.BytesIO(encode_tracks(silence, silence))))


def test_a_long_recording_has_a_note_about_its_length():
    def notes(seconds: float) -> tuple[str, ...]:
        data = encode(make_tone(seconds, 8000, 1), 8000, "wav", "pcm_s16le")
        return decode_sound(io.BytesIO(data)).notes

    assert notes(14.9) == notes(15) == notes(15.1) == ()
    assert notes(40) == ("only the first 15 s of 40 s are transcribed",)
    assert notes(15.5) == ("only the first 15 s of 15.5 s are transcribed",)
    assert notes(125) == ("only the first 15 s of 2 min 05 s are transcribed",)


def test_a_wrong_length_in_the_header_is_not_reported():
    samples = encode(make_tone(20, RATE, 1), RATE, "wav", "pcm_s16le")
    samples = samples[samples.index(b"data") + 8 :]
    for size in (len(samples) * 100, 0xFFFFFFFF, 0):
        sound = decode_sound(io.BytesIO(make_wav_header(size, RATE) + samples))
        assert len(sound.clip) == 15 * RATE
        assert sound.notes in (
            ("only the first 15 s of 20 s are transcribed",),
            ("only the first 15 s are transcribed",),
        )


def test_a_large_picture_in_the_tags_of_an_mp3_is_ignored():
    mp3 = encode(make_tone(2, 44_100, 1), 44_100, "mp3", "libmp3lame")
    frame = b"\0image/png\0\3\0" + bytes(3_000_000)
    body = b"APIC" + len(frame).to_bytes(4) + b"\0\0" + frame
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    clip = decode(io.BytesIO(b"ID3\3\0\0" + size + body + mp3))
    assert abs(find_frequency(clip) - 440) < 2


@pytest.mark.parametrize(("codec", "rate"), [("pcm_u8", 8000), ("pcm_s24le", 96_000)])
def test_wav_of_8_and_24_bits_is_decoded(codec, rate):
    assert (
        abs(
            find_frequency(decode(io.BytesIO(encode(make_tone(1, rate, 1), rate, "wav", codec))))
            - 440
        )
        < 2
    )


def test_invalid_rates_and_channels_are_refused():
    good = encode(make_tone(1, RATE, 1), RATE, "wav", "pcm_s16le")
    at = good.index(b"fmt ") + 8
    for offset, value in ((4, 1), (4, 0), (4, 0xFFFFFFFF), (2, 0), (2, 0xFFFF)):
        width = 4 if offset == 4 else 2
        bad = good[: at + offset] + value.to_bytes(width, "little") + good[at + offset + width :]
        try:
            assert np.isfinite(decode(io.BytesIO(bad))).all()
        except InputError as error:
            assert "recording" in str(error)


def test_a_stream_may_change_its_rate_and_channels():
    data = encode(make_tone(2, 22_050, 1), 22_050, "adts", "aac")
    data += encode(make_tone(2, 44_100, 2), 44_100, "adts", "aac")
    assert len(decode(io.BytesIO(data))) / RATE > 3.5


def test_the_existing_part_of_a_truncated_recording_is_decoded():
    complete = encode(make_tone(4, 48000, 1), 48000, "ogg", "libopus")
    clip = decode(io.BytesIO(complete[: len(complete) // 2]))
    assert 1 < len(clip) / RATE < 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a recording"),
        (b"ID3 but then text", "not a recording"),
        (make_wav_header(0, 16000), "recording"),
        (b"RIFF\x24\x00\x00\x00WAVE", "recording"),
    ],
)
def test_files_that_are_not_recordings_are_refused(data, message):
    with pytest.raises(InputError, match=message):
        decode(io.BytesIO(data))


def test_a_video_without_sound_is_refused():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(InputError, match="no sound"):
        decode(io.BytesIO(file.getvalue()))


def test_a_playlist_does_not_open_other_files(tmp_path):
    """HLS and concat files refer to other files, which must not be opened."""
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(make_tone(1, 16000, 1), 16000, "wav", "pcm_s16le"))
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    for playlist in (hls, f"ffconcat version 1.0\nfile {secret}\n"):
        with pytest.raises(InputError, match="not a recording"):
            decode(io.BytesIO(playlist.encode()))


def test_random_damage_raises_only_input_errors():
    generator = np.random.default_rng(0)
    for container, codec, rate, channels in KINDS:
        good = np.frombuffer(
            encode(make_tone(0.3, rate, channels), rate, container, codec), np.uint8
        )
        for _ in range(15):
            bad = good.copy()
            at = generator.integers(0, len(bad), 20)
            bad[at] = generator.integers(0, 256, 20)
            try:
                assert np.isfinite(decode(io.BytesIO(bad.tobytes()))).all()
            except InputError:
                continue

"""Bytes of an audio file -> the first 15 s, as mono float32 at 16 kHz."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, BinaryIO

import av
import av.logging
import numpy as np
from av.error import FFmpegError
from av.stream import Disposition
from numpy.typing import NDArray

from mmtui.errors import InputError

RATE = 16_000  # Hz, what Whisper hears
LIMIT_S = 15.0
# A clip whose loudest 50 ms are quieter than this is silent: -60 dB of full scale, the level of
# a quiet room on a muted microphone.
SILENCE_RMS = 1e-3
# Channels whose mix has less than this share of their energy cancel each other out.
_CANCELLED = 0.1
# A centre channel with this share of the loudest channel's energy is taken for the voice.
_CENTRE = 0.01
_LOWEST_RATE = 1000  # Hz; below it there is no voice, and resampling takes ages
_TOLERANCE_S = 0.25  # a file that is this much longer than the limit is still heard as a whole
# Containers that hold their sound themselves: no playlists, which name other files and hosts.
_FORMATS = "wav,w64,aiff,flac,mp3,mov,mp4,m4a,ogg,matroska,webm,aac,amr,caf,au,asf,avi,mpegts"

av.logging.set_level(av.logging.PANIC)  # what a decoder thinks of a damaged file is not news
# Tags in other encodings than UTF-8 are no reason to refuse a recording. Since 19, PyAV agrees.
_LENIENT = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}

Clip = NDArray[np.float32]


class UnsupportedAudioError(InputError):
    """The bytes are in no audio format that we know."""


@dataclass(frozen=True, eq=False)
class Sound:
    """The beginning of a recording.

    Attributes:
        clip: (samples,) in [-1, 1], mono at 16 kHz, at most 15 s.
        notes: What a person should know about it, such as that the rest is not heard.
    """

    clip: Clip
    notes: tuple[str, ...] = ()


def decode(file: BinaryIO) -> Sound:
    """Decode the first 15 s of a file, and no more of it.

    Of several tracks the default one is heard, or else the first that is not silent. What is
    damaged is left out, as a player would.

    Raises:
        UnsupportedAudioError: It is no recording.
        InputError: It holds no sound.
    """
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
    try:
        with av.open(file, options=options, **_LENIENT) as container:
            if not (tracks := list(container.streams.audio)):
                raise InputError("there is no sound in this file")
            track, pieces = _first_heard(container, tracks)
            overrun = sum(piece.shape[1] for _, piece in pieces) / RATE - LIMIT_S
            notes = []
            if overrun > _TOLERANCE_S:
                notes.append(_length_note(_duration(container, track)))
            if len(tracks) > 1:
                notes.append(_track_note(track, tracks))
    except (FFmpegError, ValueError, UnicodeDecodeError) as error:
        raise UnsupportedAudioError(
            "this is not a recording that mmtui can read",
            "wav, flac, mp3, m4a, ogg, opus, webm and other common formats work",
        ) from error
    clip = _mono(pieces)[: int(LIMIT_S * RATE)]
    if not len(clip):
        raise InputError("the recording is empty")
    return Sound(clip, tuple(notes))


def convert_samples(samples: NDArray[np.float32], rate: int) -> Sound:
    """Take sound that is decoded already.

    Args:
        samples: (samples,) or (channels, samples), in [-1, 1].
        rate: Samples per second.

    Raises:
        InputError: The array has another shape, or holds no sound.
    """
    channels = np.atleast_2d(np.asarray(samples, np.float32))
    if channels.ndim != 2 or not channels.size or rate < _LOWEST_RATE:
        raise InputError(f"an array {channels.shape} at {rate} Hz is no recording")
    channels = channels[:, : int((LIMIT_S + 1) * rate)]
    mono = _one_channel(("",) * len(channels), np.nan_to_num(channels))
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), "flt", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    resampled = [*resampler.resample(frame), *resampler.resample(None)]
    clip = np.concatenate([_channels(piece)[0] for piece in resampled])
    is_longer = np.asarray(samples).shape[-1] > (LIMIT_S + _TOLERANCE_S) * rate
    notes = (_length_note(np.asarray(samples).shape[-1] / rate),) if is_longer else ()
    return Sound(np.clip(clip[: int(LIMIT_S * RATE)], -1, 1), notes)


def is_silent(clip: Clip) -> bool:
    if not len(clip):
        return True
    window = RATE // 20
    padded = np.pad(clip, (0, -len(clip) % window)).reshape(-1, window)
    loudest = np.sqrt(np.square(padded.astype(np.float64)).mean(axis=1)).max()
    return bool(loudest < SILENCE_RMS)


# A piece of sound, (channels, samples), and the names of its channels.
_Piece = tuple[tuple[str, ...], Clip]


def _first_heard(container: Any, tracks: list[Any]) -> tuple[Any, list[_Piece]]:
    """The track to hear, and its beginning. Raises FFmpegError if no track can be decoded."""
    first: tuple[Any, list[_Piece]] | None = None
    failed: FFmpegError | None = None
    for track in sorted(tracks, key=lambda track: not track.disposition & Disposition.default):
        try:
            if first or failed:
                container.seek(0)
            pieces = list(_pieces(container, track))
        except FFmpegError as error:
            failed = failed or error
            continue
        if not is_silent(_mono(pieces)):
            return track, pieces
        first = first or (track, pieces)
    if first is None:
        assert failed is not None
        raise failed
    return first


def _pieces(container: Any, track: Any) -> Iterator[_Piece]:
    """The sound of a track at 16 kHz, until there is more than we hear of it."""
    layout: Any = None
    kind: tuple[str, str, int] | None = None
    resampler: Any = None
    left = int((LIMIT_S + 2 * _TOLERANCE_S) * RATE)
    for frame in _frames(container, track):
        resampled = []
        if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
            if frame.sample_rate < _LOWEST_RATE:
                raise InputError(f"a recording at {frame.sample_rate} Hz holds no voice")
            if resampler is not None:
                resampled += [(layout, piece) for piece in resampler.resample(None)]
            layout = tuple(channel.name for channel in frame.layout.channels)
            resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=RATE)
        resampled += [(layout, piece) for piece in resampler.resample(frame)]
        for names, piece in resampled:
            yield names, _channels(piece)
            left -= piece.samples
        if left <= 0:
            return
    if resampler is not None:
        for piece in resampler.resample(None):
            yield layout, _channels(piece)


def _channels(frame: Any) -> Clip:
    samples: Clip = frame.to_ndarray().reshape(frame.samples, -1).T
    return samples


def _frames(container: Any, track: Any) -> Iterator[Any]:
    """Raises FFmpegError if nothing of the track can be decoded."""
    damaged: FFmpegError | None = None
    found = False
    try:
        for packet in container.demux(track):
            try:
                frames = packet.decode()
            except FFmpegError as error:
                damaged = error
                continue
            for frame in frames:
                found = True
                yield frame
    except FFmpegError as error:  # of the container
        damaged = error
    if damaged is not None and not found:
        raise damaged


def _mono(pieces: list[_Piece]) -> Clip:
    """One channel in [-1, 1]; the layout may change on the way."""
    parts = [np.zeros(0, np.float32)]
    for names, group in groupby(pieces, key=lambda piece: piece[0]):
        channels = np.concatenate([piece for _, piece in group], axis=1)
        parts.append(_one_channel(names, np.nan_to_num(channels)))
    return np.clip(np.concatenate(parts), -1, 1)


def _one_channel(names: tuple[str, ...], channels: Clip) -> Clip:
    """The centre, where films have the voice; else the mix, unless its channels cancel out."""
    if len(channels) > 1 and "LFE" in names:
        channels = np.delete(channels, names.index("LFE"), axis=0)
        names = tuple(name for name in names if name != "LFE")
    energies = np.square(channels, dtype=np.float64).mean(axis=1)
    mix: Clip = channels.mean(axis=0)
    is_cancelled = np.square(mix, dtype=np.float64).mean() < _CANCELLED * energies.mean()
    chosen = int(energies.argmax()) if is_cancelled else None
    if "FC" in names and energies[names.index("FC")] > _CENTRE * energies.max():
        chosen = names.index("FC")
    return mix if chosen is None else channels[chosen : chosen + 1].reshape(-1)


def _duration(container: Any, track: Any) -> float | None:
    """Seconds of a whole file, where it says so and is to be believed."""
    if not container.duration or container.format.name == "aac":  # of which ffmpeg guesses it
        return None
    duration = container.duration / av.time_base
    if track.codec_context.name.startswith("pcm_") and track.codec_context.bit_rate:
        # The header of a wav may promise more than there is.
        duration = min(duration, container.size * 8 / track.codec_context.bit_rate)
    return duration if duration > LIMIT_S else None


def _length_note(duration: float | None) -> str:
    note = f"only the first {LIMIT_S:.0f} s are heard"
    if duration is None:
        return note
    minutes, seconds = divmod(round(duration), 60)
    length = f"{minutes} min {seconds:02} s" if duration >= 120 else f"{duration:.1f} s"
    return f"{note} of {length.replace('.0 s', ' s')}"


def _track_note(track: Any, tracks: list[Any]) -> str:
    name = track.metadata.get("title") or track.metadata.get("language", "und")
    named = "" if name == "und" else f" ({name})"
    return f"track {tracks.index(track) + 1} of {len(tracks)}{named} is heard"

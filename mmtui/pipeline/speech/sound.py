"""Decoding of audio files: the first 15 s, as mono float32 at 16 kHz."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from mmtui.pipeline.speech.clip import RATE, Clip

LIMIT_S = 15.0
# RMS of the loudest 50 ms below which a clip is silent: -60 dB of full scale, the level of a muted
# microphone in a quiet room.
SILENCE_RMS = 1e-3
# Channels cancel each other out if their mix has less than this share of their energy.
_CANCELLATION = 0.1
# The centre channel is used if it has at least this share of the loudest channel's energy.
_CENTRE_ENERGY = 0.01
MIN_RATE = 1000  # Hz; a lower rate can't carry a voice, and resampling it is slow
_TOLERANCE_S = 0.25  # a file that exceeds the limit by less than this gets no note
# Containers that hold their own sound: no playlists, which refer to other files and hosts.
_FORMATS = "wav,w64,aiff,flac,mp3,mov,mp4,m4a,ogg,matroska,webm,aac,amr,caf,au,asf,avi,mpegts"

av.logging.set_level(av.logging.PANIC)  # decoders print to stderr otherwise
# Accept tags in other encodings than UTF-8, as PyAV does since version 19.
_LENIENT = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


class UnsupportedAudioError(InputError):
    """The bytes are not in a supported audio format."""


@dataclass(frozen=True, eq=False)
class Sound:
    """The first 15 s of a recording.

    Attributes:
        clip: The samples (samples,) in [-1, 1], mono at 16 kHz, at most 15 s.
        notes: Notes for the user, such as that the rest is not used.
    """

    clip: Clip
    notes: tuple[str, ...] = ()


def decode(file: BinaryIO) -> Sound:
    """Decode the first 15 s of a file.

    Of several tracks, the default one is used, or the first one that is not silent. Damaged packets
    are skipped, as in a media player.

    Raises:
        UnsupportedAudioError: The file is not a recording.
        InputError: The file has no sound.
    """
    with open_sound(file) as container:
        if not (tracks := list(container.streams.audio)):
            raise InputError("there is no sound in this file")
        track, pieces = select_track(container, tracks)
        overrun = sum(piece.shape[1] for _, piece in pieces) / RATE - LIMIT_S
        notes = []
        if overrun > _TOLERANCE_S:
            notes.append(_format_length_note(_get_duration(container, track)))
        if len(tracks) > 1:
            notes.append(_format_track_note(track, tracks))
    clip = _to_mono(pieces)[: int(LIMIT_S * RATE)]
    if not len(clip):
        raise InputError("the recording is empty")
    return Sound(clip, tuple(notes))


@contextmanager
def open_sound(file: BinaryIO) -> Iterator[Any]:
    """Open a sound file.

    Yields:
        The container of PyAV.

    Raises:
        UnsupportedAudioError: The file is not a sound file, or can't be decoded in the context.
    """
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
    try:
        with av.open(file, options=options, **_LENIENT) as container:
            yield container
    except (FFmpegError, ValueError, UnicodeDecodeError) as error:
        raise UnsupportedAudioError(
            "this is not a recording that mmtui can read",
            "wav, flac, mp3, m4a, ogg, opus, webm and other common formats work",
        ) from error


def convert_samples(samples: NDArray[np.float32], rate: int) -> Sound:
    """Convert an array of samples to mono at 16 kHz, and cut it after 15 s.

    Args:
        samples: Samples in [-1, 1], (samples,) or (channels, samples).
        rate: Samples per second.

    Raises:
        InputError: The array has another shape or no samples, or the rate is too low.
    """
    channels = np.atleast_2d(np.asarray(samples, np.float32))
    if channels.ndim != 2 or not channels.size or rate < MIN_RATE:
        raise InputError(f"an array {channels.shape} at {rate} Hz is no recording")
    channels = channels[:, : int((LIMIT_S + 1) * rate)]
    mono = _mix(("",) * len(channels), np.nan_to_num(channels))
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), "flt", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    resampled = [*resampler.resample(frame), *resampler.resample(None)]
    clip = np.concatenate([_to_array(piece)[0] for piece in resampled])
    is_longer = np.asarray(samples).shape[-1] > (LIMIT_S + _TOLERANCE_S) * rate
    notes = (_format_length_note(np.asarray(samples).shape[-1] / rate),) if is_longer else ()
    return Sound(np.clip(clip[: int(LIMIT_S * RATE)], -1, 1), notes)


def is_silent(clip: Clip) -> bool:
    """Return whether the loudest 50 ms of a clip are quieter than SILENCE_RMS."""
    if not len(clip):
        return True
    window = RATE // 20
    padded = np.pad(clip, (0, -len(clip) % window)).reshape(-1, window)
    loudest = np.sqrt(np.square(padded.astype(np.float64)).mean(axis=1)).max()
    return bool(loudest < SILENCE_RMS)


# The names of the channels, and their samples (channels, samples).
_Piece = tuple[tuple[str, ...], Clip]


def select_track(container: Any, tracks: list[Any]) -> tuple[Any, list[_Piece]]:
    """Select a track, and return it with its first seconds.

    Raises:
        FFmpegError: No track can be decoded.
    """
    first: tuple[Any, list[_Piece]] | None = None
    failed: FFmpegError | None = None
    for track in sorted(tracks, key=lambda track: not track.disposition & Disposition.default):
        try:
            if first or failed:
                container.seek(0)
            pieces = list(_resample_track(container, track))
        except FFmpegError as error:
            failed = failed or error
            continue
        if not is_silent(_to_mono(pieces)):
            return track, pieces
        first = first or (track, pieces)
    if first is None:
        assert failed is not None
        raise failed
    return first


def _resample_track(container: Any, track: Any) -> Iterator[_Piece]:
    """Yield a track in pieces at 16 kHz, until they exceed the limit of 15 s."""
    layout: Any = None
    kind: tuple[str, str, int] | None = None
    resampler: Any = None
    remaining = int((LIMIT_S + 2 * _TOLERANCE_S) * RATE)
    for frame in decode_frames(container, track):
        resampled = []
        if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
            if frame.sample_rate < MIN_RATE:
                raise InputError(f"a recording at {frame.sample_rate} Hz can't carry a voice")
            if resampler is not None:
                resampled += [(layout, piece) for piece in resampler.resample(None)]
            layout = tuple(channel.name for channel in frame.layout.channels)
            resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=RATE)
        resampled += [(layout, piece) for piece in resampler.resample(frame)]
        for names, piece in resampled:
            yield names, _to_array(piece)
            remaining -= piece.samples
        if remaining <= 0:
            return
    if resampler is not None:
        for piece in resampler.resample(None):
            yield layout, _to_array(piece)


def _to_array(frame: Any) -> Clip:
    """Return the samples of a frame (channels, samples)."""
    samples: Clip = frame.to_ndarray().reshape(frame.samples, -1).T
    return samples


def decode_frames(container: Any, track: Any) -> Iterator[Any]:
    """Yield the frames of a track, and skip damaged packets.

    Raises:
        FFmpegError: No frame can be decoded.
    """
    damaged: FFmpegError | None = None
    has_frames = False
    try:
        for packet in container.demux(track):
            try:
                frames = packet.decode()
            except FFmpegError as error:
                damaged = error
                continue
            for frame in frames:
                has_frames = True
                yield frame
    except FFmpegError as error:  # the container is damaged
        damaged = error
    if damaged is not None and not has_frames:
        raise damaged


def _to_mono(pieces: list[_Piece]) -> Clip:
    """Join the pieces of a track, whose channels may change, to one channel in [-1, 1]."""
    parts = [np.zeros(0, np.float32)]
    for names, group in groupby(pieces, key=lambda piece: piece[0]):
        channels = np.concatenate([piece for _, piece in group], axis=1)
        parts.append(_mix(names, np.nan_to_num(channels)))
    return np.clip(np.concatenate(parts), -1, 1)


def _mix(names: tuple[str, ...], channels: Clip) -> Clip:
    """Mix channels down to one.

    The centre channel is used alone, because films have the voice there. If the channels cancel
    each other out, the loudest is used.

    Args:
        names: The names of the channels, such as "FC" for the centre.
        channels: The samples (channels, samples).
    """
    if len(channels) > 1 and "LFE" in names:
        channels = np.delete(channels, names.index("LFE"), axis=0)
        names = tuple(name for name in names if name != "LFE")
    energies = np.square(channels, dtype=np.float64).mean(axis=1)
    mix: Clip = channels.mean(axis=0)
    is_cancelled = np.square(mix, dtype=np.float64).mean() < _CANCELLATION * energies.mean()
    chosen = int(energies.argmax()) if is_cancelled else None
    if "FC" in names and energies[names.index("FC")] > _CENTRE_ENERGY * energies.max():
        chosen = names.index("FC")
    return mix if chosen is None else channels[chosen : chosen + 1].reshape(-1)


def _get_duration(container: Any, track: Any) -> float | None:
    """Return the duration of a file in seconds, or None if it is unknown."""
    if not container.duration or container.format.name == "aac":  # ffmpeg estimates it
        return None
    duration = container.duration / av.time_base
    if track.codec_context.name.startswith("pcm_") and track.codec_context.bit_rate:
        # The header of a wav file that is cut off has the original duration.
        duration = min(duration, container.size * 8 / track.codec_context.bit_rate)
    return duration if duration > LIMIT_S else None


def _format_length_note(duration: float | None) -> str:
    if duration is None:
        return f"only the first {LIMIT_S:.0f} s are transcribed"
    minutes, seconds = divmod(round(duration), 60)
    length = f"{minutes} min {seconds:02} s" if duration >= 120 else f"{duration:.1f} s"
    return f"only the first {LIMIT_S:.0f} s of {length.replace('.0 s', ' s')} are transcribed"


def _format_track_note(track: Any, tracks: list[Any]) -> str:
    name = track.metadata.get("title") or track.metadata.get("language", "und")
    named = "" if name == "und" else f" ({name})"
    return f"track {tracks.index(track) + 1} of {len(tracks)}{named} is used"

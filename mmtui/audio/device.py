"""The process that holds a sound device: `python -m mmtui.audio.device list | record | play`.

PortAudio, ALSA and JACK write to file descriptor 2, block, and may crash when a device is
unplugged. Here they do it away from the screen. stdout carries lines of JSON: {"rate": 16000},
{"devices": [...]}, {"error": ..., "hint": ...} and, of `record`, {"bytes": N} before each N bytes
of mono 16-bit samples. `play` reads a WAV file from stdin.
"""

import json
import os
import sys
from typing import Any, NoReturn

RATE = 16_000  # Hz, what Whisper hears
BLOCK_S = 0.05
NO_MICROPHONE = ("there is no microphone", "plug one in, or attach a recording with /audio")


def main() -> None:
    what, device = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    try:
        import sounddevice
    except OSError:  # PortAudio is missing
        _fail("PortAudio is not installed", "install it, as with `apt install libportaudio2`")
    try:
        if what == "list":
            _tell({"devices": [d["name"] for d in _inputs(sounddevice)]})
        elif what == "record":
            _record(sounddevice, device)
        else:
            _play(sounddevice)
    except sounddevice.PortAudioError as error:
        hint = "`mmtui doctor` lists the microphones"
        _fail(f"the sound device can't be used: {_reason(error)}", hint)


def _record(sounddevice: Any, device: str | None) -> None:
    """At 16 kHz where the device has that, else at its own rate, resampled."""
    inputs = _inputs(sounddevice)
    if not inputs:
        _fail(*NO_MICROPHONE)
    # By its number: PortAudio takes a name for a part of one, which several may have.
    number = next((d["index"] for d in inputs if d["name"] == device), None)
    if device is not None and number is None:
        _fail(f"there is no microphone {device!r}", "`mmtui doctor` lists them")
    rate = RATE
    try:
        sounddevice.check_input_settings(device=number, channels=1, samplerate=RATE)
    except sounddevice.PortAudioError:
        rate = int(sounddevice.query_devices(number, "input")["default_samplerate"])
    convert = _resampler(rate)
    with sounddevice.InputStream(
        device=number, samplerate=rate, channels=1, dtype="int16", blocksize=int(rate * BLOCK_S)
    ) as stream:
        _tell({"rate": RATE})
        try:
            while stream.active:
                block, _ = stream.read(int(rate * BLOCK_S))
                samples = convert(block)
                _tell({"bytes": len(samples)}, samples)
        except sounddevice.PortAudioError as error:
            hint = "plug it in again, or choose another one"
            _fail(f"the microphone is gone: {_reason(error)}", hint)


def _resampler(rate: int) -> Any:
    """(samples, 1) int16 at `rate` -> bytes at 16 kHz."""
    if rate == RATE:
        return lambda block: block.tobytes()
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)

    def convert(block: Any) -> bytes:
        frame = av.AudioFrame.from_ndarray(block.T.copy(), format="s16", layout="mono")
        frame.sample_rate = rate
        return b"".join(out.to_ndarray().tobytes() for out in resampler.resample(frame))

    return convert


def _play(sounddevice: Any) -> None:
    import wave

    import numpy as np

    with wave.open(sys.stdin.buffer) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        rate = file.getframerate()
    _tell({"rate": rate})
    sounddevice.play(samples, rate, blocking=True)


def _inputs(sounddevice: Any) -> list[dict[str, Any]]:
    return [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]


def _reason(error: Exception) -> str:
    """PortAudio's own words, without its error numbers."""
    return str(error).partition(" [")[0]


def _tell(line: dict[str, Any], samples: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n" + samples)
    sys.stdout.buffer.flush()


def _fail(message: str, hint: str) -> NoReturn:
    """At once: PortAudio may hang when it lets go of a device that is gone."""
    _tell({"error": message, "hint": hint})
    os._exit(3)


if __name__ == "__main__":
    main()

"""A process that uses the sound devices: `python -m mmtui.audio.device list | record | play`.

PortAudio, ALSA and JACK write to file descriptor 2, block, and may crash when a device is
unplugged. In a process of their own, they can't harm the user interface.

stdout carries messages as lines of JSON: {"rate": 16000}, {"devices": [...]} and
{"error": ..., "hint": ...}. `record` writes {"bytes": N} before each block of N bytes, which are
mono 16-bit samples. `play` reads a WAV file from stdin.
"""

import json
import os
import sys
from typing import Any, NoReturn

RATE = 16_000  # Hz, the sampling rate of Whisper
BLOCK_S = 0.05
NO_MICROPHONE = ("there is no microphone", "plug one in, or attach a recording with /audio")


def main() -> None:
    """Run the command on the command line; exit with 3 after an error."""
    command, device = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    try:
        import sounddevice
    except OSError:  # PortAudio is missing
        _fail("PortAudio is not installed", "install it, as with `apt install libportaudio2`")
    try:
        if command == "list":
            _send({"devices": [d["name"] for d in _list_inputs(sounddevice)]})
        elif command == "record":
            _record(sounddevice, device)
        else:
            _play(sounddevice)
    except sounddevice.PortAudioError as error:
        hint = "`mmtui doctor` lists the microphones"
        _fail(f"the sound device can't be used: {_strip_code(error)}", hint)


def _record(sounddevice: Any, device: str | None) -> None:
    """Record until the process is killed.

    A device that does not support 16 kHz records at its default rate, and is resampled.
    """
    inputs = _list_inputs(sounddevice)
    if not inputs:
        _fail(*NO_MICROPHONE)
    # Use the index: PortAudio also matches parts of names, which may be ambiguous.
    index = next((d["index"] for d in inputs if d["name"] == device), None)
    if device is not None and index is None:
        _fail(f"there is no microphone {device!r}", "`mmtui doctor` lists them")
    rate = RATE
    try:
        sounddevice.check_input_settings(device=index, channels=1, samplerate=RATE)
    except sounddevice.PortAudioError:
        rate = int(sounddevice.query_devices(index, "input")["default_samplerate"])
    convert = _make_resampler(rate)
    with sounddevice.InputStream(
        device=index, samplerate=rate, channels=1, dtype="int16", blocksize=int(rate * BLOCK_S)
    ) as stream:
        _send({"rate": RATE})
        try:
            while stream.active:
                block, _ = stream.read(int(rate * BLOCK_S))
                samples = convert(block)
                _send({"bytes": len(samples)}, samples)
        except sounddevice.PortAudioError as error:
            hint = "plug it in again, or choose another one"
            _fail(f"the microphone is gone: {_strip_code(error)}", hint)


def _make_resampler(rate: int) -> Any:
    """Return a function that converts blocks of int16 samples (samples, 1) to bytes at 16 kHz."""
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
    """Play the WAV file on stdin."""
    import wave

    import numpy as np

    with wave.open(sys.stdin.buffer) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        rate = file.getframerate()
    _send({"rate": rate})
    sounddevice.play(samples, rate, blocking=True)


def _list_inputs(sounddevice: Any) -> list[dict[str, Any]]:
    """List the devices that can record."""
    return [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]


def _strip_code(error: Exception) -> str:
    """Return the message of an error of PortAudio without its code."""
    return str(error).partition(" [")[0]


def _send(message: dict[str, Any], samples: bytes = b"") -> None:
    """Write a message, and the samples that follow it, to stdout."""
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n" + samples)
    sys.stdout.buffer.flush()


def _fail(message: str, hint: str) -> NoReturn:
    """Report an error and exit without cleanup: PortAudio may hang on a device that is gone."""
    _send({"error": message, "hint": hint})
    os._exit(3)


if __name__ == "__main__":
    main()

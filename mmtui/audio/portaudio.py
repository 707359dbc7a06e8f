"""What recording and playing share in the process of the sound device."""

import json
import os
import sys
from typing import Any, NoReturn

RATE = 16_000  # Hz, the sampling rate of Whisper
BLOCK_S = 0.05
NO_SPEAKER = ("there is no speaker or headphone", "plug one in")
NO_MICROPHONE = ("there is no microphone", "plug one in, or attach a recording with /audio")


def make_resampler(rate: int, new_rate: int) -> Any:
    """Return a function that resamples blocks of int16 samples (samples, 1), and returns bytes."""
    if rate == new_rate:
        return lambda block: block.tobytes()
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=new_rate)

    def convert(block: Any) -> bytes:
        frame = av.AudioFrame.from_ndarray(block.T.copy(), format="s16", layout="mono")
        frame.sample_rate = rate
        return b"".join(out.to_ndarray().tobytes() for out in resampler.resample(frame))

    return convert


def list_inputs(sounddevice: Any) -> list[dict[str, Any]]:
    """List the devices that can record."""
    return [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]


def list_outputs(sounddevice: Any) -> list[dict[str, Any]]:
    """List the devices that can play."""
    return [device for device in sounddevice.query_devices() if device["max_output_channels"] > 0]


def find_device(devices: list[dict[str, Any]], name: str | None, kind: str) -> int | None:
    """Return the index of a device, or None for the default one; exit if there is none.

    PortAudio itself also matches parts of names, which may be ambiguous.
    """
    if name is None:
        return None
    index = next((device["index"] for device in devices if device["name"] == name), None)
    if index is None:
        fail(f"there is no {kind} {name!r}", "`mmtui doctor` lists them")
    return int(index)


def strip_code(error: Exception) -> str:
    """Return the message of an error of PortAudio without its code."""
    return str(error).partition(" [")[0]


def send(message: dict[str, Any], samples: bytes = b"") -> None:
    """Write a message, and the samples that follow it, to stdout."""
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n" + samples)
    sys.stdout.buffer.flush()


def fail(message: str, hint: str) -> NoReturn:
    """Report an error and exit without cleanup: PortAudio may hang on a device that is gone."""
    send({"error": message, "hint": hint})
    os._exit(3)

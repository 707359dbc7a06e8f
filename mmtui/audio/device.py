"""A process that uses the sound devices.

`python -m mmtui.audio.device list | list-outputs | record | listen | play [NAME]`

PortAudio, ALSA and JACK write to file descriptor 2, block, and may crash when a device is
unplugged. In a process of their own, they can't harm the user interface.

stdout carries messages as lines of JSON: {"rate": 16000}, {"devices": [...]} and
{"error": ..., "hint": ...}. `record` writes {"bytes": N} before each block of N bytes, which are
mono 16-bit samples. `listen` is in `hearing.py`, `play` in
`playing.py`.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from mmtui.audio.playing import play
from mmtui.audio.portaudio import (
    BLOCK_S,
    NO_MICROPHONE,
    RATE,
    fail,
    find_device,
    list_inputs,
    list_outputs,
    make_resampler,
    send,
    strip_code,
)


def main() -> None:
    """Run the command on the command line; exit with 3 after an error."""
    command, device = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    try:
        import sounddevice
    except OSError:  # PortAudio is missing
        fail("PortAudio is not installed", "install it, as with `apt install libportaudio2`")
    try:
        if command == "list":
            send({"devices": [d["name"] for d in list_inputs(sounddevice)]})
        elif command == "list-outputs":
            send({"devices": [d["name"] for d in list_outputs(sounddevice)]})
        elif command == "record":
            _record(sounddevice, device)
        elif command == "listen":
            from mmtui.audio.hearing import listen

            listen(_open_microphone(sounddevice, device))
        else:
            play(sounddevice, device)
    except sounddevice.PortAudioError as error:
        hint = "`mmtui doctor` lists the microphones and speakers"
        fail(f"the sound device can't be used: {strip_code(error)}", hint)


def _record(sounddevice: Any, device: str | None) -> None:
    """Record until the process is killed."""
    for samples in _open_microphone(sounddevice, device, lambda: send({"rate": RATE})):
        send({"bytes": len(samples)}, samples)


def _open_microphone(
    sounddevice: Any, device: str | None, on_open: Callable[[], object] = lambda: None
) -> Iterator[bytes]:
    """Yield blocks of a microphone, without an end.

    A device that does not support 16 kHz records at its default rate, and is resampled.
    """
    inputs = list_inputs(sounddevice)
    if not inputs:
        fail(*NO_MICROPHONE)
    index = find_device(inputs, device, "microphone")
    rate = RATE
    try:
        sounddevice.check_input_settings(device=index, channels=1, samplerate=RATE)
    except sounddevice.PortAudioError:
        rate = int(sounddevice.query_devices(index, "input")["default_samplerate"])
    convert = make_resampler(rate, RATE)
    with sounddevice.InputStream(
        device=index, samplerate=rate, channels=1, dtype="int16", blocksize=int(rate * BLOCK_S)
    ) as stream:
        on_open()
        try:
            while stream.active:
                block, _ = stream.read(int(rate * BLOCK_S))
                yield convert(block)
        except sounddevice.PortAudioError as error:
            hint = "plug it in again, or choose another one"
            fail(f"the microphone is gone: {strip_code(error)}", hint)


if __name__ == "__main__":
    main()

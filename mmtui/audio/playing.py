"""Playing in the process of the sound device: `python -m mmtui.audio.device play [NAME]`.

stdin has lines of JSON: first {"rate": ..., "volume": ...}, then {"bytes": N} before each block of
N bytes, which are mono 16-bit samples, and {"pause": true | false} or {"volume": ...} at any time.
The sound ends with stdin.

stdout has {"rate": ...} when the device is open, {"played": N, "level": ...} after each block of
the device, with the number of samples so far and their peak level from 0 to 1, and {"done": true}.
"""

import json
import queue
import sys
import threading
from typing import Any

from mmtui.audio.portaudio import (
    BLOCK_S,
    NO_SPEAKER,
    fail,
    find_device,
    list_outputs,
    make_resampler,
    send,
    strip_code,
)


def play(sounddevice: Any, device: str | None) -> None:
    """Play what comes from stdin."""
    import numpy as np

    outputs = list_outputs(sounddevice)
    if not outputs:
        fail(*NO_SPEAKER)
    index = find_device(outputs, device, "speaker")
    sound = _Sound(json.loads(sys.stdin.buffer.readline()))
    rate, channels = _choose_format(sounddevice, index, sound.rate)
    convert = make_resampler(sound.rate, rate)
    threading.Thread(target=sound.read, daemon=True).start()
    played = 0
    with sounddevice.OutputStream(
        device=index, samplerate=rate, channels=channels, dtype="int16"
    ) as stream:
        send({"rate": sound.rate})
        try:
            while (block := sound.get_block()) is not None:
                samples = np.frombuffer(block, "<i2")
                scaled = np.clip(samples * sound.volume, -32768, 32767).astype(np.int16)
                converted = np.frombuffer(convert(scaled[:, None]), "<i2")
                stream.write(np.ascontiguousarray(np.repeat(converted[:, None], channels, axis=1)))
                played += len(samples)
                level = float(np.abs(samples.astype(np.int32)).max()) / 32768
                send({"played": played, "level": round(level, 4)})
        except sounddevice.PortAudioError as error:
            hint = "plug it in again, or choose another one"
            fail(f"the speaker is gone: {strip_code(error)}", hint)
    send({"done": True})


class _Sound:
    """The samples and commands from stdin."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.rate = int(first["rate"])
        self.volume = float(first["volume"])
        self._resumed = threading.Event()
        self._resumed.set()
        self._blocks: queue.Queue[bytes | None] = queue.Queue()

    def read(self) -> None:
        """Read stdin to its end, in a thread; commands take effect at once."""
        block_bytes = int(self.rate * BLOCK_S) * 2
        while line := sys.stdin.buffer.readline():
            message = json.loads(line)
            self.volume = message.get("volume", self.volume)
            if "pause" in message:
                (self._resumed.clear if message["pause"] else self._resumed.set)()
            samples = sys.stdin.buffer.read(message.get("bytes", 0))
            for start in range(0, len(samples), block_bytes):
                self._blocks.put(samples[start : start + block_bytes])
        self._resumed.set()
        self._blocks.put(None)

    def get_block(self) -> bytes | None:
        """Wait for the next samples; return None at the end."""
        block = self._blocks.get()
        self._resumed.wait()
        return block


def _choose_format(sounddevice: Any, index: int | None, rate: int) -> tuple[int, int]:
    """Return a sampling rate and a number of channels that the device supports."""
    for channels in (1, 2):
        try:
            sounddevice.check_output_settings(device=index, channels=channels, samplerate=rate)
        except sounddevice.PortAudioError:
            continue
        return rate, channels
    found = sounddevice.query_devices(index, "output")
    return int(found["default_samplerate"]), min(2, int(found["max_output_channels"]))

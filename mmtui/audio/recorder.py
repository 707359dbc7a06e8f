"""The interface of the microphone, and an implementation that runs PortAudio in a process."""

import subprocess
import threading
from typing import TYPE_CHECKING, Protocol

from mmtui.audio.listening import Listening, start_listening
from mmtui.audio.portaudio import NO_MICROPHONE, RATE
from mmtui.audio.process import TIMEOUT_S, list_devices, parse_message, start_process
from mmtui.audio.samples import SAMPLE_BYTES, to_clip
from mmtui.errors import MissingError, MmtuiError

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

LIMIT_S = 15.0
MUTED_LEVEL = 1e-4  # a recording with a lower peak level (0 to 1) comes from a muted microphone
_MAX_BYTES = int(LIMIT_S * RATE) * SAMPLE_BYTES
_LEVEL_BYTES = RATE // 10 * SAMPLE_BYTES  # the level is that of the last 0.1 seconds


class Recording(Protocol):
    """A recording, which continues until it is finished, full or failed."""

    @property
    def seconds(self) -> float:
        """The duration of the recording so far."""
        ...

    @property
    def level(self) -> float:
        """The peak level of the last 0.1 seconds, from 0 to 1."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether the limit of 15 seconds is reached."""
        ...

    @property
    def error(self) -> MmtuiError | None:
        """The reason if the recording failed or is silent, else None."""
        ...

    def finish(self) -> "Clip":
        """Stop recording and return the samples (samples,), mono float32 at 16 kHz."""
        ...


class Microphone(Protocol):
    """Records from the microphones of this machine."""

    def list_devices(self) -> list[str]:
        """List the microphones by name.

        Raises:
            MissingError: There is no microphone, or the sound system does not answer.
        """
        ...

    def record(self, device: str | None = None) -> Recording:
        """Start recording.

        Args:
            device: The name of a microphone; None selects the default one.

        Returns:
            The recording, which also reports errors of the device.
        """
        ...

    def listen(self, device: str | None = None) -> Listening:
        """Start listening without an end, for whole utterances.

        Args:
            device: The name of a microphone; None selects the default one.
        """
        ...


class SystemMicrophone:
    """Records with PortAudio; each recording is a subprocess."""

    def list_devices(self) -> list[str]:
        return list_devices("list", TIMEOUT_S, NO_MICROPHONE)

    def record(self, device: str | None = None) -> Recording:
        return _ProcessRecording(start_process("record", *([device] if device else [])))

    def listen(self, device: str | None = None) -> Listening:
        return start_listening(device)


class _ProcessRecording:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._data = bytearray()
        self._is_finished = False
        self._error: MmtuiError | None = None
        self._is_ready = threading.Event()  # set when the device records or has failed
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        return len(self._data) / SAMPLE_BYTES / RATE

    @property
    def level(self) -> float:
        return compute_peak_level(bytes(self._data[-_LEVEL_BYTES:]))

    @property
    def is_full(self) -> bool:
        return len(self._data) >= _MAX_BYTES

    @property
    def error(self) -> MmtuiError | None:
        return self._error

    def finish(self) -> "Clip":
        self._is_ready.wait(TIMEOUT_S)
        self._is_finished = True
        self._process.kill()
        self._thread.join()
        samples = bytes(self._data)
        if self._error is None and not samples:
            self._error = MissingError(
                "nothing was recorded", "wait until the level moves, then speak"
            )
        elif self._error is None and compute_peak_level(samples) < MUTED_LEVEL:
            self._error = MissingError(
                "the microphone records nothing but silence",
                "it may be muted; /microphone selects another one",
            )
            samples = b""
        return to_clip(samples)

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream
        try:
            parse_message(stream.readline())
            self._is_ready.set()
            while not self.is_full and (line := stream.readline()):
                block = stream.read(parse_message(line)["bytes"])
                self._data += block[: _MAX_BYTES - len(self._data)]
            if not self.is_full and not self._is_finished:
                self._error = MissingError(
                    "the microphone is gone", "plug it in again, or choose another one"
                )
        except MmtuiError as error:
            if not self._is_finished:
                self._error = error
        finally:
            self._is_ready.set()
            self._process.kill()
            stream.close()
            self._process.wait()


def compute_peak_level(samples: bytes) -> float:
    """Return the peak level of mono 16-bit samples, from 0 to 1."""
    import numpy as np

    values = np.frombuffer(samples[: len(samples) // SAMPLE_BYTES * SAMPLE_BYTES], "<i2")
    return float(np.abs(values.astype(np.int32)).max()) / 32768 if len(values) else 0.0

"""Microphone and speaker interfaces, and implementations in a subprocess with PortAudio."""

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from mmtui.audio.device import NO_MICROPHONE, RATE
from mmtui.errors import MissingError, MmtuiError

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip

LIMIT_S = 15.0
PATIENCE_S = 2.0  # timeout of a device; quitting waits for it
SILENT = 1e-4  # levels (0 to 1) below this mean that the microphone is muted
_BYTES = 2  # per sample
_LIMIT = int(LIMIT_S * RATE) * _BYTES
_RECENT = RATE // 10 * _BYTES  # what the level is of


class Recording(Protocol):
    """A recording in progress, until it is finished, full or failed."""

    @property
    def seconds(self) -> float: ...

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
        """Why the recording failed or is silent; None if it is neither."""
        ...

    def finish(self) -> "Clip":
        """Stop recording and return the samples, mono at 16 kHz."""
        ...


class Microphone(Protocol):
    def list_devices(self) -> list[str]:
        """List the microphones by name.

        Raises:
            MissingError: There is none.
        """
        ...

    def record(self, device: str | None = None) -> Recording:
        """Start recording; None selects the default device. The recording reports errors."""
        ...


class SystemMicrophone:
    """Records with PortAudio in a subprocess for each recording."""

    def list_devices(self) -> list[str]:
        with _process("list") as process:
            try:
                told, _ = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise MissingError("the sound system does not answer", "restart it") from None
        if not (names := _told(told)["devices"]):
            raise MissingError(*NO_MICROPHONE)
        return [str(name) for name in names]

    def record(self, device: str | None = None) -> Recording:
        return _ProcessRecording(_process("record", *([device] if device else [])))


class _ProcessRecording:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._data = bytearray()
        self._finished = False
        self._error: MmtuiError | None = None
        self._answered = threading.Event()  # the device, that it records or why it can't
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        return len(self._data) / _BYTES / RATE

    @property
    def level(self) -> float:
        return compute_peak_level(bytes(self._data[-_RECENT:]))

    @property
    def is_full(self) -> bool:
        return len(self._data) >= _LIMIT

    @property
    def error(self) -> MmtuiError | None:
        return self._error

    def finish(self) -> "Clip":
        self._answered.wait(PATIENCE_S)
        self._finished = True
        self._process.kill()
        self._thread.join()
        samples = bytes(self._data)
        if self._error is None and not samples:
            self._error = MissingError(
                "nothing was recorded", "speak when the level moves, and end it after that"
            )
        elif self._error is None and compute_peak_level(samples) < SILENT:
            self._error = MissingError(
                "the microphone gives nothing but silence",
                "it may be muted; /microphone chooses another one",
            )
            samples = b""
        return to_clip(samples)

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream
        try:
            _told(stream.readline())
            self._answered.set()
            while not self.is_full and (line := stream.readline()):
                block = stream.read(_told(line)["bytes"])
                self._data += block[: _LIMIT - len(self._data)]
            if not self.is_full and not self._finished:
                self._error = MissingError(
                    "the microphone is gone", "plug it in again, or choose another one"
                )
        except MmtuiError as error:
            if not self._finished:
                self._error = error
        finally:
            self._answered.set()
            self._process.kill()
            stream.close()
            self._process.wait()


class Playback(Protocol):
    """A sound that is being played."""

    def wait(self) -> None:
        """Wait until the sound ends or is stopped. Raises MissingError if it can't be played."""
        ...

    def stop(self) -> None: ...


class Speaker(Protocol):
    def __call__(self, wav: bytes) -> Playback:
        """Start playing a WAV file."""
        ...


def play(wav: bytes) -> Playback:
    """Plays with PortAudio in a subprocess."""
    return _ProcessPlayback(_process("play", stdin=subprocess.PIPE), wav)


class _ProcessPlayback:
    def __init__(self, process: "subprocess.Popen[bytes]", wav: bytes) -> None:
        self._process, self._wav = process, wav
        self._stopped = False

    def wait(self) -> None:
        told, _ = self._process.communicate(self._wav)
        if not self._stopped:
            _told(told.splitlines()[-1] if told else b"")

    def stop(self) -> None:
        self._stopped = True
        self._process.kill()


def compute_peak_level(samples: bytes) -> float:
    """Return the peak level of mono 16-bit samples, from 0 to 1."""
    import numpy as np

    values = np.frombuffer(samples[: len(samples) // _BYTES * _BYTES], "<i2")
    return float(np.abs(values.astype(np.int32)).max()) / 32768 if len(values) else 0.0


def to_clip(samples: bytes) -> "Clip":
    import numpy as np

    whole = samples[: len(samples) // _BYTES * _BYTES]
    return np.frombuffer(whole, "<i2").astype(np.float32) / np.float32(32768)


def _process(*arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    command: Sequence[str] = [sys.executable, "-P", "-m", "mmtui.audio.device", *arguments]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _told(line: bytes) -> dict[str, Any]:
    """What the process says in a line. Raises MissingError if that is what went wrong."""
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise MissingError("the sound system broke down", "restart it") from error
    if "error" in told:
        raise MissingError(told["error"], told.get("hint"))
    return told

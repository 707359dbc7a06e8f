"""The interface of the speaker, and an implementation that runs PortAudio in a process."""

import io
import json
import subprocess
import threading
import wave
from contextlib import suppress
from typing import Any, Protocol

from mmtui.audio.portaudio import NO_SPEAKER
from mmtui.audio.process import TIMEOUT_S, list_devices, parse_message, start_process
from mmtui.errors import MissingError, MmtuiError

MAX_AHEAD_S = 1.5  # of samples that are written and not played yet
_SAMPLE_BYTES = 2


class Playback(Protocol):
    """A sound that is being played, whose samples may still be computed."""

    @property
    def seconds(self) -> float:
        """The duration of what has been played so far."""
        ...

    @property
    def level(self) -> float:
        """The peak level of what is being played, from 0 to 1."""
        ...

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be played: the sound has ended, failed or was stopped."""
        ...

    def write(self, samples: bytes) -> None:
        """Add samples, mono with 16 bits. Blocks while enough of them wait; never raises."""
        ...

    def finish(self) -> None:
        """End the sound after the samples so far. Does not block."""
        ...

    def wait(self) -> None:
        """Wait until the sound has ended or was stopped.

        Raises:
            MissingError: The sound can't be played.
        """
        ...

    def stop(self) -> None:
        """Stop playing at once."""
        ...

    def set_paused(self, is_paused: bool) -> None:
        """Pause or resume."""
        ...

    def set_volume(self, volume: float) -> None:
        """Change the volume; 1 is that of the samples."""
        ...


class Speaker(Protocol):
    """Plays sound on the speakers of this machine."""

    def list_devices(self) -> list[str]:
        """List the speakers by name.

        Raises:
            MissingError: There is no speaker, or the sound system does not answer.
        """
        ...

    def open(self, rate: int, device: str | None = None, volume: float = 1.0) -> Playback:
        """Start playing.

        Args:
            rate: Samples per second.
            device: The name of a speaker; None selects the default one.
            volume: 1 is that of the samples.

        Returns:
            The playback, which also reports errors of the device.
        """
        ...


class SystemSpeaker:
    """Plays with PortAudio; each playback is a subprocess."""

    def list_devices(self) -> list[str]:
        return list_devices("list-outputs", TIMEOUT_S, NO_SPEAKER)

    def open(self, rate: int, device: str | None = None, volume: float = 1.0) -> Playback:
        arguments = [device] if device else []
        process = start_process("play", *arguments, stdin=subprocess.PIPE)
        return _ProcessPlayback(process, rate, volume)


def play_wav(
    speaker: Speaker, wav: bytes, device: str | None = None, volume: float = 1.0
) -> Playback:
    """Start playing a WAV file, mono with 16 bits."""
    with wave.open(io.BytesIO(wav)) as file:
        playback = speaker.open(file.getframerate(), device, volume)
        playback.write(file.readframes(file.getnframes()))
    playback.finish()
    return playback


class _ProcessPlayback:
    def __init__(self, process: "subprocess.Popen[bytes]", rate: int, volume: float) -> None:
        self._process, self._rate = process, rate
        self._changed = threading.Condition()
        self._written = self._played = 0  # samples
        self.level = 0.0
        self.has_ended = False
        self._is_finished = self._is_stopped = False
        self._error: MmtuiError | None = None
        self._input_lock = threading.Lock()
        self._send({"rate": rate, "volume": volume})
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        return self._played / self._rate

    def write(self, samples: bytes) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.has_ended or self._ahead_s <= MAX_AHEAD_S)
            self._written += len(samples) // _SAMPLE_BYTES
        if samples:
            self._send({"bytes": len(samples)}, samples)

    def finish(self) -> None:
        self._is_finished = True
        with self._input_lock, suppress(OSError):
            assert self._process.stdin
            self._process.stdin.close()

    def wait(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._is_stopped = True
        self._process.kill()

    def set_paused(self, is_paused: bool) -> None:
        self._send({"pause": is_paused})

    def set_volume(self, volume: float) -> None:
        self._send({"volume": volume})

    @property
    def _ahead_s(self) -> float:
        return (self._written - self._played) / self._rate

    def _send(self, message: dict[str, Any], samples: bytes = b"") -> None:
        """Write a message; an ended process is reported by `wait`."""
        with self._input_lock, suppress(OSError, ValueError):  # ValueError: stdin is closed
            assert self._process.stdin
            self._process.stdin.write(json.dumps(message).encode() + b"\n" + samples)
            self._process.stdin.flush()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream
        try:
            message: dict[str, Any] = {}
            while "done" not in message:
                message = parse_message(stream.readline())
                with self._changed:
                    self._played = message.get("played", self._played)
                    self.level = message.get("level", self.level)
                    self._changed.notify_all()
        except MissingError as error:
            if not self._is_stopped:
                self._error = error
        finally:
            self._process.kill()
            self.finish()
            stream.close()
            self._process.wait()
            with self._changed:
                self.has_ended, self.level = True, 0.0
                self._changed.notify_all()

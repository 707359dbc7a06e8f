"""Listening without an end: a subprocess that returns each utterance when it has ended."""

import json
import subprocess
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from mmtui.audio.process import parse_message, start_process
from mmtui.audio.samples import to_clip
from mmtui.errors import MissingError, MmtuiError

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip


class Listening(Protocol):
    """A microphone that is open until it is stopped or fails."""

    @property
    def is_open(self) -> bool:
        """Whether the microphone records; before, what is said is lost."""
        ...

    @property
    def level(self) -> float:
        """The peak level, from 0 to 1."""
        ...

    @property
    def is_hearing(self) -> bool:
        """Whether somebody is speaking."""
        ...

    @property
    def error(self) -> MmtuiError | None:
        """The reason if the microphone failed, else None."""
        ...

    def set_muted(self, is_muted: bool) -> None:
        """Ignore what is said, or listen again."""
        ...

    def take_utterance(self) -> "Clip | None":
        """Return the oldest utterance that was not returned yet, mono float32 at 16 kHz."""
        ...

    def stop(self) -> None:
        """Close the microphone."""
        ...


def start_listening(device: str | None) -> Listening:
    """Start listening with PortAudio in a subprocess."""
    arguments = [device] if device else []
    return _ProcessListening(start_process("listen", *arguments, stdin=subprocess.PIPE))


class _ProcessListening:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._utterances: deque[bytes] = deque()
        self._is_muted = self._is_stopped = False
        self.is_open = self.is_hearing = False
        self.level = 0.0
        self.error: MmtuiError | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def set_muted(self, is_muted: bool) -> None:
        if is_muted != self._is_muted:
            self._is_muted = is_muted
            with suppress(OSError):  # an ended process is reported by `error`
                assert self._process.stdin
                self._process.stdin.write(json.dumps({"mute": is_muted}).encode() + b"\n")
                self._process.stdin.flush()

    def take_utterance(self) -> "Clip | None":
        return to_clip(self._utterances.popleft()) if self._utterances else None

    def stop(self) -> None:
        self._is_stopped = True
        self._process.kill()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream
        try:
            while True:
                message = parse_message(stream.readline())
                self.is_open = True
                self.level = message.get("level", self.level)
                self.is_hearing = message.get("hearing", self.is_hearing)
                if utterance := stream.read(message.get("bytes", 0)):
                    self._utterances.append(utterance)
        except MissingError as error:
            if not self._is_stopped:
                self.error = error
        finally:
            self.is_hearing = False
            self._process.kill()
            stream.close()
            self._process.wait()

"""Speech synthesis: text in, samples out, in a process of its own.

The libraries may crash, and would block a user interface. The process is `synthesis_worker.py`.
"""

import json
import subprocess
import sys
import threading
from typing import Any, Protocol

from mmtui.errors import MissingError
from mmtui.pipeline.speech.spoken_text import Sentence
from mmtui.pipeline.speech.voices import ESPEAK_PREFIX, check_voice

RATE = 24_000  # Hz, of all synthesized speech
SAMPLE_BYTES = 2


class Synthesizer(Protocol):
    """Converts sentences to speech."""

    def start(self) -> None:
        """Load the voice, so that the first sentence does not wait for it. Does not block."""
        ...

    def synthesize(self, sentence: Sentence, voice: str, speed: float = 1.0) -> bytes:
        """Return the samples of a sentence, mono with 16 bits at `RATE`. Blocks.

        Args:
            sentence: What to say.
            voice: One of `ENGLISH_VOICES`, which reads English, or "espeak:LANGUAGE", which reads
                everything. Other languages are read by espeak-ng.
            speed: 1 is the usual speed of the voice; from `MIN_SPEED` to `MAX_SPEED`
                of `voices`.

        Raises:
            MissingError: No voice for the language is installed, or the process has crashed.
            UsageError: There is no such voice.
        """
        ...

    def close(self) -> None:
        """End the process; a sentence in progress fails, and so do all later ones."""
        ...


class SynthesizerProcess:
    """Synthesizes in a subprocess, which is started again after a crash. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_closed = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "mmtui.pipeline.speech.synthesis_worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl+C is handled by this process
                )
                if self._is_closed:  # meanwhile: `close` does not wait for the lock
                    _kill(self._process)

    def synthesize(self, sentence: Sentence, voice: str, speed: float = 1.0) -> bytes:
        check_voice(voice)
        if voice.startswith(ESPEAK_PREFIX):
            sentence = Sentence(sentence.text, voice.removeprefix(ESPEAK_PREFIX))
            voice = ESPEAK_PREFIX
        request = {**vars(sentence), "voice": voice, "speed": speed}
        with self._lock:
            self.start()
            if self._is_closed:
                raise MissingError("the voice was closed")
            process = self._process
            assert process and process.stdin and process.stdout
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
                reply = json.loads(process.stdout.readline())
                samples = process.stdout.read(reply.get("bytes", 0))
            except (OSError, ValueError):
                _kill(process)
                raise MissingError("the voice has crashed", "try again") from None
        return _check_reply(reply, samples)

    def close(self) -> None:
        self._is_closed = True
        if self._process is not None:
            _kill(self._process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _check_reply(reply: dict[str, Any], samples: bytes) -> bytes:
    if "error" in reply:
        raise MissingError(reply["error"], reply.get("hint"))
    return samples

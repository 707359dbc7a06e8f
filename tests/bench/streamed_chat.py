"""The chat in a terminal, with a fake model that streams an answer, and a record of its frames."""

import fcntl
import json
import os
import pty
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from fakes import FakeModel
from textual.screen import Screen

from mmtui.chat.config import Config
from mmtui.chat.conversation import Message
from mmtui.chat.protocol import Completed, Event, Piece
from mmtui.frontends.tui.app import ChatApp
from mmtui.frontends.tui.launch import prepare_interpreter
from mmtui.pipeline.speech.synthesis import RATE

Figures = dict[str, float]

ANSWER = """The **river** runs from the mountains to the sea; here is how:

1. snow melts in spring,
2. `streams` join,
3. and the valley widens.

| month | flow |
|---|---|
| May | 120 |
| June | 180 |

```python
def flow(month: int) -> float:
    return 120.0 + 60.0 * (month == 6)
```
"""
TOKENS, PACE_S = 1000, 0.01
FRAMES_PER_S = 60
MAX_FRAME_S = 0.5  # how long a model in step waits for a frame
SETTLE_S = 2.0  # after the chat has opened
COLUMNS, ROWS = 120, 40
MAX_AHEAD_S = 1.5  # as far as the synthesizer may be ahead of the speaker


def split_answer(text: str) -> list[str]:
    """Return pieces that are as long as tokens."""
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def run_in_terminal(
    folder: Path, speak: str, tokens: int = TOKENS, *, is_in_step: bool = False
) -> Figures:
    """Open the latest chat of a history, stream an answer, and return figures about the frames.

    Args:
        folder: The history.
        speak: The setting, "never" or "always".
        tokens: The length of the answer.
        is_in_step: Send as many tokens for each frame as if there were `FRAMES_PER_S`, even on a
            machine that is too busy for them; otherwise they are sent at a steady pace.
    """
    result = folder / "figures.json"
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        prepare_interpreter()
        app = MeasuredApp(folder, speak, StreamingModel(tokens, is_in_step=is_in_step))
        app.run()
        result.write_text(json.dumps(app.get_figures()))
        os._exit(0)
    with suppress(OSError):  # the end of the chat
        while os.read(terminal, 65536):
            pass
    os.waitpid(pid, 0)
    figures: Figures = json.loads(result.read_text())
    return figures


class StreamingModel(FakeModel):
    """A model that writes from another thread, at a steady pace or in step with the frames.

    Attributes:
        pieces: What it writes.
        is_in_step: Whether it writes in step with the frames.
        started_at: When the first piece was sent.
    """

    send: Callable[[Event], object]

    def __init__(self, tokens: int, *, is_in_step: bool) -> None:
        super().__init__()
        pieces = split_answer(ANSWER)
        self.pieces = [pieces[number % len(pieces)] for number in range(tokens)]
        self.started_at = 0.0
        self.is_in_step = is_in_step
        self._frames, self._is_drawn = 0, threading.Condition()

    def count_frame(self) -> None:
        """Note that a frame was drawn."""
        with self._is_drawn:
            self._frames += 1
            self._is_drawn.notify()

    def generate(self, *arguments: Any, **named: Any) -> int:
        number = super().generate(*arguments, **named)
        threading.Thread(target=self._stream, args=(number,), daemon=True).start()
        return number

    def _stream(self, number: int) -> None:
        self.started_at = time.perf_counter()
        for index, piece in enumerate(self.pieces):
            self._wait_for_turn(index)
            self.send(Piece(number, piece))
        self.send(Completed(number, "stop", 20, 8, len(self.pieces), 0.1, 100.0))

    def _wait_for_turn(self, index: int) -> None:
        if self.is_in_step:
            with self._is_drawn:
                self._is_drawn.wait_for(
                    lambda: index * PACE_S * FRAMES_PER_S < self._frames + 1, MAX_FRAME_S
                )
        else:
            time.sleep(max(self.started_at + index * PACE_S - time.perf_counter(), 0))


class MeasuredApp(ChatApp):
    """The chat, which asks a question, notes each frame of the answer, and exits after it."""

    def __init__(self, folder: Path, speak: str, model: StreamingModel) -> None:
        self._model, self._sound = model, PacedSpeaker()
        config = Config(model="fake", speak=speak)
        super().__init__(config, "latest", folder=folder, model=self._model, speaker=self._sound)
        self._model.send = self._receive_event
        self._frames: list[tuple[float, float]] = []  # seconds, and CPU seconds of this thread
        self._answer: Message | None = None
        self._sentence_at: float | None = None

    def on_ready(self) -> None:
        self.set_timer(SETTLE_S, self._ask)

    def _ask(self) -> None:
        assert self._chat is not None
        self._chat.composer.insert_words("How does a river run?")
        self._chat.composer.action_send()

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        super()._display(screen, renderable)
        if self._answer is None:
            self._answer = self.session.reply
        elif self._answer.text:
            self._frames.append((time.perf_counter(), time.thread_time()))
            self._model.count_frame()
            if self._sentence_at is None and ":\n" in self._answer.text:
                self._sentence_at = time.perf_counter()
            if self._answer.state == "complete":
                self.exit()

    def get_figures(self) -> Figures:
        """Return what was measured.

        Raises:
            ValueError: Not all of the answer arrived.
        """
        assert self._answer is not None
        if self._answer.text != "".join(self._model.pieces):
            raise ValueError("the answer is not complete")
        seconds, cpu_seconds = np.array(self._frames).T
        gaps, cpu = np.diff(seconds), np.diff(cpu_seconds)
        if self._model.is_in_step:
            return {
                "cpu_s_per_frame": float(cpu.mean()),
                "cpu_99_s": float(np.quantile(cpu, 0.99)),
                "longest_cpu_s": float(cpu.max()),
            }
        figures = {
            "tokens_per_s": len(self._model.pieces) / (seconds[-1] - self._model.started_at),
            "frames_per_s": len(gaps) / (seconds[-1] - seconds[0]),
            "median_gap_s": float(np.median(gaps)),
            "gap_99_s": float(np.quantile(gaps, 0.99)),
            "longest_gap_s": float(gaps.max()),
        }
        if self._sound.started_at is not None and self._sentence_at is not None:
            figures["first_sound_s"] = max(self._sound.started_at - self._sentence_at, 0.0)
        return figures


class PacedSpeaker:
    """A speaker that plays nothing, as long as it takes.

    Attributes:
        started_at: When it got the first samples.
    """

    def __init__(self) -> None:
        self.started_at: float | None = None

    def list_devices(self) -> list[str]:
        return []

    def open(self, rate: int, device: str | None = None, volume: float = 1.0) -> "PacedPlayback":
        return PacedPlayback(self)

    def open_default(self) -> "PacedPlayback":
        return self.open(RATE)


class PacedPlayback:
    """A sound that is not heard."""

    def __init__(self, speaker: PacedSpeaker) -> None:
        self._speaker = speaker
        self._ends_at = 0.0
        self.seconds = self.level = 0.0
        self.has_ended = False

    def write(self, samples: bytes) -> None:
        now = time.perf_counter()
        self._speaker.started_at = self._speaker.started_at or now
        self._ends_at = max(self._ends_at, now) + len(samples) / 2 / RATE
        while not self.has_ended and self._ends_at - time.perf_counter() > MAX_AHEAD_S:
            time.sleep(0.01)

    def finish(self) -> None: ...

    def wait(self) -> None: ...

    def stop(self) -> None:
        self.has_ended = True

    def set_paused(self, is_paused: bool) -> None: ...

    def set_volume(self, volume: float) -> None: ...

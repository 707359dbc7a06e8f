"""Stand-ins that several kinds of tests share."""

import threading
from typing import Any


def deaf(connection: Any, model: str, engine: str, dump: Any) -> None:
    """A model's process that never reads what it is asked."""
    threading.Event().wait()


class FakeModel:
    """Remembers what was asked of it; a test says what it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.heard: list[Any] = []
        self.cancelled: list[int] = []
        self.number, self.closed, self.name = 0, False, "fake"

    def load(self) -> int:
        return self._next()

    def ask(self, turns, max_tokens, temperature, top_p, seed=None) -> int:
        self.asked.append(tuple(turns))
        return self._next()

    def transcribe(self, clip) -> int:
        self.heard.append(clip)
        return self._next()

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def switch(self, name: str) -> None:
        self.name = name

    def close(self) -> None:
        self.closed = True

    def _next(self) -> int:
        self.number += 1
        return self.number

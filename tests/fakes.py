"""Replacements of the model and its process, for tests of what is around them."""

import threading
from typing import Any

from mmtui.chat.model_process import ModelProcess


def ignore_requests(*_: Any) -> None:
    """Run as the model process, but never read a request."""
    threading.Event().wait()


class FakeModel:
    """Records requests; a test sends the answers."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.prepared: list[tuple[tuple, tuple]] = []  # turns and pictures
        self.speech_loads = 0
        self.clips: list[Any] = []
        self.languages: list[str | None] = []
        self.cancelled: list[int] = []
        self.number, self.closed, self.name = 0, False, "fake"

    def load(self) -> int:
        return self._next()

    def prepare(self, turns, pictures, *_) -> int:
        self.prepared.append((tuple(turns), tuple(pictures)))
        return -len(self.prepared)  # `number` remains that of the last question

    def load_speech(self, language=None) -> int:
        self.speech_loads += 1
        return -1000 - self.speech_loads

    def generate(self, turns, max_tokens, temperature, top_p, seed=None, schema=None) -> int:
        self.asked.append(tuple(turns))
        return self._next()

    def transcribe(self, clip, language=None) -> int:
        self.clips.append(clip)
        self.languages.append(language)
        return self._next()

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def switch_model(self, name: str) -> None:
        self.name = name

    def list_models(self) -> list[tuple[str, str]]:
        return ModelProcess("auto", lambda _: None).list_models()

    def find_model(self, name: str) -> None:
        ModelProcess("auto", lambda _: None).find_model(name)

    def close(self) -> None:
        self.closed = True

    def _next(self) -> int:
        self.number += 1
        return self.number

"""A model that answers what a test tells it to, and a chat with it."""

from pathlib import Path

import pytest
from PIL import Image

from mmtui.chat.config import Config
from mmtui.chat.history import History
from mmtui.chat.protocol import Answered, Heard, Piece
from mmtui.chat.session import Notice, Session


class FakeModel:
    """Remembers what was asked; `answer` says what the session hears."""

    def __init__(self) -> None:
        self.asked: list[tuple] = []
        self.cancelled: list[int] = []
        self.name = "fake"
        self.closed = False
        self._number = 0

    def load(self) -> int:
        return self._next()

    def ask(self, turns, max_tokens, temperature, top_p, seed=None) -> int:
        self.asked.append(tuple(turns))
        return self._next()

    def transcribe(self, clip) -> int:
        return self._next()

    def cancel(self, number: int) -> None:
        self.cancelled.append(number)

    def switch(self, name: str) -> None:
        self.name = name

    def close(self) -> None:
        self.closed = True

    def answer(self, session: Session, *pieces: str, stop_reason: str | None = "stop") -> None:
        for piece in pieces:
            session.hear(Piece(self._number, piece))
        if stop_reason:
            session.hear(Answered(self._number, stop_reason, 10, 4, len(pieces), 0.1, 50.0))

    def heard(self, session: Session, text: str) -> None:
        session.hear(Heard(self._number, text))

    def _next(self) -> int:
        self._number += 1
        return self._number


class Chat:
    def __init__(self, folder: Path) -> None:
        self.model, self.told = FakeModel(), []
        self.history = History(folder)
        self.session = Session(self.model, self.history, Config(), self.told.append)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.session.conversation.thread]

    @property
    def notices(self) -> list[str]:
        return [notice.text for notice in self.told if isinstance(notice, Notice)]


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    return Chat(tmp_path / "store")


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    file = tmp_path / "a cat.png"
    Image.new("RGB", (40, 30), "orange").save(file)
    return file

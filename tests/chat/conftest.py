"""Fixtures for the chat: a model whose answers a test sends, or a server plays, and a session."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fakes import FakeModel
from scripted_server import ScriptedServer, Step
from server_chat import ServerChat

from mmtui.chat.config import Config
from mmtui.chat.history.history import History
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Completed, Piece, Transcribed
from mmtui.chat.session import Session


class SpeakingModel(FakeModel):
    """Sends answers to the last request to a session."""

    def answer(self, session: Session, *pieces: str, stop_reason: str | None = "stop") -> None:
        """Send an answer to the last request; `stop_reason` None does not end it."""
        for piece in pieces:
            session.handle_event(Piece(self.number, piece))
        if stop_reason:
            session.handle_event(Completed(self.number, stop_reason, 10, 4, len(pieces), 0.1, 50.0))

    def transcribe_as(self, session: Session, text: str) -> None:
        """Send the transcript of the last request."""
        session.handle_event(Transcribed(self.number, text))


class Chat:
    """A session with a fake model; `posted` has its notices."""

    def __init__(self, folder: Path) -> None:
        self.model, self.posted = SpeakingModel(), []
        self._history = History(folder)
        self.session = Session(self.model, self._history, Config(), self.posted.append)

    @property
    def history(self) -> History:
        """Return the history after all writes have finished."""
        self.session.store.flush().result()
        return self._history

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.session.conversation.thread]

    @property
    def notices(self) -> list[str]:
        return [notice.text for notice in self.posted if isinstance(notice, Notice)]


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    """Return a chat with an empty history."""
    return Chat(tmp_path / "store")


@pytest.fixture
def connect(tmp_path) -> Iterator[Callable[..., ServerChat]]:
    """Return a function that opens a chat with a server that plays some steps."""
    with ExitStack() as stack:

        def open_chat(*steps: Step, models: tuple[str, ...] = ("tiny",), model: str = "auto"):
            server = stack.enter_context(ScriptedServer(*steps, models=models))
            chat = ServerChat(server, tmp_path / f"store{id(server)}", model)
            stack.callback(chat.session.close)
            return chat

        yield open_chat

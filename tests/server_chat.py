"""A chat with the model of a scripted server."""

import queue
from collections.abc import Callable
from pathlib import Path

from scripted_server import ScriptedServer

from mmtui.chat import attachments
from mmtui.chat.backend import open_model
from mmtui.chat.config import Config
from mmtui.chat.history.history import History
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Event
from mmtui.chat.session import Session

TIMEOUT_S = 20


class ServerChat:
    """A session whose model is that of a scripted server."""

    def __init__(self, server: ScriptedServer, folder: Path, model: str = "auto") -> None:
        self.server, self.folder = server, folder
        self.events: queue.Queue[Event] = queue.Queue()
        self.notices: list[Notice] = []
        config = Config(endpoint=server.url, model=model)
        history = History(folder)
        port = open_model(config, self.events.put)
        self.session = Session(port, history, config, self.notices.append)

    def handle_until(self, condition: Callable[[], bool]) -> None:
        """Handle events until a condition holds."""
        while not condition():
            self.session.handle_event(self.events.get(timeout=TIMEOUT_S))

    def ask(self, text: str, *files: Path) -> str:
        """Send a message with files, and return the reply."""
        loaded = [self.session.store_attachment(attachments.load(file)) for file in files]
        message = self.session.send(text, tuple(loaded))
        self.finish()
        return message.text

    def finish(self) -> None:
        """Handle events until the reply has ended."""
        self.handle_until(lambda: not self.session.is_answering)

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.session.conversation.thread]

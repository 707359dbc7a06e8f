"""The application: one chat screen, a model in its process, a microphone."""

from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding

from mmtui.audio.recorder import Microphone, SystemMicrophone
from mmtui.chat.config import Config
from mmtui.chat.history import History
from mmtui.chat.model import Model
from mmtui.chat.protocol import Event
from mmtui.chat.session import ModelPort, Notice, Session
from mmtui.errors import MmtuiError
from mmtui.tui.screens.chat import ChatScreen


class ChatApp(App[None]):
    """`model` None starts the real one, named by the settings."""

    TITLE = "mmtui"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar = [Binding("ctrl+q", "quit", "Quit", id="quit", priority=True)]

    def __init__(
        self,
        config: Config,
        resume: str | None = None,
        images: tuple[Path, ...] = (),
        *,
        folder: Path | None = None,
        model: ModelPort | None = None,
        microphone: Microphone | None = None,
    ) -> None:
        """`resume`: an id, "latest", or None for a new chat. `folder`: of the history."""
        super().__init__()
        self._config, self._resume, self._images = config, resume, images
        self._early: list[Notice] = []
        history = None
        try:
            history = History(folder)
        except MmtuiError as error:
            self._early.append(Notice(f"{error}; this chat is not kept", error.hint))
        self.session = Session(
            model or Model(config.model, self._heard), history, config, self._told
        )
        self._microphone = microphone or SystemMicrophone()
        self._chat: ChatScreen | None = None

    def on_mount(self) -> None:
        self.theme = "textual-light" if self._config.theme == "light" else "textual-dark"
        self.set_keymap(self._config.keys)
        draft = ""
        if self._resume is not None:
            try:
                draft = self.session.resume(None if self._resume == "latest" else self._resume)
            except MmtuiError as error:
                self._told(Notice(str(error), error.hint))
        self._chat = ChatScreen(self.session, self._microphone, draft)
        self.push_screen(self._chat, callback=None)
        for image in self._images:
            self._chat.call_after_refresh(self._chat.attach, image)
        for notice in self._early:
            self._told(notice)
        self._chat.call_after_refresh(self.session.load)

    def on_unmount(self) -> None:
        self.session.close()

    def _heard(self, event: Event) -> None:
        """In the thread that listens to the model's process."""
        if self._chat is not None:
            self._chat.post_message(ChatScreen.FromModel(event))

    def _told(self, notice: Notice) -> None:
        if self._chat is None:
            self._early.append(notice)
        else:
            self._chat.call_after_refresh(self._chat.tell, notice)

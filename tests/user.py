"""A user of the app, with a fake model, microphone and speaker."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from fake_audio import FakeListening, FakeSpeaker, FakeSynthesizer
from fakes import FakeModel
from textual._xterm_parser import XTermParser
from textual.events import Paste
from textual.pilot import Pilot

from mmtui.chat.config import Config
from mmtui.chat.protocol import Completed, Event, Piece, Ready
from mmtui.errors import MissingError, MmtuiError
from mmtui.frontends.tui.app import ChatApp
from mmtui.frontends.tui.screens.chat.screen import ChatScreen
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.message_view import MessageView
from mmtui.frontends.tui.widgets.transcript import Earlier
from mmtui.pipeline.assets.spec import Asset, VisionSpec

# Names of the workers that end without an action of the user.
FINITE_WORKERS = (
    "action_delete",
    "action_undo",
    "copy_with_program",
    "decode",
    "draw_picture",
    "find",
    "list_conversations",
    "run_in_thread",
)


class FakeRecording:
    """A recording of a given length, which may have failed."""

    def __init__(self, seconds: float, error: MmtuiError | None) -> None:
        self.seconds, self.level, self.error = seconds, 0.25, error
        self.finished = False

    @property
    def is_full(self) -> bool:
        return self.seconds >= 15

    def finish(self) -> np.ndarray:
        self.finished = True
        return np.full(int(self.seconds * 16_000), 0.1, np.float32)


class FakeMicrophone:
    """Returns recordings of a given length; `devices_used` are the devices that were chosen."""

    def __init__(self, seconds: float = 2.0, error: MmtuiError | None = None) -> None:
        self.recordings: list[FakeRecording] = []
        self.devices_used: list[str | None] = []
        self._seconds, self._error = seconds, error
        self.listenings: list[FakeListening] = []

    def listen(self, device: str | None = None) -> FakeListening:
        self.devices_used.append(device)
        self.listenings.append(FakeListening())
        return self.listenings[-1]

    def list_devices(self) -> list[str]:
        return ["Fake Mic"]

    def record(self, device: str | None = None) -> FakeRecording:
        self.devices_used.append(device)
        self.recordings.append(FakeRecording(self._seconds, self._error))
        return self.recordings[-1]


NO_MICROPHONE = MissingError("there is no microphone", "plug one in")


class User:
    """Presses keys, sends events of the model, and reads the screen."""

    def __init__(self, app: ChatApp, pilot: Pilot, model: FakeModel) -> None:
        self.app, self.pilot, self.model = app, pilot, model

    @property
    def chat(self) -> ChatScreen:
        return next(s for s in self.app.screen_stack if isinstance(s, ChatScreen))

    @property
    def composer(self) -> Composer:
        return self.chat.query_one(Composer)

    @property
    def messages(self) -> list[MessageView]:
        return list(self.chat.query(MessageView))

    @property
    def texts(self) -> list[str]:
        return [view.message.text for view in self.messages]

    @property
    def earlier(self) -> Earlier | None:
        return next(iter(self.chat.query(Earlier)), None)

    @property
    def notices(self) -> list[str]:
        return [n.message for n in self.app._notifications]

    @property
    def screen(self) -> str:
        """The text on the screen."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line) for line in lines)

    async def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys."""
        typed = ("space" if character == " " else character for character in text)
        await self.press(*typed, *keys)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def feed(self, data: str) -> None:
        """Receive data of a terminal at once, parsed as by a driver."""
        for event in (*(parser := XTermParser()).feed(data), *parser.feed("")):
            self.app.post_message(event)
        await self.settle()

    async def receive_event(self, event: Event) -> None:
        self.app._receive_event(event)
        await self.settle()

    def stream_piece(self, piece: str) -> None:
        """Receive a piece of the answer, without waiting for the screen."""
        self.app._receive_event(Piece(self.model.number, piece))

    async def answer(self, *pieces: str, stop: str | None = "stop") -> None:
        """Receive an answer; `stop` None does not end it."""
        number = self.model.number
        for piece in pieces:
            self.stream_piece(piece)
        if stop:
            self.app._receive_event(Completed(number, stop, 20, 8, len(pieces), 0.1, 50.0))
        await self.settle()

    async def load_model(self, side: int = 260) -> None:
        """Receive the event of a loaded model whose vision tower has this input size, if not 0."""
        grey = (0.5, 0.5, 0.5)
        vision = VisionSpec(Asset("clip"), "open_clip", side, grey, grey, 25, 128) if side else None
        await self.receive_event(Ready(1, "fake", 2048, 29, vision))

    async def paste(self, text: str) -> None:
        self.app.post_message(Paste(text))
        await self.settle()

    async def settle(self) -> None:
        """Wait until all messages are handled, all workers are done and everything is stored."""
        is_settled = False
        while not is_settled:
            await self.pilot.pause()
            if self.app.is_running:
                await self.app.input_queue.wait_until_empty()
            await self.pilot.pause()
            working = [worker for worker in self.app.workers if worker.name in FINITE_WORKERS]
            if working:
                await self.app.workers.wait_for_complete(working)
            await asyncio.wrap_future(self.app.session.store.flush())
            await self.pilot.pause()
            is_settled = not working  # what a worker has done may start another one


@asynccontextmanager
async def open_chat(
    folder: Path,
    size: tuple[int, int] = (90, 30),
    microphone: Any = None,
    speaker: Any = None,
    synthesizer: Any = None,
    **settings: Any,
) -> AsyncIterator[User]:
    """Run the app with the history in `folder`; other arguments are settings."""
    app_settings = {
        key: settings.pop(key) for key in ("resume", "images", "files", "talk") if key in settings
    }
    model = FakeModel()
    app = ChatApp(
        Config(**settings), **app_settings, folder=folder, model=model,
        microphone=microphone or FakeMicrophone(), speaker=speaker or FakeSpeaker(),
        synthesizer=synthesizer or FakeSynthesizer(),
    )  # fmt: skip
    async with app.run_test(size=size, notifications=True) as pilot:
        user = User(app, pilot, model)
        await user.settle()
        yield user


def get_staged_names(user: User) -> list[str]:
    """Return the names of the attachments of the next message."""
    return [file.name for file in user.chat.chips.attachments]


def run_async(test: Callable[..., Any]) -> Callable[..., None]:
    """Turn an async test into an ordinary one."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run

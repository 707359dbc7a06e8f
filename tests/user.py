"""The application, its user, and a model that answers what a test says."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
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

# Workers that end by themselves.
THREADS = ("run_in_thread", "copy_by_program", "decode")


class FakeRecording:
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
    def __init__(self, seconds: float = 2.0, error: MmtuiError | None = None) -> None:
        self.recordings: list[FakeRecording] = []
        self.chosen: list[str | None] = []
        self._seconds, self._error = seconds, error

    def list_devices(self) -> list[str]:
        return ["Fake Mic"]

    def record(self, device: str | None = None) -> FakeRecording:
        self.chosen.append(device)
        self.recordings.append(FakeRecording(self._seconds, self._error))
        return self.recordings[-1]


class FakeSpeaker:
    """Plays until it is stopped, or not at all."""

    def __init__(self, error: MmtuiError | None = None) -> None:
        self.played: list[bytes] = []
        self.stopped, self._error = threading.Event(), error

    def __call__(self, wav: bytes) -> "FakeSpeaker":
        self.played.append(wav)
        return self

    def wait(self) -> None:
        if self._error is not None:
            raise self._error
        self.stopped.wait(60)

    def stop(self) -> None:
        self.stopped.set()


NO_MICROPHONE = MissingError("there is no microphone", "plug one in")


class User:
    """Somebody at the keyboard."""

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
        """What can be read on the screen."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line) for line in lines)

    async def types(self, text: str, *keys: str) -> None:
        for character in text:
            await self.pilot.press("space" if character == " " else character)
        await self.pilot.press(*keys)
        await self.settle()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def sends(self, data: str) -> None:
        """What a terminal sends at once, parsed as a driver does."""
        for event in (*(parser := XTermParser()).feed(data), *parser.feed("")):
            self.app.post_message(event)
        await self.settle()

    async def receive_event(self, event: Event) -> None:
        self.app._receive_event(event)
        await self.settle()

    def stream_piece(self, piece: str) -> None:
        """The model, which does not wait for the screen."""
        self.app._receive_event(Piece(self.model.number, piece))

    async def is_answered(self, *pieces: str, stop: str | None = "stop") -> None:
        number = self.model.number
        for piece in pieces:
            self.stream_piece(piece)
        if stop:
            self.app._receive_event(Completed(number, stop, 20, 8, len(pieces), 0.1, 50.0))
        await self.settle()

    async def is_ready(self, side: int = 260) -> None:
        await self.receive_event(Ready(1, "fake", 2048, 29, side))

    async def paste(self, text: str) -> None:
        self.app.post_message(Paste(text))
        await self.settle()

    async def settle(self) -> None:
        """Until all messages are handled, all workers are done and everything is stored."""
        await self.pilot.pause()
        if self.app.is_running:
            await self.app.input_queue.wait_until_empty()
        await self.pilot.pause()
        if working := [worker for worker in self.app.workers if worker.name in THREADS]:
            await self.app.workers.wait_for_complete(working)
        await asyncio.wrap_future(self.app.session.store.flush())
        await self.pilot.pause()


@asynccontextmanager
async def opened(
    folder: Path,
    size: tuple[int, int] = (90, 30),
    microphone: Any = None,
    speaker: Any = None,
    **settings: Any,
) -> AsyncIterator[User]:
    """The application on a store in `folder`."""
    app_settings = {key: settings.pop(key) for key in ("resume", "images") if key in settings}
    model = FakeModel()
    app = ChatApp(
        Config(**settings), **app_settings, folder=folder, model=model,
        microphone=microphone or FakeMicrophone(), speaker=speaker or FakeSpeaker(),
    )  # fmt: skip
    async with app.run_test(size=size, notifications=True) as pilot:
        user = User(app, pilot, model)
        await user.settle()
        yield user


def staged(user: User) -> list[str]:
    """The names of what goes with the next message."""
    return [file.name for file in user.chat.chips.attachments]


def awaited(test: Callable[..., Any]) -> Callable[..., None]:
    """Runs an async test."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run

"""The API of `mmtui serve` with a model that a test controls, in a thread of the test's process."""

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web
from fakes import FakeModel

from mmtui.chat.config import Config
from mmtui.chat.protocol import (
    Completed,
    Died,
    Event,
    Failed,
    Piece,
    Prepared,
    Progress,
    Ready,
    Transcribed,
)
from mmtui.frontends.page_process import CommandStarter
from mmtui.frontends.serve import ChatServer, listen
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.speech.synthesis import Synthesizer
from mmtui.server.api import Api

TOKEN = "T"


class ScriptedModel(FakeModel):
    """Answers at once, as the last message says; `hold` waits until it is cancelled or released.

    A conversation that ends with `hold` is never read ahead to its end.

    Attributes:
        most_running: The largest number of requests that were answered at the same time.
        started: Released when a reply that holds has started.
        stopped: Released when a reply was cancelled.
        released: Lets the replies that hold go on.
        pictures: The contents of the pictures of each question.
    """

    def __init__(
        self,
        send: Callable[[Event], None],
        loaded: threading.Event | None = None,
        parallel: int = 1,
    ) -> None:
        super().__init__()
        self._parallel = parallel
        self._loaded = loaded
        self.send = send
        self.running = self.most_running = 0
        self.started, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.released = threading.Event()
        self.options: list[tuple] = []
        self.schemas: list[str | None] = []
        self.pictures: list[list[bytes]] = []
        self._lock, self._cancellations = threading.Lock(), {}

    def load(self) -> int:
        number = self._next()
        self.send(Progress("loading", 1, 2))
        if self._loaded is None:
            self._finish_loading(number)
        else:
            threading.Thread(target=self._finish_loading, args=(number,), daemon=True).start()
        return number

    def prepare(self, turns, pictures, *_) -> int:
        number = super().prepare(turns, pictures)
        if [turn.text for turn in turns][-1:] == ["hold"]:
            self.started.release()
        elif turns or pictures:  # not while the model is being loaded
            self.send(Prepared(number))
        return number

    def generate(self, turns, max_tokens, temperature, top_p, seed=None, schema=None) -> int:
        self.schemas.append(schema)
        self.options.append((max_tokens, temperature, top_p, seed))
        contents = []
        for turn in turns:
            for file in turn.pictures:
                with open(file, "rb") as picture:  # noqa: PTH123
                    contents.append(picture.read())
        self.pictures.append(contents)
        number = super().generate(turns, max_tokens, temperature, top_p, seed)
        self._cancellations[number] = threading.Event()
        threading.Thread(target=self._answer, args=(number, turns[-1].text), daemon=True).start()
        return number

    def transcribe(self, clip, language=None) -> int:
        number = super().transcribe(clip, language)
        reported = None if language == "en" else language  # what a test asks for, but English
        self.send(Transcribed(number, f"{len(clip)} samples", reported))
        return number

    def cancel(self, number: int) -> None:
        super().cancel(number)
        if (cancellation := self._cancellations.get(number)) is not None:
            cancellation.set()

    def _finish_loading(self, number: int) -> None:
        if self._loaded is not None:
            self._loaded.wait(60)
        self.send(Ready(number, "smol", 8192, 64, 224, parallel=self._parallel))

    def _answer(self, number: int, text: str) -> None:
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        events = list(self._write(number, text))
        with self._lock:
            self.running -= 1
        self.send(events[-1])
        del self._cancellations[number]

    def _write(self, number: int, text: str) -> Iterator[Event]:
        """Send the pieces of a reply, and yield its end."""
        if text == "fail":
            yield Failed(number, "the weights are gone", None)
        elif text == "long":
            yield Failed(number, "9000 tokens are too many", None, is_refused=True)
        elif text == "bad schema":
            yield Failed(number, "the schema is invalid", None, is_schema_refused=True)
        elif text == "die":
            yield Died("the model was killed", "send again to restart it")
        else:
            cancelled = self._cancellations[number]
            for word in ("You", " said: ", text):
                self.send(Piece(number, word))
            if text == "hold":
                self.started.release()
                while not (cancelled.wait(0.01) or self.released.is_set()):
                    pass
            if cancelled.is_set():
                self.stopped.release()
            reason = "cancelled" if cancelled.is_set() else "stop"
            yield Completed(number, reason, 20, 8, 3, 0.1, 50.0, dropped=2, full=True)


class ApiServer:
    """A running server. `model` is set once it has started."""

    def __init__(self, address: str) -> None:
        self.root = f"http://{address}"
        self.url = f"{self.root}/v1"
        self.model: ScriptedModel
        self.load: Callable[[], object]


@contextmanager
def serve_api(
    name: str = "smol",
    config: Config | None = None,
    loaded: threading.Event | None = None,
    page: str = "",
    synthesizer: Synthesizer | None = None,
    token: str = TOKEN,
    parallel: int = 1,
) -> Iterator[ApiServer]:
    """Serve the API of a preset, with a scripted model.

    Args:
        name: The preset.
        config: The settings.
        loaded: Until it is set, the model is being loaded; None loads it at once.
        page: The Python code of the chat of a page; the default ends at once.
        synthesizer: The voice; the default is a process that the first request starts.
        token: The token of the server.
        parallel: How many replies the model writes together.
    """
    with listen("127.0.0.1", 0) as listening:
        running = ApiServer("{}:{}".format(*listening.getsockname()))

        def open_port(send: Callable[[Event], None]) -> ScriptedModel:
            running.model = ScriptedModel(send, loaded, parallel)
            return running.model

        api = Api(checkpoint.find(name), config or Config(), open_port, synthesizer)
        server = ChatServer(listening, token, 4, CommandStarter([sys.executable, "-c", page]), api)
        loop, stop, has_started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

        async def run() -> None:
            runner = web.AppRunner(
                await server._make_app(), shutdown_timeout=0.1, handler_cancellation=True
            )
            await runner.setup()
            await web.SockSite(runner, listening).start()
            running.load = lambda: loop.call_soon_threadsafe(api.model.load)
            has_started.set()
            await stop.wait()
            await runner.cleanup()

        thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
        thread.start()
        has_started.wait(60)
        try:
            yield running
        finally:
            running.model.released.set()
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

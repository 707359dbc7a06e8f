"""The process with the model: requests in, events out, until the other end is closed."""

import faulthandler
import os
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mmtui.chat.protocol import (
    Answered,
    Ask,
    Cancel,
    Event,
    Failed,
    Heard,
    Load,
    Piece,
    Progress,
    Ready,
    Request,
    Said,
    Transcribe,
)
from mmtui.crashes import Dump
from mmtui.entry import silence_libraries
from mmtui.errors import MmtuiError, TooLongError, explain
from mmtui.pipeline.assets.spec import EngineChoice

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report
    from mmtui.pipeline.assistant import Assistant
    from mmtui.pipeline.prompt import Turn
    from mmtui.pipeline.vision.images import Picture

PROGRESS_EVERY_S = 0.1


def main(connection: Connection, model: str, engine: EngineChoice, dump: Dump) -> None:
    """Serve requests until the chat closes its end, or dies.

    Args:
        dump: Gets the stacks if this process crashes.
    """
    _leave_the_terminal()
    faulthandler.enable(dump)
    silence_libraries()
    _Worker(connection, model, engine).run()


class _Worker:
    def __init__(self, connection: Connection, model: str, engine: EngineChoice) -> None:
        self._connection, self._model, self._engine = connection, model, engine
        self._sending = threading.Lock()
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._cancelled: set[int] = set()
        self._assistant: Assistant | None = None

    def run(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            request = self._requests.get()
            try:
                self._serve(request)
            except Exception as error:
                self._send(_failed(request, error))
            self._cancelled.discard(request.number)

    def _listen(self) -> None:
        """Takes requests while another one is served; a cancellation is known at once."""
        while True:
            try:
                request = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the chat is gone: nobody waits for what is being done
            if isinstance(request, Cancel):
                self._cancelled.add(request.number)
            else:
                self._requests.put(request)

    def _serve(self, request: Request) -> None:
        assistant = self._loaded()
        if isinstance(request, Load):
            assistant.load()
            self._send(
                Ready(
                    request.number, assistant.name, assistant.language.context_length,
                    assistant.tokens_per_picture, assistant.picture_side, assistant.engine,
                    assistant.note,
                )
            )  # fmt: skip
        elif isinstance(request, Transcribe):
            self._send(Heard(request.number, assistant.transcribe(request.clip).text))
        elif isinstance(request, Ask):
            self._answer(assistant, request)

    def _answer(self, assistant: "Assistant", request: Ask) -> None:
        from mmtui.pipeline.assistant import Reply
        from mmtui.pipeline.engines.sampling import Sampling

        sampling = Sampling(request.temperature, request.top_p, request.seed)
        turns = [_turn(said, assistant) for said in request.turns]
        stopped = lambda: request.number in self._cancelled  # noqa: E731
        for event in assistant.reply(turns, sampling, request.max_tokens, stopped):
            if isinstance(event, Reply):
                self._send(
                    Answered(
                        request.number, event.stop_reason, event.prompt_tokens,
                        event.cached_tokens, event.completion_tokens, event.first_token_s,
                        event.decode_tokens_per_s, event.dropped, event.full, event.repeats,
                    )
                )  # fmt: skip
            else:
                self._send(Piece(request.number, event))

    def _loaded(self) -> "Assistant":
        if self._assistant is None:
            from mmtui.pipeline.assets import checkpoint
            from mmtui.pipeline.assistant import Assistant

            found = checkpoint.find(self._model)
            self._assistant = Assistant(found, self._reporter(), self._engine)
        return self._assistant

    def _reporter(self) -> "Report":
        shown, last = "", 0.0

        def report(step: str, done: int, total: int) -> None:
            nonlocal shown, last
            now = time.monotonic()
            if step != shown or now - last > PROGRESS_EVERY_S or done == total:
                shown, last = step, now
                self._send(Progress(step, done, total))

        return report

    def _send(self, event: Event) -> None:
        with self._sending:
            try:
                self._connection.send(event)
            except OSError:
                os._exit(0)


def _failed(request: Request, error: Exception) -> Failed:
    if isinstance(error, MmtuiError):
        failure = error
    else:
        from mmtui import logs

        failure = explain(error, logs.record_error(error))
    debugged = traceback.format_exc() if os.environ.get("MMTUI_DEBUG") else None
    is_too_long = isinstance(failure, TooLongError)
    return Failed(request.number, str(failure), failure.hint, debugged, is_too_long)


def _turn(said: Said, assistant: "Assistant") -> "Turn":
    from mmtui.pipeline.prompt import Turn

    pictures = (_picture(Path(file), assistant) for file in said.pictures)
    return Turn(said.role, (*pictures, said.text))


def _picture(file: Path, assistant: "Assistant") -> "Picture":
    """From the history, where files are named by their SHA-256."""
    from mmtui.pipeline.input_files import read_picture
    from mmtui.pipeline.vision.images import known

    return known(file.name) if assistant.has_encoded(file.name) else read_picture(file)


def _leave_the_terminal() -> None:
    """What native libraries print must not get onto the screen; Ctrl-C is the chat's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)

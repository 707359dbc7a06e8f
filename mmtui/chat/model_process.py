"""Runs the model of a chat in a separate process.

The chat stays responsive while the model loads and decodes, and survives its crash.
"""

import itertools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from mmtui.chat import worker
from mmtui.chat.protocol import (
    Cancel,
    ChatTurn,
    Died,
    Event,
    Generate,
    Load,
    LoadSpeech,
    Prepare,
    Request,
    Transcribe,
)
from mmtui.crashes import Dump, describe_signal, is_encoding
from mmtui.errors import MmtuiError, explain_death
from mmtui.pipeline.assets.spec import EngineChoice, SpeechChoice

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

TERMINATE_TIMEOUT_S = 1.0  # after which the process is killed


class ModelPort(Protocol):
    """The model of a chat. Requests return their number, which their events carry."""

    def load(self) -> int: ...

    def prepare(
        self,
        turns: Sequence[ChatTurn],
        pictures: Sequence[str],
        max_tokens: int,
        conversation: str,
        storage_bytes: int,
    ) -> int: ...

    def load_speech(self, language: str | None = None) -> int: ...

    def generate(
        self,
        turns: Sequence[ChatTurn],
        max_tokens: int,
        temperature: float,
        top_p: float,
        seed: int | None = None,
    ) -> int: ...

    def transcribe(self, clip: "Clip", language: str | None = None) -> int: ...

    def cancel(self, number: int) -> None: ...

    def switch_model(self, name: str) -> None: ...

    def list_models(self) -> list[tuple[str, str]]: ...

    def find_model(self, name: str) -> None: ...

    def close(self) -> None: ...


class ModelProcess:
    """Starts the process with the first request, and again after it has died."""

    def __init__(
        self,
        name: str,
        on_event: Callable[[Event], None],
        engine: EngineChoice = "auto",
        memory_bytes: int = 0,
        speech: SpeechChoice = "auto",
        read: bool | None = None,
        parallel: int = 1,
    ) -> None:
        """Prepare the process without starting it.

        Args:
            name: A preset, a checkpoint folder, a GGUF file or hf:OWNER/NAME.
            on_event: Called with each event, in a background thread.
            engine: The engine to run the model with.
            memory_bytes: Limit of the memory for what was read of other conversations than the
                present one.
            speech: The speech model.
            read: Whether the model gets the text in pictures; None if it was trained with it.
            parallel: How many replies are written together, where the engine can.
        """
        self._memory_bytes, self._read, self._parallel = memory_bytes, read, parallel
        self.name, self.engine, self.speech = name, engine, speech
        self._on_event = on_event
        self._numbers = itertools.count(1)
        self._process: SpawnProcess | None = None
        self._outbox: SimpleQueue[Request | None] = SimpleQueue()
        self._lock = threading.Lock()

    def load(self) -> int:
        """Request that the model is loaded, and return the number of the request."""
        return self._send(Load(next(self._numbers)))

    def prepare(
        self,
        turns: Sequence[ChatTurn],
        pictures: Sequence[str] = (),
        max_tokens: int = 512,
        conversation: str = "",
        storage_bytes: int = 0,
    ) -> int:
        """Request that the next question is prepared, and return the number of the request.

        Does nothing if the process has ended.

        Args:
            turns: The conversation before the question.
            pictures: Paths of the pictures that are attached to the question.
            max_tokens: Length limit of the reply.
            conversation: The id of the conversation, for what is stored of it.
            storage_bytes: Limit of the disk space for what is stored of all conversations; 0
                stores nothing.
        """
        request = Prepare(
            next(self._numbers),
            tuple(turns),
            tuple(pictures),
            max_tokens,
            conversation,
            storage_bytes,
        )
        self._send_if_alive(request)
        return request.number

    def load_speech(self, language: str | None = None) -> int:
        """Request that the speech model is loaded, and return the number of the request."""
        return self._send(LoadSpeech(next(self._numbers), language))

    def generate(
        self,
        turns: Sequence[ChatTurn],
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int | None = None,
        schema: str | None = None,
    ) -> int:
        """Request a reply to `turns`, and return the number that its events carry.

        `Generate` describes the arguments.
        """
        number = next(self._numbers)
        return self._send(
            Generate(number, tuple(turns), max_tokens, temperature, top_p, seed, schema)
        )

    def transcribe(self, clip: "Clip", language: str | None = None) -> int:
        """Request a transcript, and return the number that its event carries."""
        return self._send(Transcribe(next(self._numbers), clip, language))

    def cancel(self, number: int) -> None:
        """Stop a request; does nothing if the process has ended."""
        self._send_if_alive(Cancel(number))

    def switch_model(self, name: str) -> None:
        """End the process; the next request starts one with the model `name`."""
        self.close()
        self.name = name

    def list_models(self) -> list[tuple[str, str]]:
        """Return the name and a summary of each model on this machine. Blocks on the disk."""
        from mmtui.pipeline.assets.inventory import list_models, summarize_model

        return [(str(entry["name"]), summarize_model(entry)) for entry in list_models(self.speech)]

    def find_model(self, name: str) -> None:
        """Check that there is a model, without loading it; raise MmtuiError if there is none."""
        from mmtui.pipeline.assets import checkpoint

        checkpoint.find(name)

    def close(self) -> None:
        """End the process at once. `on_event` is not called any more."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.join(TERMINATE_TIMEOUT_S)
            if process.is_alive():
                process.kill()
                process.join()

    def _send(self, request: Request) -> int:
        with self._lock:
            if self._process is None or not self._process.is_alive():
                try:
                    self._start()
                except OSError as error:
                    died = Died(f"the model can't be started: {error}", "free some memory")
                    self._on_event(died)
                    return request.number
            self._outbox.put(request)
        return request.number

    def _send_if_alive(self, request: Request) -> None:
        with self._lock:
            if self._process is not None:
                self._outbox.put(request)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        dump = Dump()
        ours, theirs = context.Pipe()
        process = context.Process(
            target=worker.main,
            args=(
                theirs,
                self.name,
                self.engine,
                dump,
                self._memory_bytes,
                self.speech,
                self._read,
                self._parallel,
            ),
            name="mmtui-model",
            daemon=True,
        )
        # multiprocessing needs a file descriptor, which Textual's replacement of stderr lacks.
        with redirect_stderr(sys.__stderr__):
            process.start()
        theirs.close()
        self._process, self._outbox = process, SimpleQueue()
        arguments = (process, ours, self._outbox, dump)
        threading.Thread(target=self._listen, args=arguments, daemon=True).start()

    def _listen(
        self,
        process: SpawnProcess,
        connection: Connection,
        outbox: "SimpleQueue[Request | None]",
        dump: Dump,
    ) -> None:
        sender = threading.Thread(target=_send_requests, args=(outbox, connection), daemon=True)
        sender.start()
        while True:
            try:
                event = connection.recv()
            except (EOFError, OSError):
                break
            if self._process is process:
                self._on_event(event)
        process.join()
        outbox.put(None)
        sender.join()
        connection.close()  # only after the sender has ended: its descriptor may be reused
        with self._lock:
            expected = self._process is not process
            if not expected:
                self._process = None
        if not expected:
            self._on_event(_explain_death(process.exitcode or 0, dump.read()))


def _send_requests(outbox: "SimpleQueue[Request | None]", connection: Connection) -> None:
    """Send requests until None comes.

    This needs a thread: a clip is larger than a pipe's buffer, and a starting process does
    not read yet.
    """
    while (request := outbox.get()) is not None:
        try:
            connection.send(request)
        except OSError:
            return  # the listening thread reports the end of the process


def _explain_death(code: int, stacks: str) -> Died:
    """Return the event for an exit code as in `Process.exitcode`, where signals are negative."""
    if code < 0:
        from mmtui import logs

        log = logs.record_crash(f"the model process: {describe_signal(-code)}", stacks)
        error = explain_death("the model", -code, stacks, log)
    else:
        error = MmtuiError(f"the model process ended with exit code {code}")
    hints = [error.hint] if error.hint else []
    traceback = stacks if os.environ.get("MMTUI_DEBUG") else None
    is_refused = is_encoding(stacks)
    cure = "send again without the attachment" if is_refused else "send again to restart it"
    return Died(str(error), "; ".join([*hints, cure]), traceback or None, is_refused)

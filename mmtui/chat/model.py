"""The model of a chat, in a process of its own: loading, decoding or dying never stops the chat."""

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
from mmtui.chat.protocol import Ask, Cancel, Died, Event, Load, Request, Said, Transcribe
from mmtui.crashes import Dump, describe_signal
from mmtui.errors import MmtuiError, explain_death
from mmtui.pipeline.assets.spec import EngineChoice

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip

PATIENCE_S = 1.0  # how long a process that is told to end may take


class ModelPort(Protocol):
    """What a chat needs of a model."""

    def load(self) -> int: ...

    def ask(
        self, turns: Sequence[Said], max_tokens: int, temperature: float, top_p: float,
        seed: int | None = None,
    ) -> int: ...  # fmt: skip

    def transcribe(self, clip: "Clip") -> int: ...

    def cancel(self, number: int) -> None: ...

    def switch(self, name: str) -> None: ...

    def close(self) -> None: ...


class Model:
    """Starts its process with the first request, and again after it died.

    `hear` is called with each event, in a thread of this class.
    """

    def __init__(
        self, name: str, hear: Callable[[Event], None], engine: EngineChoice = "auto"
    ) -> None:
        self.name, self.engine = name, engine
        self._hear = hear
        self._numbers = itertools.count(1)
        self._process: SpawnProcess | None = None
        self._outbox: SimpleQueue[Request | None] = SimpleQueue()
        self._lock = threading.Lock()

    def load(self) -> int:
        return self._send(Load(next(self._numbers)))

    def ask(
        self,
        turns: Sequence[Said],
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int | None = None,
    ) -> int:
        """Returns the number that the events of this answer carry."""
        number = next(self._numbers)
        return self._send(Ask(number, tuple(turns), max_tokens, temperature, top_p, seed))

    def transcribe(self, clip: "Clip") -> int:
        return self._send(Transcribe(next(self._numbers), clip))

    def cancel(self, number: int) -> None:
        """Nothing happens if the process is not there any more."""
        with self._lock:
            if self._process is not None:
                self._outbox.put(Cancel(number))

    def switch(self, name: str) -> None:
        """Another model, from the next request on. No event of the old one comes any more."""
        self.close()
        self.name = name

    def close(self) -> None:
        """End the process, whatever it does. No event comes any more."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.join(PATIENCE_S)
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
                    self._hear(died)
                    return request.number
            self._outbox.put(request)
        return request.number

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        dump = Dump()
        ours, theirs = context.Pipe()
        process = context.Process(
            target=worker.main,
            args=(theirs, self.name, self.engine, dump),
            name="mmtui-model",
            daemon=True,
        )
        # Textual's stand-in for stderr has no file descriptor, for which multiprocessing asks.
        with redirect_stderr(sys.__stderr__):
            process.start()
        theirs.close()
        self._process, self._outbox = process, SimpleQueue()
        listening = (process, ours, self._outbox, dump)
        threading.Thread(target=self._listen, args=listening, daemon=True).start()

    def _listen(
        self,
        process: SpawnProcess,
        connection: Connection,
        outbox: "SimpleQueue[Request | None]",
        dump: Dump,
    ) -> None:
        delivery = threading.Thread(target=_deliver, args=(outbox, connection), daemon=True)
        delivery.start()
        while True:
            try:
                event = connection.recv()
            except (EOFError, OSError):
                break
            if self._process is process:
                self._hear(event)
        process.join()
        outbox.put(None)
        delivery.join()
        connection.close()  # not while it is written to: another one may get its descriptor
        with self._lock:
            expected = self._process is not process
            if not expected:
                self._process = None
        if not expected:
            self._hear(_death(process.exitcode or 0, dump.read()))


def _deliver(outbox: "SimpleQueue[Request | None]", connection: Connection) -> None:
    """A clip is more than a pipe holds, and a process that starts does not read yet."""
    while (request := outbox.get()) is not None:
        try:
            connection.send(request)
        except OSError:
            return  # its end is told by `Died`


def _death(code: int, stacks: str) -> Died:
    """`code` is that of `Process.exitcode`: negative for a signal."""
    if code < 0:
        from mmtui import logs

        log = logs.record_crash(f"the model's process: {describe_signal(-code)}", stacks)
        error = explain_death("the model", -code, stacks, log)
    else:
        error = MmtuiError(f"the model's process ended with exit code {code}")
    cures = [error.hint] if error.hint else []
    debugged = stacks if os.environ.get("MMTUI_DEBUG") else None
    return Died(str(error), "; ".join([*cures, "sending again starts it anew"]), debugged or None)

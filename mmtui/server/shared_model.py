"""One model process for all clients of a server, and the queue of their requests.

Requests are answered together, as many as the engine can; the others wait.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mmtui.chat.protocol import (
    ChatTurn,
    Completed,
    Died,
    Event,
    Failed,
    Prepared,
    Progress,
    Ready,
    Transcribed,
)
from mmtui.server.errors import make_queue_error
from mmtui.server.fair_queue import FairQueue

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

MAX_WAITING = 64  # requests
PREPARED_TOKENS = 512  # the usual length of a reply
REPEAT_S = 15.0
_FINAL = (Completed, Prepared, Transcribed, Failed, Died)


class ServedModel(Protocol):
    """The model process, whose requests return their number; see `ModelProcess`."""

    def load(self) -> int: ...

    def prepare(
        self,
        turns: Sequence[ChatTurn],
        pictures: Sequence[str],
        max_tokens: int,
        conversation: str,
        storage_bytes: int,
    ) -> int: ...

    def generate(
        self,
        turns: Sequence[ChatTurn],
        max_tokens: int,
        temperature: float,
        top_p: float,
        seed: int | None,
        schema: str | None,
    ) -> int: ...

    def transcribe(self, clip: "Clip", language: str | None) -> int: ...

    def cancel(self, number: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Waiting:
    """The place of a request in the queue: 1 if it is the next one, 0 if it is being answered."""

    place: int


@dataclass(frozen=True)
class Sampling:
    """How the tokens of a reply are chosen; see `Generate`."""

    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    schema: str | None


@dataclass(eq=False)
class Job:
    """A request to the model.

    Attributes:
        client: Whose request it is; clients take turns.
        send: Sends it to the model process, and returns its number there.
        number: This number; None while it waits.
        events: What happens to it; the last one is final.
        place: Its place in the queue; 0 if it does not wait.
        first_place: Its place when it came.
        is_ahead: Whether it only reads a conversation ahead, and gives way to all other requests.
    """

    client: str
    send: Callable[[], int]
    number: int | None = None
    events: "asyncio.Queue[Event | Waiting]" = field(default_factory=asyncio.Queue)
    place: int = 0
    first_place: int = 0
    is_ahead: bool = False


class SharedModel:
    """Queues the requests of clients. All methods must be called in the event loop.

    Attributes:
        ready: The properties of the model; None until it is loaded.
        progress: The long step in progress, if there is one.
    """

    def __init__(self, open_port: Callable[[Callable[[Event], None]], ServedModel]) -> None:
        """Prepare the queue without starting the model.

        Args:
            open_port: Returns the model; the argument is called with its events, in any thread.
        """
        self._loop = asyncio.get_running_loop()
        self._port = open_port(self._receive)
        self._queue: FairQueue[Job] = FairQueue()
        self._ahead: FairQueue[Job] = FairQueue()  # while there is no other request
        self._running: list[Job] = []
        self._load_number: int | None = None
        self.ready: Ready | None = None
        self.progress: Progress | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return sum(not job.is_ahead for job in self._running)

    @property
    def parallel(self) -> int:
        """How many requests can be answered together; 1 until the model is loaded."""
        return self.ready.parallel if self.ready is not None else 1

    @property
    def is_loading(self) -> bool:
        """Whether the model is being loaded."""
        return self._load_number is not None

    def load(self) -> None:
        """Start to load the model, unless it is loaded. Requests do so, too."""
        if self.ready is None and self._load_number is None:
            self._load_number = self._port.load()
            # Loads the vision tower and reads the start of all prompts; requests interrupt it.
            self._port.prepare((), (), PREPARED_TOKENS, "", 0)

    def generate(self, client: str, turns: Sequence[ChatTurn], sampling: Sampling) -> Job:
        """Queue a reply.

        Args:
            client: Whose request it is.
            turns: The conversation.
            sampling: How tokens are chosen.

        Raises:
            ApiError: The queue is full.
        """

        def send() -> int:
            return self._port.generate(
                turns,
                sampling.max_tokens,
                sampling.temperature,
                sampling.top_p,
                sampling.seed,
                sampling.schema,
            )

        return self._submit(Job(client, send))

    def prepare(self, client: str, turns: Sequence[ChatTurn], max_tokens: int) -> Job:
        """Queue the reading of a conversation ahead of its next question.

        All other requests come first. One that comes meanwhile interrupts it; it goes on after
        them, with what it had not read.

        Args:
            client: Whose request it is.
            turns: The conversation. A last turn of the user without text has the pictures of the
                next question.
            max_tokens: Length limit of the reply to that question.

        Raises:
            ApiError: The queue is full.
        """
        pictures: Sequence[str] = ()
        if turns and turns[-1].role == "user" and not turns[-1].text:
            turns, pictures = turns[:-1], turns[-1].pictures
        return self._submit(
            Job(
                client,
                lambda: self._port.prepare(turns, pictures, max_tokens, "", 0),
                is_ahead=True,
            )
        )

    def transcribe(self, client: str, clip: "Clip", language: str | None = None) -> Job:
        """Queue a transcript.

        Args:
            client: Whose request it is.
            clip: Mono speech at 16 kHz.
            language: Code of the spoken language; None detects it.

        Raises:
            ApiError: The queue is full.
        """
        return self._submit(Job(client, lambda: self._port.transcribe(clip, language)))

    async def follow(self, job: Job) -> AsyncGenerator[Event | Waiting, None]:
        """Yield what happens to a request, up to its end. It is cancelled if the caller stops.

        While nothing happens, its place is repeated, which keeps connections alive.
        """
        try:
            while True:
                event: Event | Waiting
                try:
                    async with asyncio.timeout(REPEAT_S):
                        event = await job.events.get()
                except TimeoutError:
                    event = Waiting(job.place)
                yield event
                if isinstance(event, _FINAL):
                    return
        finally:
            self.cancel(job)

    def cancel(self, job: Job) -> None:
        """Stop a request as soon as possible; does nothing if it has ended."""
        if self._get_queue(job).remove(job.client, job):
            self._update_places()
        elif job in self._running and job.number is not None:
            self._port.cancel(job.number)
            if job.is_ahead:  # else its reply ends with what it has so far
                self._running.remove(job)
                self._start_jobs()

    def close(self) -> None:
        """End the model process."""
        self._port.close()

    def _submit(self, job: Job) -> Job:
        queue = self._get_queue(job)
        if len(queue) >= MAX_WAITING:
            raise make_queue_error(MAX_WAITING)
        queue.put(job.client, job)
        if not job.is_ahead:
            self._interrupt()
        self._start_jobs()
        return job

    def _get_queue(self, job: Job) -> FairQueue[Job]:
        return self._ahead if job.is_ahead else self._queue

    def _interrupt(self) -> None:
        """Put what is read ahead back into its queue: the model process stops it for others."""
        for job in [job for job in self._running if job.is_ahead]:
            self._running.remove(job)
            self._ahead.put(job.client, job)

    def _start_jobs(self) -> None:
        """Start the requests that come next, as many as can be answered together."""
        while len(self._running) < self.parallel and (job := self._queue.pop()) is not None:
            self._start(job)
        if not self._running and (job := self._ahead.pop()) is not None:
            self._start(job)
        self._update_places()

    def _start(self, job: Job) -> None:
        self._running.append(job)
        self.load()
        if job.place:
            job.place = 0
            job.events.put_nowait(Waiting(0))
        job.number = job.send()

    def _update_places(self) -> None:
        for place, job in enumerate(self._queue, 1):
            if place != job.place:
                job.place, job.first_place = place, job.first_place or place
                job.events.put_nowait(Waiting(place))

    def _receive(self, event: Event) -> None:
        """Pass an event on to the event loop, which has ended when the server is closed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._handle, event)

    def _handle(self, event: Event) -> None:
        self._update_status(event)
        for job in self._find_jobs(event):
            job.events.put_nowait(event)
            if isinstance(event, _FINAL):
                self._running.remove(job)
        if isinstance(event, (*_FINAL, Ready)):
            self._start_jobs()

    def _find_jobs(self, event: Event) -> list[Job]:
        """Return the running requests that an event is about."""
        if isinstance(event, Died) or event.number is None:
            return list(self._running)
        return [job for job in self._running if job.number == event.number]

    def _update_status(self, event: Event) -> None:
        # Any other event ends the step, whose last progress is not sent if a request interrupts it.
        self.progress = None
        if isinstance(event, Progress):
            self.progress = event if event.done < event.total else None
        elif isinstance(event, Died):
            self.ready, self._load_number = None, None
        elif event.number == self._load_number:
            self._load_number = None
            if isinstance(event, Ready):
                self.ready = event

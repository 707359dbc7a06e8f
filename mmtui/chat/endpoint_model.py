"""The model of a chat, run by a server: the same requests and events as of a model process.

Each request has a thread of its own. Recordings are transcribed in a process of this machine,
unless the server does that, too.
"""

import dataclasses
import itertools
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.config import LOCAL_MODEL
from mmtui.chat.model_process import ModelProcess
from mmtui.chat.protocol import (
    ChatTurn,
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
from mmtui.endpoint import faults, speech
from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.capabilities import Catalog, ModelInfo
from mmtui.endpoint.client import Client
from mmtui.endpoint.completion import Completion, Delta, Request
from mmtui.endpoint.exchange import Cancellation, CancelledError
from mmtui.endpoint.loading import wait_until_loaded
from mmtui.endpoint.messages import EndpointTurn, drop_oldest
from mmtui.endpoint.picture_texts import EndpointTexts
from mmtui.endpoint.pictures import DataUriCache
from mmtui.errors import MmtuiError, TooLongError, explain
from mmtui.pipeline.assets.spec import SpeechChoice
from mmtui.pipeline.input_files import encode_wav, read_picture

if TYPE_CHECKING:
    from PIL import Image

    from mmtui.pipeline.speech.sound import Clip

Work = Callable[[int, Cancellation], None]


class EndpointModel:
    """Sends the requests of a chat to a server."""

    def __init__(
        self,
        endpoint: Endpoint,
        name: str,
        on_event: Callable[[Event], None],
        speech: SpeechChoice = "auto",
        *,
        can_read: bool = False,
    ) -> None:
        """Prepare the requests without connecting.

        Args:
            endpoint: The server.
            name: The name of one of its models; "auto" is the only one.
            on_event: Called with each event, in a background thread.
            speech: The speech model of this machine, if the server has none.
            can_read: Whether the model gets the text in pictures, which is recognized here.
        """
        self.name = name
        self._texts = EndpointTexts() if can_read else None
        self._client, self._on_event = Client(endpoint, self._report), on_event
        self._catalog = Catalog(self._client)
        self._numbers = itertools.count(1)
        self._running: dict[int, Cancellation] = {}
        self._pictures = DataUriCache()
        self._speech = _LocalSpeech(on_event, speech)

    def load(self) -> int:
        """Request that the model is found, and return the number of the request."""
        return self._start(self._load)

    def prepare(
        self,
        turns: Sequence[ChatTurn],
        pictures: Sequence[str],
        max_tokens: int,  # noqa: ARG002
        conversation: str,  # noqa: ARG002
        storage_bytes: int,  # noqa: ARG002
    ) -> int:
        """Request that pictures are encoded, and return the number of the request.

        It fails if the model does not accept pictures. The conversation is not sent ahead: the
        protocol has no request that only fills a cache.
        """
        paths = [*pictures, *(picture for turn in turns for picture in turn.pictures)]

        def work(number: int, cancellation: Cancellation) -> None:
            if pictures:
                self._find_model(cancellation, has_pictures=True)
            for path in paths:
                cancellation.check()
                self._encode_picture(path)
                self._read_pictures([path], can_see=True)
            self._send(Prepared(number), cancellation)

        return self._start(work)

    def load_speech(self, language: str | None = None) -> int:
        """Request that the speech model is loaded, and return the number of the request."""

        def work(number: int, cancellation: Cancellation) -> None:
            if self._find_transcriber(cancellation) is None:
                load = partial(self._speech.process.load_speech, language)
                self._speech.request(number, load)
            else:
                self._send(Prepared(number), cancellation)

        return self._start(work)

    def generate(
        self,
        turns: Sequence[ChatTurn],
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int | None = None,
    ) -> int:
        """Request a reply to `turns`, and return the number that its events carry."""

        def work(number: int, cancellation: Cancellation) -> None:
            info = self._find_model(
                cancellation,
                has_pictures=any(turn.pictures for turn in turns),
                has_recordings=any(turn.recordings for turn in turns),
            )
            can_see = info.can_see is not False
            encoded = tuple(self._encode_turn(turn, can_see) for turn in turns)
            request = Request(encoded, max_tokens, temperature, top_p, seed)
            self._generate_in_context(number, info, request, cancellation)

        return self._start(work)

    def transcribe(self, clip: "Clip", language: str | None = None) -> int:
        """Request a transcript, and return the number that its event carries."""

        def work(number: int, cancellation: Cancellation) -> None:
            if (model := self._find_transcriber(cancellation)) is None:
                transcribe = partial(self._speech.process.transcribe, clip, language)
                self._speech.request(number, transcribe)
            else:
                transcript = speech.transcribe(
                    self._client, model, encode_wav(clip), language, cancellation
                )
                self._send(
                    Transcribed(number, transcript.text, transcript.language, transcript.notes),
                    cancellation,
                )

        return self._start(work)

    def cancel(self, number: int) -> None:
        """Close the connection of a request; does nothing if it has ended."""
        if (cancellation := self._running.pop(number, None)) is not None:
            cancellation.cancel()

    def switch_model(self, name: str) -> None:
        """Close all connections, and use another model of the server from now on."""
        self._cancel_all()
        self.name = name

    def list_models(self) -> list[tuple[str, str]]:
        """Return the name and a summary of each model of the server. Blocks on the network."""
        models = self._catalog.list_models(Cancellation())
        return [(model.name, model.summary) for model in models if model.can_chat]

    def find_model(self, name: str) -> None:
        """Check that the server has a model; raise MmtuiError if it has not."""
        self._catalog.require(name, Cancellation())

    def close(self) -> None:
        """Close all connections and end the process. `on_event` is not called any more."""
        self._cancel_all()
        self._speech.close()

    def _cancel_all(self) -> None:
        for number in list(self._running):
            self.cancel(number)

    def _start(self, work: Work) -> int:
        number, cancellation = next(self._numbers), Cancellation()
        self._running[number] = cancellation
        target = partial(self._run, number, cancellation, work)
        threading.Thread(target=target, name="mmtui-endpoint", daemon=True).start()
        return number

    def _run(self, number: int, cancellation: Cancellation, work: Work) -> None:
        try:
            work(number, cancellation)
        except CancelledError:
            return
        except Exception as error:
            self._catalog.forget()
            if not cancellation.is_cancelled:
                self._on_event(self._to_failed(number, error))
        finally:
            self._running.pop(number, None)

    def _send(self, event: Event, cancellation: Cancellation) -> None:
        cancellation.check()
        self._on_event(event)

    def _report(self, step: str, done: int, total: int) -> None:
        self._on_event(Progress(step, done, total))

    def _load(self, number: int, cancellation: Cancellation) -> None:
        endpoint = self._client.endpoint
        info = self._find_model(cancellation)
        if info.reports_loading:
            wait_until_loaded(self._client, cancellation, self._report)
            self._catalog.forget()  # the context is known now
            info = self._find_model(cancellation)
        notes = [endpoint.note] if endpoint.note else []
        if self._texts is not None and info.can_see is False:
            notes.append(f"{info.name} can't see: of pictures, it gets only the text")
        ready = Ready(
            number, info.name, context=info.context, picture_tokens=0, vision=None,
            engine=endpoint.location, note="; ".join(notes) or None, languages=info.languages,
            can_see=info.can_see, reads_text=self._texts is not None,
        )  # fmt: skip
        self._send(ready, cancellation)

    def _find_model(
        self,
        cancellation: Cancellation,
        *,
        has_pictures: bool = False,
        has_recordings: bool = False,
    ) -> ModelInfo:
        """Find the model, and check that it accepts the attachments that it is going to get."""
        name = self._catalog.resolve(self.name, cancellation)
        sends_pictures = has_pictures and self._texts is None
        return self._catalog.check_inputs(
            name, cancellation, pictures=sends_pictures, recordings=has_recordings
        )

    def _find_transcriber(self, cancellation: Cancellation) -> str | None:
        """Return the name of a model of the server that transcribes; None if there is none."""
        try:
            info = self._find_model(cancellation)
        except MmtuiError:  # reported when the question is asked
            return None
        return info.name if info.can_transcribe else None

    def _generate_in_context(
        self, number: int, info: ModelInfo, request: Request, cancellation: Cancellation
    ) -> None:
        """Generate a reply; without the oldest turns where they do not fit the model's context."""
        count = len(request.turns)
        while True:
            try:
                dropped = count - len(request.turns)
                self._generate(number, info, request, dropped, cancellation)
                return
            except faults.ContextError as error:
                kept = drop_oldest(request.turns)
                if len(kept) == len(request.turns):
                    raise TooLongError(str(error), error.hint) from error
                request = dataclasses.replace(request, turns=kept)

    def _generate(
        self,
        number: int,
        info: ModelInfo,
        request: Request,
        dropped: int,
        cancellation: Cancellation,
    ) -> None:
        parts = self._client.complete(
            info.name, request, cancellation, continue_message=info.continues_on_request
        )
        for part in parts:
            if isinstance(part, Completion):
                self._send(_to_completed(number, part, dropped), cancellation)
            elif isinstance(part, Delta):
                self._send(Piece(number, part.text, part.is_thinking), cancellation)

    def _encode_turn(self, turn: ChatTurn, can_see: bool) -> EndpointTurn:
        """Return a turn as the server gets it, with its files."""
        pictures = tuple(map(self._encode_picture, turn.pictures)) if can_see else ()
        recordings = tuple(_load_recording(Path(path)) for path in turn.recordings)
        texts = self._read_pictures(turn.pictures, can_see)
        return EndpointTurn(turn.role, turn.text, pictures, recordings, texts)

    def _read_pictures(self, paths: Sequence[str], can_see: bool) -> tuple[str, ...]:
        """Return what is said about the text in pictures; nothing if the model does not get it."""
        if self._texts is None:
            return ()
        files = {Path(path).name: Path(path) for path in paths}  # named by their SHA-256
        keys = [Path(path).name for path in paths]
        return self._texts.describe(keys, lambda key: read_picture(files[key]), can_see=can_see)

    def _encode_picture(self, path: str) -> str:
        return self._pictures.get(path, partial(_load_picture, Path(path)))

    def _to_failed(self, number: int, error: Exception) -> Failed:
        """Return the event for an error; an unexpected one is written to the log."""
        if isinstance(error, MmtuiError):
            failure = error
        else:
            from mmtui import logs

            failure = explain(error, logs.record_error(error))
        redact = self._client.endpoint.redact
        stacks = redact(traceback.format_exc()) if os.environ.get("MMTUI_DEBUG") else None
        is_refused = isinstance(failure, TooLongError | faults.UnsupportedInputError)
        return Failed(number, redact(str(failure)), failure.hint, stacks, is_refused)


class _LocalSpeech:
    """Transcribes recordings in a model process, which starts with the first one."""

    def __init__(self, on_event: Callable[[Event], None], speech: SpeechChoice) -> None:
        self._on_event = on_event
        self.process = ModelProcess(LOCAL_MODEL, self._forward, speech=speech)
        self._numbers: dict[int, int] = {}  # of the requests of the chat, by those of the process
        self._starting: list[int] = []  # requests that may have to start the process
        self._lock = threading.RLock()

    def request(self, number: int, send: Callable[[], int]) -> int:
        """Send a request to the process for the request `number` of the chat; return `number`."""
        with self._lock:
            self._starting.append(number)
            sent = send()
            if self._starting:
                self._numbers[sent] = self._starting.pop()
        return number

    def close(self) -> None:
        """End the process."""
        self.process.close()

    def _forward(self, event: Event) -> None:
        """Pass on an event, as one of the request of the chat."""
        with self._lock:
            if isinstance(event, Prepared | Transcribed | Failed):
                number = self._numbers.pop(event.number)
                self._on_event(dataclasses.replace(event, number=number))
            elif isinstance(event, Died):  # the server is alive, so only these requests fail
                for number in (*self._numbers.values(), *self._starting):
                    self._on_event(Failed(number, event.message, event.hint, event.traceback))
                self._numbers.clear()
                self._starting.clear()
            elif isinstance(event, Progress):
                self._on_event(event)


def _load_picture(path: Path) -> "Image.Image":
    return read_picture(path).image


def _load_recording(path: Path) -> bytes:
    from mmtui.pipeline.input_files import read_clip

    return encode_wav(read_clip(path))


def _to_completed(number: int, completion: Completion, dropped: int) -> Completed:
    return Completed(
        number=number,
        stop_reason=completion.stop_reason,
        prompt_tokens=completion.prompt_tokens,
        cached_tokens=completion.cached_tokens,
        completion_tokens=completion.completion_tokens,
        first_token_s=completion.first_token_s,
        tokens_per_s=completion.tokens_per_s,
        dropped=dropped + completion.dropped,
        full=completion.full,
        repeats=completion.repeats,
    )

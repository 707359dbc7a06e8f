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
from typing import TYPE_CHECKING

from mmtui.chat.local_speech import LocalSpeech
from mmtui.chat.protocol import (
    ChatTurn,
    Completed,
    Event,
    Failed,
    Piece,
    Prepared,
    Progress,
    Ready,
    Transcribed,
)
from mmtui.chat.reply_files import to_event
from mmtui.chat.turn_encoder import TurnEncoder
from mmtui.endpoint import faults, speech
from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.capabilities import Catalog, ModelInfo
from mmtui.endpoint.client import Client
from mmtui.endpoint.completion import Completion, Delta, Request
from mmtui.endpoint.exchange import Cancellation, CancelledError
from mmtui.endpoint.loading import wait_until_loaded
from mmtui.endpoint.messages import drop_oldest
from mmtui.errors import MmtuiError, TooLongError, explain
from mmtui.pipeline.assets.spec import SpeechChoice
from mmtui.pipeline.input_files import encode_wav

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

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
        self._client, self._on_event = Client(endpoint, self._report), on_event
        self._catalog = Catalog(self._client)
        self._numbers = itertools.count(1)
        self._running: dict[int, Cancellation] = {}
        self._encoder = TurnEncoder(reads_text=can_read)
        self._speech = LocalSpeech(on_event, speech)
        self._ahead = Cancellation()  # of the conversation that the server reads ahead

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
        """Request that the next question is prepared, and return the number of the request.

        Pictures are encoded. `mmtui serve` on this machine also reads the conversation ahead; to
        another machine, nothing is sent before it is asked. The request fails if the model does not
        accept pictures.
        """
        self._ahead.cancel()
        self._ahead = ahead = Cancellation()

        def work(number: int, cancellation: Cancellation) -> None:
            if pictures:
                self._find_model(cancellation, has_pictures=True)
            for picture in (*(each for turn in turns for each in turn.pictures), *pictures):
                cancellation.check()
                self._encoder.prepare(picture)
            if turns or pictures:
                self._read_ahead([*turns, ChatTurn("user", "", tuple(pictures))], ahead)
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
        self._ahead.cancel()

        def work(number: int, cancellation: Cancellation) -> None:
            info = self._find_model(
                cancellation,
                has_pictures=any(turn.pictures for turn in turns),
                has_recordings=any(turn.recordings for turn in turns),
            )
            can_see = info.can_see is not False
            encoded = tuple(self._encoder.encode(turn, can_see=can_see) for turn in turns)
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
        self._ahead.cancel()
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
        if self._encoder.reads_text and info.can_see is False:
            notes.append(f"{info.name} can't see: of pictures, it gets only the text")
        ready = Ready(
            number, info.name, context=info.context, picture_tokens=0, vision=None,
            engine=endpoint.location, note="; ".join(notes) or None, languages=info.languages,
            can_see=info.can_see, reads_text=self._encoder.reads_text,
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
        sends_pictures = has_pictures and not self._encoder.reads_text
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

    def _read_ahead(self, turns: Sequence[ChatTurn], cancellation: Cancellation) -> None:
        """Have a server on this machine read a conversation, if it can do so.

        Errors are reported when the question is asked.
        """
        if not self._client.endpoint.is_loopback:
            return
        try:
            info = self._find_model(cancellation)
            if info.reads_ahead:
                can_see = info.can_see is not False
                encoded = tuple(self._encoder.encode(turn, can_see=can_see) for turn in turns)
                request = Request(encoded, max_tokens=0)
                for _ in self._client.complete(info.name, request, cancellation):
                    pass  # the reply is empty
        except CancelledError:
            pass  # another question is prepared, or this one is asked
        except MmtuiError:
            self._catalog.forget()

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
            info.name,
            request,
            cancellation,
            continue_message=info.continues_on_request,
            outputs=info.outputs,
        )
        for part in parts:
            if isinstance(part, Completion):
                self._send(_to_completed(number, part, dropped), cancellation)
            elif isinstance(part, Delta):
                piece = Piece(number, part.text, part.is_thinking, part.is_spoken, part.is_tool)
                self._send(piece, cancellation)
            else:
                self._send(to_event(number, part), cancellation)

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

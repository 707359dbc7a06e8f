"""Replies of the model as responses: in one document, or as a stream of events."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import NoReturn

from aiohttp import web

from mmtui.chat.protocol import Completed, Died, Failed, Piece, Prepared, Progress, Transcribed
from mmtui.server.errors import TOO_LONG, ApiError, make_server_error
from mmtui.server.requests import CompletionRequest
from mmtui.server.responses import (
    ChatCompletion,
    Choice,
    Chunk,
    ChunkChoice,
    Delta,
    Identity,
    ReplyMessage,
    count_usage,
    get_finish_reason,
    get_notes,
)
from mmtui.server.shared_model import Job, SharedModel, Waiting
from mmtui.server.stop_texts import StopTexts

PLACE_HEADER = "X-Queue-Place"  # of a request when it came; 0 if it did not have to wait


async def wait_for_transcript(model: SharedModel, job: Job) -> Transcribed:
    """Return a transcript.

    Raises:
        ApiError: The model failed.
    """
    async with aclosing(model.follow(job)) as events:
        async for event in events:
            if isinstance(event, Transcribed):
                return event
            if isinstance(event, Failed | Died):
                _raise_failure(event)
    raise make_server_error("the model has ended")


async def respond(
    model: SharedModel, job: Job, body: CompletionRequest, identity: Identity
) -> web.Response:
    """Return the response with a whole reply.

    Raises:
        ApiError: The model failed.
    """
    text = ""
    async with aclosing(_read_reply(model, job, body)) as events:
        async for event in events:
            if isinstance(event, Piece) and not event.is_thinking:
                text += event.text
            elif isinstance(event, Completed):
                message, reason = ReplyMessage(content=text), get_finish_reason(event)
                completion = ChatCompletion(
                    **identity.model_dump(),
                    choices=[Choice(message=message, finish_reason=reason)],
                    usage=count_usage(event),
                    notes=get_notes(event),
                )
                return web.Response(
                    text=completion.encode(),
                    content_type="application/json",
                    headers={PLACE_HEADER: str(job.first_place)},
                )
    raise make_server_error("the model has ended")


async def stream(
    request: web.Request,
    model: SharedModel,
    job: Job,
    body: CompletionRequest,
    identity: Identity,
) -> web.StreamResponse:
    """Send a reply as server-sent events, while the model writes it.

    Comments report the place in the queue and long steps, such as loading the model.

    Raises:
        ApiError: The model failed before the first event. Later, an event reports it.
    """
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            PLACE_HEADER: str(job.first_place),
        }
    )

    async def send(line: str) -> None:
        if not response.prepared:
            await response.prepare(request)
        await response.write(f"{line}\n\n".encode())

    parts = _Parts(identity, includes_usage=body.includes_usage)
    try:
        async with aclosing(_read_reply(model, job, body)) as events:
            async for event in events:
                for line in parts.encode(event):
                    await send(line)
    except ApiError as error:
        if not response.prepared:
            raise
        await send(f"data: {error.to_response().text}")
    except ConnectionError:  # the client has hung up, which has cancelled the job
        pass
    return response


class _Parts:
    """Encodes the events of a reply as those of a stream."""

    def __init__(self, identity: Identity, *, includes_usage: bool) -> None:
        self._identity, self._includes_usage = identity.model_dump(), includes_usage
        self._has_started = False

    def encode(self, event: Waiting | Progress | Piece | Completed) -> Iterator[str]:
        """Yield the lines for an event."""
        if isinstance(event, Waiting | Progress):
            yield _to_comment(event)
            return
        if not self._has_started:
            self._has_started = True
            yield self._encode_chunk(Delta(role="assistant", content=""))
        if isinstance(event, Piece) and event.is_thinking:
            yield self._encode_chunk(Delta(reasoning_content=event.text))
        elif isinstance(event, Piece):
            yield self._encode_chunk(Delta(content=event.text))
        else:
            choice = ChunkChoice(delta=Delta(), finish_reason=get_finish_reason(event))
            last = Chunk(**self._identity, choices=[choice], notes=get_notes(event))
            yield f"data: {last.encode()}"
            if self._includes_usage:
                chunk = Chunk(**self._identity, choices=[], usage=count_usage(event))
                yield f"data: {chunk.encode()}"
            yield "data: [DONE]"

    def _encode_chunk(self, delta: Delta) -> str:
        chunk = Chunk(**self._identity, choices=[ChunkChoice(delta=delta)])
        return f"data: {chunk.encode()}"


async def _read_reply(
    model: SharedModel, job: Job, body: CompletionRequest
) -> AsyncGenerator[Waiting | Progress | Piece | Completed, None]:
    """Yield the events of a reply, which ends at the stop texts of the request."""
    stops = StopTexts(body.stops)
    async with aclosing(model.follow(job)) as events:
        async for event in events:
            if isinstance(event, Piece) and not event.is_thinking:
                if text := stops.push(event.text):
                    yield Piece(event.number, text)
                if stops.has_stopped:
                    model.cancel(job)
            elif isinstance(event, Completed):
                if text := stops.flush():
                    yield Piece(event.number, text)
                yield event
            elif isinstance(event, Prepared):  # an empty reply: its limit was 0 tokens
                yield Completed(event.number, "length", 0, 0, 0, None, None)
            elif isinstance(event, Failed | Died):
                _raise_failure(event)
            elif isinstance(event, Waiting | Progress | Piece):
                yield event


def _to_comment(event: Waiting | Progress) -> str:
    """Return a comment of a stream, which clients ignore, or show as the status."""
    if isinstance(event, Waiting):
        return f": queue {event.place}"
    return f": progress {event.done}/{event.total} {event.step}"


def _raise_failure(event: Failed | Died) -> NoReturn:
    if isinstance(event, Failed) and event.is_refused:
        message = f"{event.message}: this exceeds the context length of the model"
        raise ApiError(message, code=TOO_LONG, param="messages")
    if isinstance(event, Failed) and event.is_schema_refused:
        message = f"{event.message}: the reply can't be restricted to JSON of this form"
        raise ApiError(message, code="unsupported_response_format", param="response_format")
    raise make_server_error(event.message)

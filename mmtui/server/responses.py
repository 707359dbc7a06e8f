"""The documents that the API responds with.

https://platform.openai.com/docs/api-reference/chat/object
"""

import time
import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mmtui.chat.protocol import Completed

OWNER = "mmtui"

FinishReason = Literal["stop", "length"]


class Document(BaseModel):
    """A response, or an object in it."""

    model_config = ConfigDict(extra="forbid")

    def encode(self) -> str:
        """Return the JSON text, without the fields that are not set."""
        return self.model_dump_json(exclude_none=True)


class Architecture(Document):
    """What messages may contain."""

    input_modalities: list[Literal["text", "image", "audio"]]


class Capabilities(Document):
    """What a model can do."""

    vision: bool
    transcription: bool


class ModelEntry(Document):
    """A model.

    `context_length` is known once it is loaded. `languages` are the codes of those that it speaks.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = OWNER
    architecture: Architecture
    capabilities: Capabilities
    context_length: int | None = None
    languages: list[str] | None = None


class ModelList(Document):
    """The models of the server."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


class PromptDetails(Document):
    """How many tokens of the prompt were in the KV cache."""

    cached_tokens: int


class Usage(Document):
    """The number of tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class ReplyNotes(Document):
    """What happened to a reply, beyond OpenAI's protocol.

    Attributes:
        dropped: How many of the oldest turns were left out because the context is full.
        full: Whether the reply was cut off at the end of the context.
        repeats: Whether the reply was stopped because it repeated itself.
    """

    dropped: int
    full: bool
    repeats: bool


class ReplyMessage(Document):
    """A reply."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(Document):
    """The only choice."""

    index: int = 0
    message: ReplyMessage
    finish_reason: FinishReason


class Identity(Document):
    """What all parts of a response have in common."""

    id: str = Field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = Field(default_factory=lambda: int(time.time()))
    model: str


class ChatCompletion(Identity):
    """A reply that is not streamed."""

    object: Literal["chat.completion"] = "chat.completion"
    choices: list[Choice]
    usage: Usage
    notes: ReplyNotes | None = None


class Delta(Document):
    """The next piece of a reply."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None


class ChunkChoice(Document):
    """The part of the only choice in a chunk."""

    index: int = 0
    delta: Delta
    finish_reason: FinishReason | None = None


class Chunk(Identity):
    """A part of a streamed reply."""

    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    choices: list[ChunkChoice]
    usage: Usage | None = None
    notes: ReplyNotes | None = None


class Transcription(Document):
    """The transcript of a recording.

    Attributes:
        language: Code of the spoken language.
        notes: What the user should know, such as that a smaller speech model was used.
    """

    text: str
    language: str | None = None
    notes: list[str] | None = None


class Health(Document):
    """The state of the server.

    Attributes:
        status: "idle" until the first request or page starts to load the model.
        step: The long step in progress, such as a download.
        done: How many units of the step are done.
        total: How many units there are; 0 if that is not known.
        waiting: How many requests wait.
        parallel: How many requests can be answered together; missing if it is one, or if the model
            is not loaded.
        running: How many of them are answered at present; missing with `parallel`.
    """

    status: Literal["idle", "loading", "ok"]
    step: str | None = None
    done: int | None = None
    total: int | None = None
    waiting: int
    parallel: int | None = None
    running: int | None = None


class ErrorDetails(Document):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorDocument(Document):
    """The response to a request that failed."""

    error: ErrorDetails


def count_usage(completed: Completed) -> Usage:
    """Return the usage of a completed reply."""
    return Usage(
        prompt_tokens=completed.prompt_tokens,
        completion_tokens=completed.completion_tokens,
        total_tokens=completed.prompt_tokens + completed.completion_tokens,
        prompt_tokens_details=PromptDetails(cached_tokens=completed.cached_tokens),
    )


def get_notes(completed: Completed) -> ReplyNotes | None:
    """Return what the user should know about a completed reply, if there is anything."""
    if not (completed.dropped or completed.full or completed.repeats):
        return None
    return ReplyNotes(dropped=completed.dropped, full=completed.full, repeats=completed.repeats)


def get_finish_reason(completed: Completed) -> FinishReason:
    """Return why a reply ended; one that was cancelled has reached a stop text."""
    return "length" if completed.stop_reason == "length" else "stop"

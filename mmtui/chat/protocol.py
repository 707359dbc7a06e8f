"""The messages between the chat and its model process.

The chat sends requests, each with a number. Events that answer a request carry its number. This
module imports nothing heavy, because the screen must be usable before the model's libraries are
loaded.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mmtui.pipeline.assets.spec import VisionSpec
    from mmtui.pipeline.speech.clip import Clip

StopReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class ChatTurn:
    """One turn of a conversation.

    Attributes:
        role: Who wrote it.
        text: Its text.
        pictures: Paths of its pictures, which come before the text.
        recordings: Paths of the recordings that the model hears itself; those that are transcribed
            are part of the text.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """Load the language model before the first question. Answered by `Ready`."""

    number: int


@dataclass(frozen=True)
class Prepare:
    """Load and read ahead what the next question will need. Answered by `Prepared`.

    The vision tower is loaded, pictures are encoded, and the KV cache is filled with the start of
    the prompt. This gives way to any other request, and does nothing before `Load` succeeded.

    Attributes:
        number: The number of the request.
        turns: The conversation before the question.
        pictures: Paths of the pictures that are attached to the question.
        max_tokens: Length limit of the reply.
        conversation: The id of the conversation, for what is stored of it.
        storage_bytes: Limit of the disk space for what is stored of all conversations.
    """

    number: int
    turns: tuple[ChatTurn, ...]
    pictures: tuple[str, ...]
    max_tokens: int
    conversation: str
    storage_bytes: int


@dataclass(frozen=True)
class LoadSpeech:
    """Load the speech model before a recording ends. Answered by `Prepared`.

    A download of its weights gives way to any other request. `language` is the code of the spoken
    language; None if it is to be detected.
    """

    number: int
    language: str | None = None


@dataclass(frozen=True)
class Generate:
    """Generate a reply to `turns`. Answered by `Piece`s and one `Completed`.

    Attributes:
        number: The number of the request.
        turns: The conversation.
        max_tokens: Length limit of the reply.
        temperature: 0 always chooses the most probable token.
        top_p: The probability of the tokens that are sampled from.
        seed: Makes a reply with a temperature above 0 repeatable.
        schema: A JSON Schema, as JSON: the reply is a document of this form.
    """

    number: int
    turns: tuple[ChatTurn, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    schema: str | None = None


@dataclass(frozen=True)
class Transcribe:
    """Transcribe speech. Answered by `Transcribed`.

    `language` is the code of the spoken language; None detects it.
    """

    number: int
    clip: "Clip"
    language: str | None = None


@dataclass(frozen=True)
class Cancel:
    """Stop the request `number` as soon as possible; a finished request is ignored."""

    number: int


Request = Load | Prepare | LoadSpeech | Generate | Transcribe | Cancel


@dataclass(frozen=True)
class Progress:
    """The progress of a long step: `done` of `total` units; a total of 0 is unknown.

    `number` is that of the request which needs the step, if replies are written together.
    """

    step: str
    done: int
    total: int
    number: int | None = None


@dataclass(frozen=True)
class Ready:
    """The model is loaded.

    Attributes:
        number: The request that loaded it.
        model: The name of the model.
        context: The size of its context, in tokens.
        picture_tokens: How many tokens of the context a picture takes; 0 if that depends on it.
        vision: How pictures are resized for the vision tower; None if the model has none, or
            resizes them itself.
        engine: The name of the engine that runs the model.
        note: What the user should know about the choice of the engine.
        languages: Codes of the languages that the model speaks; empty if that is unknown.
        can_see: Whether the model sees pictures; None if that is unknown.
        reads_text: Whether the text in pictures is recognized for the model.
        parallel: How many replies are written together.
    """

    number: int
    model: str
    context: int
    picture_tokens: int
    vision: "VisionSpec | None"
    engine: str = "torch"
    note: str | None = None
    languages: tuple[str, ...] = ()
    can_see: bool | None = None
    reads_text: bool = False
    parallel: int = 1


@dataclass(frozen=True)
class Prepared:
    """A `Prepare` or `LoadSpeech` has ended: it is done, or gave way to another request."""

    number: int


@dataclass(frozen=True)
class Piece:
    """The next piece of a reply.

    Attributes:
        number: The request that it answers.
        text: The piece.
        is_thinking: Whether the model thinks it, before the reply.
        is_spoken: Whether it is part of the transcript of a sound, which follows.
        is_tool: Whether it is part of a tool call, or of the result of a tool, of a server.
    """

    number: int
    text: str
    is_thinking: bool = False
    is_spoken: bool = False
    is_tool: bool = False


@dataclass(frozen=True)
class FileReceived:
    """A picture or a sound is part of a reply. Only servers send it.

    Attributes:
        number: The request that it answers.
        kind: Which of them it is.
        name: A name for the file, such as "picture.png".
        data: Its bytes.
        detail: The size of a picture ("640 x 480"), or the length of a sound ("3.2 s").
        notes: What the user should know about it, such as that it is cut off.
    """

    number: int
    kind: Literal["image", "audio"]
    name: str
    data: bytes
    detail: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileLeftOut:
    """A picture or a sound of a reply can't be used.

    Attributes:
        number: The request that it answers.
        message: Why.
        hint: How to cure it, if that is known.
    """

    number: int
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Completed:
    """A reply has ended.

    Attributes:
        number: The request that it answers.
        stop_reason: Why it ended.
        prompt_tokens: The length of the prompt, including the tokens of its pictures.
        cached_tokens: How many tokens of the prompt were already in the KV cache.
        completion_tokens: The length of the reply.
        first_token_s: Seconds until the first token; None if the request was cancelled before.
        tokens_per_s: Decoding speed; None for a reply of one token.
        dropped: How many of the oldest turns were left out because the context is full.
        full: Whether the reply was cut off at the end of the context.
        repeats: Whether the reply was stopped because it repeated itself.
    """

    number: int
    stop_reason: StopReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float | None
    tokens_per_s: float | None
    dropped: int = 0
    full: bool = False
    repeats: bool = False


@dataclass(frozen=True)
class Transcribed:
    """A transcript.

    Attributes:
        number: The request that it answers.
        text: The words; empty if the clip contains no speech.
        language: Code of the spoken language; None if it is unknown.
        notes: Notes for the user, such as that another speech model was used.
    """

    number: int
    text: str
    language: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """A request failed; the model process continues.

    Attributes:
        number: The request that failed.
        message: What went wrong.
        hint: How to cure it, if that is known.
        traceback: The traceback, with `--debug` only.
        is_refused: Whether the model can't read the last message, because it is longer than the
            context or has attachments of a kind that the model does not accept.
        is_schema_refused: Whether the reply can't be restricted to the JSON Schema of the request.
    """

    number: int
    message: str
    hint: str | None
    traceback: str | None = None
    is_refused: bool = False
    is_schema_refused: bool = False


@dataclass(frozen=True)
class Died:
    """The model process has ended unexpectedly; the next request starts a new one.

    Attributes:
        message: What went wrong.
        hint: How to cure it, if that is known.
        traceback: The stacks of the process when it crashed, with `--debug` only.
        is_refused: Whether it crashed because of an attachment, which would crash it again.
    """

    message: str
    hint: str | None
    traceback: str | None = None
    is_refused: bool = False


# Events about the text and the files of a reply.
ReplyPart = Piece | FileReceived | FileLeftOut
Event = Progress | Ready | Prepared | ReplyPart | Completed | Transcribed | Failed | Died

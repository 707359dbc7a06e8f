"""Chat completions of OpenAI's protocol: the request, and the parts of a streamed response.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from mmtui.endpoint.markdown_pictures import MarkdownPictures
from mmtui.endpoint.media import Found, LeftOut, MediaReader, ReplyFile, get_transcript
from mmtui.endpoint.messages import EndpointTurn, to_messages
from mmtui.endpoint.tools import ToolText

MIN_CHARACTERS = 10_000  # a reply is not ended here before it has this many
MAX_CHARACTERS_PER_TOKEN = 64  # no tokenizer reaches this on average
MAX_COUNT = 10**9  # of tokens; more is a mistake of the server
_MIN_DECODE_S = 0.01  # a reply that takes less came in one go, which shows no speed
_VOICE = "alloy"  # that every model with a voice knows


@dataclass(frozen=True)
class Request:
    """A conversation to answer.

    Attributes:
        turns: The conversation; a last turn of the assistant is continued.
        max_tokens: The length limit of the reply.
        temperature: 0 always chooses the most probable token.
        top_p: Tokens are drawn from the smallest set with this probability in total.
        seed: Makes a reply with a temperature above 0 repeatable.
    """

    turns: tuple[EndpointTurn, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int | None = None

    @property
    def max_characters(self) -> int:
        """The size at which a reply is ended, if the server ignores `max_tokens`."""
        return max(MIN_CHARACTERS, MAX_CHARACTERS_PER_TOKEN * self.max_tokens)

    def encode(
        self, model: str, *, continue_message: bool = False, outputs: tuple[str, ...] = ()
    ) -> bytes:
        """Return the body of the request.

        Args:
            model: The name of the model.
            continue_message: Ask vLLM to continue a last turn of the assistant. Other servers do
                so without being asked.
            outputs: What the model writes beside text, "image" or "audio", and is asked for.
        """
        body: dict[str, object] = {
            "model": model,
            "messages": to_messages(self.turns),
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
        }
        if self.temperature:
            body["top_p"] = self.top_p
        if self.seed is not None:
            body["seed"] = self.seed
        if outputs:
            body["modalities"] = ["text", *outputs]
        if "audio" in outputs:
            body["audio"] = {"voice": _VOICE, "format": "pcm16"}  # the only format of a stream
        if continue_message and self.turns[-1].role == "assistant":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
        return json.dumps(body).encode()


@dataclass(frozen=True)
class Delta:
    """The next piece of a reply.

    Attributes:
        text: The piece.
        is_thinking: Whether it is part of the thinking before the reply.
        is_spoken: Whether it is part of the transcript of a sound, which follows.
        is_tool: Whether it is part of a tool call, or of the result of a tool of the server.
    """

    text: str
    is_thinking: bool = False
    is_spoken: bool = False
    is_tool: bool = False


Part = Delta | ReplyFile | LeftOut


@dataclass(frozen=True)
class Completion:
    """The end of a reply.

    Attributes:
        stop_reason: Why it ended.
        prompt_tokens: The length of the prompt, in tokens; 0 if the server does not report it.
        cached_tokens: How many of them were in the cache of the server.
        completion_tokens: The length of the reply, thinking included.
        first_token_s: Seconds until the first piece; None if there was none.
        tokens_per_s: Decoding speed; None for a reply that came in one go.
        is_endless: Whether the reply was ended here because the server did not end it.
        dropped: How many of the oldest turns the server left out, if it reports that.
        full: Whether the reply was cut off at the end of the context, if the server reports that.
        repeats: Whether the reply was stopped because it repeated itself, if it reports that.
    """

    stop_reason: Literal["stop", "length", "cancelled"]
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    first_token_s: float | None = None
    tokens_per_s: float | None = None
    is_endless: bool = False
    dropped: int = 0
    full: bool = False
    repeats: bool = False


@dataclass
class Response:
    """Collects what the parts of a response report.

    Attributes:
        started: The time of the request, on the monotonic clock.
        has_ended: Whether the server has reported the reason of the end.
        characters: The size of the reply so far.
    """

    started: float
    has_ended: bool = False
    characters: int = 0
    _stop_reason: Literal["stop", "length"] = "stop"
    _touched: float = 0.0
    _usage: dict[str, Any] = field(default_factory=dict)
    _notes: dict[str, Any] = field(default_factory=dict)
    _times: list[float] = field(default_factory=list)
    _surrogates: dict[str, str] = field(default_factory=dict)
    _media: MediaReader = field(default_factory=MediaReader)
    _has_content: bool = False
    _tools: ToolText = field(default_factory=ToolText)
    _role: str = "assistant"

    def __post_init__(self) -> None:
        self._markdown = MarkdownPictures(self._media.read_uri)

    @property
    def last_progress_at(self) -> float:
        """The time of the last sign of progress, or of the request, on the monotonic clock."""
        return max(self._touched, self._times[-1] if self._times else self.started)

    def touch(self) -> None:
        """Note that the server makes progress without sending text."""
        self._touched = time.monotonic()

    def add(self, document: dict[str, Any]) -> list[Part]:
        """Add a part of a stream, or a response that is not streamed; return what is in it."""
        if isinstance(usage := document.get("usage"), dict):
            self._usage = usage
        if isinstance(notes := document.get("notes"), dict):  # of `mmtui serve`
            self._notes = notes
        choices = document.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return []
        message = choice.get("delta") or choice.get("message")
        parts = self._read_message(message) if isinstance(message, dict) else []
        self.characters += sum(len(part.text) for part in parts if isinstance(part, Delta))
        if reason := choice.get("finish_reason"):
            self.has_ended = True
            self._stop_reason = "length" if reason == "length" else "stop"
        return parts

    def flush(self) -> list[Part]:
        """Return what was kept back until the end: the rest of the text, and the sound."""
        return [*_to_parts(self._markdown.finish()), *self._media.finish()]

    def finish(
        self, stop_reason: Literal["stop", "length", "cancelled"] | None = None
    ) -> Completion:
        """Return the end of the reply; `stop_reason` replaces that of the server."""
        times = self._times
        completion_tokens = _get_count(self._usage, "completion_tokens") or len(times)
        decode_s = times[-1] - times[0] if len(times) > 1 else 0.0
        details = self._usage.get("prompt_tokens_details")
        return Completion(
            stop_reason=stop_reason or self._stop_reason,
            prompt_tokens=_get_count(self._usage, "prompt_tokens"),
            cached_tokens=_get_count(details, "cached_tokens"),
            completion_tokens=completion_tokens,
            first_token_s=times[0] - self.started if times else None,
            tokens_per_s=_compute_speed(completion_tokens, decode_s),
            is_endless=stop_reason == "length",
            dropped=_get_count(self._notes, "dropped"),
            full=self._notes.get("full") is True,
            repeats=self._notes.get("repeats") is True,
        )

    def _read_message(self, message: dict[str, Any]) -> list[Part]:
        """Return the pieces and the pictures in a message or a part of it."""
        parts: list[Part] = []
        thinking = message.get("reasoning_content") or message.get("reasoning")
        thought = self._join_surrogates(_get_text(thinking), "thinking")
        text, tools = self._read_text(message)
        transcript = self._join_surrogates(get_transcript(message), "transcript")
        if text or self._has_content:
            transcript = ""
        if thought:
            parts.append(Delta(thought, is_thinking=True))
        if tools:
            parts.append(Delta(tools, is_tool=True))
        if text:
            self._has_content = True
            parts += _to_parts(self._markdown.write(text))
        if transcript:
            parts.append(Delta(transcript, is_spoken=True))
        if thought or tools or text or transcript:
            self._times.append(time.monotonic())
        media = self._media.read(message)
        if media or "audio" in message:
            self.touch()
        return parts + _to_parts(media)

    def _read_text(self, message: dict[str, Any]) -> tuple[str, str]:
        """Return the text in a message or a part of it, and that of tool calls and results."""
        if isinstance(role := message.get("role"), str):
            self._role = role
        text, tools = _get_text(message.get("content")), self._tools.add_calls(message)
        if self._role == "tool":
            text, tools = "", tools + self._tools.add_result(text)
        return self._join_surrogates(text, "text"), self._join_surrogates(tools, "tools")

    def _join_surrogates(self, text: str, kind: str) -> str:
        """Join the halves of a character that JSON escapes in two parts of a stream."""
        text = self._surrogates.pop(kind, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._surrogates[kind] = text[-1]
            text = text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _to_parts(found: list[Found]) -> list[Part]:
    return [Delta(part) if isinstance(part, str) else part for part in found]


def _compute_speed(tokens: int, decode_s: float) -> float | None:
    """Return tokens per second; None if that can't be measured."""
    return (tokens - 1) / decode_s if tokens > 1 and decode_s > _MIN_DECODE_S else None


def _get_text(content: object) -> str:
    """Return a content that is a text, or a list of parts with texts."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _get_count(usage: object, key: str) -> int:
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and 0 < value < MAX_COUNT else 0

"""The bodies of requests. Unknown fields are ignored, as OpenAI's servers do; wrong types are not.

https://platform.openai.com/docs/api-reference/chat/create
"""

import json
from itertools import groupby
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from mmtui.errors import UsageError
from mmtui.pipeline.limits import MAX_TEMPERATURE
from mmtui.pipeline.speech.languages import is_language, parse_language, suggest
from mmtui.pipeline.speech.voices import check_voice
from mmtui.server.errors import ApiError, shorten

MAX_STOPS = 4
MAX_MESSAGES = 10_000
MAX_SPOKEN_LENGTH = 4096  # characters of a text that is read aloud, as OpenAI's server has it
# The other voices of OpenAI, which programs send as their default.
OPENAI_VOICES = frozenset(
    {"alloy", "ash", "ballad", "cedar", "coral", "echo", "marin", "nova", "onyx", "sage",
     "shimmer", "verse"}
)  # fmt: skip

Body = TypeVar("Body", bound="Fields")


class Fields(BaseModel):
    """An object of a request."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class TextPart(Fields):
    """A text."""

    type: Literal["text"]
    text: str


class ImageUrl(Fields):
    """Where a picture is: in a data URI."""

    url: str


class PicturePart(Fields):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Fields):
    """A recording, encoded in Base64."""

    data: str
    format: Literal["wav", "mp3"]


class RecordingPart(Fields):
    """A recording, whose transcript becomes part of the message."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FileData(Fields):
    """A document in a data URI, and the name that the model gets."""

    file_data: str
    filename: str = "document"


class DocumentPart(Fields):
    """A document, whose text becomes part of the message."""

    type: Literal["file"]
    file: FileData


Part = Annotated[TextPart | PicturePart | RecordingPart | DocumentPart, Field(discriminator="type")]


class Message(Fields):
    """A message of the conversation. "developer" is another name of "system"."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None


class JsonSchema(Fields):
    """The JSON Schema of the reply."""

    content: Annotated[dict[str, JsonValue], Field(alias="schema")]


class TextFormat(Fields):
    """The reply is any text."""

    type: Literal["text"]


class ObjectFormat(Fields):
    """The reply is a JSON object."""

    type: Literal["json_object"]


class SchemaFormat(Fields):
    """The reply is a JSON document that matches a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


ResponseFormat = Annotated[TextFormat | ObjectFormat | SchemaFormat, Field(discriminator="type")]


class StreamOptions(Fields):
    """What a stream contains."""

    include_usage: bool | None = None


class CompletionRequest(Fields):
    """The body of a request for a chat completion."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    max_tokens: Annotated[int | None, Field(ge=0)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=0)] = None
    temperature: Annotated[float | None, Field(ge=0, le=MAX_TEMPERATURE)] = None
    top_p: Annotated[float | None, Field(ge=0, le=1)] = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=MAX_STOPS)] | None = None
    n: Annotated[int | None, Field(ge=1, le=1)] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None

    @property
    def length_limit(self) -> int | None:
        """The length limit of the reply; 0 only reads the conversation ahead."""
        limit = self.max_completion_tokens
        return self.max_tokens if limit is None else limit

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the reply."""
        texts = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(text for text in texts if text)

    @property
    def schema_text(self) -> str | None:
        """The JSON Schema of the reply, as JSON; None if it can be any text."""
        if isinstance(self.response_format, SchemaFormat):
            return json.dumps(self.response_format.json_schema.content)
        return '{"type": "object"}' if isinstance(self.response_format, ObjectFormat) else None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)


class TranscriptionRequest(Fields):
    """The texts of a form with a recording."""

    model: str | None = None
    response_format: Literal["json", "text"] = "json"
    language: str | None = None

    @field_validator("language")
    @classmethod
    def _parse_language(cls, language: str | None) -> str | None:
        """Return the code of the language; None detects it."""
        if not language:
            return None
        if not is_language(language):
            raise ValueError(f"Whisper knows no language {language!r}; {suggest(language)}")
        return parse_language(language)


class SpeechRequest(Fields):
    """The body of a request for speech."""

    input: Annotated[str, Field(min_length=1, max_length=MAX_SPOKEN_LENGTH)]
    model: str | None = None
    voice: Annotated[str | None, Field(pattern=r"^[\w:+-]+$")] = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float | None, Field(ge=0.25, le=4)] = None
    stream_format: Literal["audio"] | None = None

    @property
    def named_voice(self) -> str | None:
        """The voice; None is that of the settings, which also replaces OpenAI's voices."""
        return None if self.voice in OPENAI_VOICES else self.voice

    @field_validator("voice")
    @classmethod
    def _check_voice(cls, voice: str | None) -> str | None:
        if voice is not None and voice not in OPENAI_VOICES:
            try:
                check_voice(voice)
            except UsageError as error:
                raise ValueError(f"{error}; {error.hint}") from None
        return voice


def parse(body: type[Body], content: bytes) -> Body:
    """Parse the body of a request.

    Raises:
        ApiError: It is not JSON, a field is missing or has a wrong type.
    """
    try:
        return body.model_validate_json(content)
    except ValidationError as error:
        raise _explain(error) from None


def parse_form(body: type[Body], form: dict[str, bytes]) -> Body:
    """Parse the texts of a form; raise ApiError if one has a wrong value."""
    texts = {
        name: form[name].decode("utf-8", "replace") for name in body.model_fields if name in form
    }
    try:
        return body.model_validate(texts)
    except ValidationError as error:
        raise _explain(error) from None


def _explain(error: ValidationError) -> ApiError:
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    if first["type"] == "json_invalid":
        return ApiError(f"the body is not valid JSON: {first['msg']}")
    # Where a text or a list is expected, the errors of the list follow that of the text.
    if first["loc"][-1:] == ("str",) and others[0]["type"] != "list_type":
        first = others[0]
    param = ".".join(map(str, _simplify(first["loc"])))
    reason = shorten(first["msg"], 300)
    message = f"{param}: {reason}" if param else reason
    return ApiError(message, param=param or None, code=first["type"])


def _simplify(loc: tuple[int | str, ...]) -> list[int | str]:
    """Return the place of an error in the request, without pydantic's names of types.

    The type of a part, such as "image_url", is also the name of the field that follows it.
    """
    steps = (step for step in loc if step != "str" and not str(step).startswith("list["))
    return [step for step, _ in groupby(steps)]

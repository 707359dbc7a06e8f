"""The settings: a TOML file, and environment variables that override it."""

import difflib
import os
import re
import tomllib
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Gt, Le, Predicate
from platformdirs import user_config_path

from mmtui.encodings import decode
from mmtui.errors import InputError, UsageError
from mmtui.pipeline.assets.spec import EngineChoice, SpeechChoice
from mmtui.pipeline.limits import MAX_PARALLEL, MAX_TEMPERATURE
from mmtui.pipeline.speech.languages import (
    DETECTED,
    is_language,
    parse_language,
    suggest,
)
from mmtui.pipeline.speech.voices import DEFAULT_VOICE, MAX_SPEED, MIN_SPEED, check_voice

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails

LOCAL_MODEL = "smol"  # what runs here while an endpoint runs the model
Listener = Literal["whisper", "model"]
Theme = Literal["dark", "light", "contrast", "terminal"]
VOICE = ("voice", "speaking_rate", "volume")
SAMPLING = ("temperature", "top_p", "max_tokens")
_EDIT_HINT = "`mmtui config edit` explains the settings"


@dataclass(frozen=True)
class Config:
    """The settings, with their defaults."""

    model: str = "auto"
    endpoint: str = ""
    api_key_env: str = "MMTUI_API_KEY"
    endpoint_timeout: Annotated[float, Gt(0), Le(86_400)] = 300.0
    listen: Listener = "whisper"
    speech: SpeechChoice = "auto"
    language: Annotated[str, Predicate(is_language)] = "auto"
    read: Literal["auto"] | bool = "auto"
    engine: EngineChoice = "auto"
    theme: Theme = "dark"
    sidebar: bool = False
    details: bool = False
    temperature: Annotated[float, Ge(0), Le(MAX_TEMPERATURE)] = 0.0
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    max_tokens: Annotated[int, Ge(1)] = 512
    system: str = ""
    prompt_storage: Annotated[int, Ge(0)] = 1000
    server_cache: Annotated[int, Ge(0)] = 1000
    parallel: Annotated[int, Ge(1), Le(MAX_PARALLEL)] = 1
    microphone: str = ""
    speak: Literal["never", "always"] = "never"
    voice: str = DEFAULT_VOICE
    speaking_rate: Annotated[float, Ge(MIN_SPEED), Le(MAX_SPEED)] = 1.0
    volume: Annotated[float, Ge(0), Le(2)] = 1.0
    speaker: str = ""
    barge_in: bool = False
    keys: dict[str, str] = field(default_factory=dict)

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    @classmethod
    def load(cls, file: Path | None = None) -> Self:
        """Read the settings. Environment variables override the file, which may be missing.

        Args:
            file: The settings file; None is the user's.

        Raises:
            UsageError: Settings are invalid. The error lists all of them, with their lines.
        """
        file = file or get_path()
        text = _read(file)
        values = _parse(text, file)
        variables = {}
        for key in KEYS:
            variable = f"MMTUI_{key.upper()}"
            if key != "keys" and (value := os.environ.get(variable)):
                values[key], variables[key] = value, variable
        try:
            return cls._validate(values) if values else cls()
        except _InvalidSettings as invalid:
            by_line = []
            for location, problem in invalid.problems:
                variable, line = variables.get(location[0], ""), _find_line(location[-1], text)
                by_line.append((line, f"{variable or f'line {line}'}: {problem}"))
            problems = "; ".join(problem for _, problem in sorted(by_line))
            is_in_file = any(location[0] not in variables for location, _ in invalid.problems)
            raise UsageError(
                f"{file}: {problems}" if is_in_file else problems, _EDIT_HINT
            ) from None

    def replace(self, **values: object) -> Self:
        """Return a copy with some settings replaced.

        Raises:
            UsageError: A value is invalid.
        """
        try:
            return self._validate(asdict(self) | values)
        except _InvalidSettings as invalid:
            problems = "; ".join(problem for _, problem in invalid.problems)
            raise UsageError(problems, _EDIT_HINT) from None

    def with_endpoint(self, endpoint: str | None) -> Self:
        """Replace the endpoint, and the model in the settings, which may be one of another place.

        Args:
            endpoint: The address of a server, "" for this machine, or None to change nothing.
        """
        if endpoint is None or endpoint == self.endpoint:
            return self
        model = os.environ.get("MMTUI_MODEL") or ("auto" if endpoint else LOCAL_MODEL)
        return self.replace(endpoint=endpoint, model=model)

    def with_language(self, language: str | None) -> Self:
        """Replace the language of recordings; None changes nothing.

        Raises:
            UsageError: Whisper knows no such language.
        """
        if language is None:
            return self
        return self.replace(language=parse_language(language) or DETECTED)

    def with_listener(self, listener: Listener | None) -> Self:
        """Replace what reads recordings; None changes nothing.

        Raises:
            UsageError: The model is to hear them, and can't.
        """
        if listener is None:
            return self
        config = self.replace(listen=listener)
        if listener == "model" and not config.sends_recordings:
            raise UsageError(
                "models on this machine do not hear, they get transcripts; only a GGUF whose mmproj"
                " has an audio tower hears",
                "pass --endpoint, or --listen whisper",
            )
        return config

    def with_reading(self, read: bool | None) -> Self:
        """Replace whether the model gets the text in pictures; None changes nothing."""
        return self if read is None else self.replace(read=read)

    @property
    def reads(self) -> bool | None:
        """Whether the model gets the text in pictures; None if that depends on the model."""
        return None if self.read == "auto" else self.read

    @property
    def spoken_language(self) -> str | None:
        """Code of the language of recordings; None detects it."""
        return parse_language(self.language)

    @property
    def sends_recordings(self) -> bool:
        """Whether the model gets recordings instead of their transcripts."""
        return self.listen == "model" and (bool(self.endpoint) or _may_hear(self.model))

    @property
    def sampling(self) -> str:
        """The sampling settings, in the format of `with_sampling`."""
        return self._format_pairs(SAMPLING)

    def with_sampling(self, text: str) -> Self:
        """Return a copy with sampling settings replaced, such as "temperature=0.7 top_p=0.9".

        Raises:
            UsageError: A name or a value is invalid.
        """
        return self._replace_pairs(text, SAMPLING, "a sampling setting")

    @property
    def voice_settings(self) -> str:
        """The settings of the voice, in the format of `with_voice`."""
        return self._format_pairs(VOICE)

    def with_voice(self, text: str) -> Self:
        """Return a copy with settings of the voice replaced, such as "voice=emma volume=0.5".

        Raises:
            UsageError: A name or a value is invalid.
        """
        changed = self._replace_pairs(text, VOICE, "a setting of the voice")
        check_voice(changed.voice)
        return changed

    def _format_pairs(self, keys: tuple[str, ...]) -> str:
        return " ".join(f"{key}={getattr(self, key)}" for key in keys)

    def _replace_pairs(self, text: str, keys: tuple[str, ...], kind: str) -> Self:
        pairs = [pair.partition("=")[::2] for pair in text.split()]
        for key, value in pairs:
            if key not in keys or not value:
                raise UsageError(f"{key!r} is not {kind}", self._format_pairs(keys))
        return self.replace(**dict(pairs))

    @classmethod
    def _validate(cls, values: dict[str, Any]) -> Self:
        # Importing Pydantic takes a tenth of the time in which the chat starts.
        from pydantic import ValidationError

        try:
            validated: Self = _compile_validation().validate_python(values)
        except ValidationError as error:
            raise _InvalidSettings(error) from None
        return validated


@cache
def _compile_validation() -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(Config)


class _InvalidSettings(Exception):
    """Settings failed the validation.

    Attributes:
        problems: The keys that lead to each invalid value, and what is wrong with it.
    """

    def __init__(self, error: "ValidationError") -> None:
        super().__init__(error)
        self.problems: list[tuple[tuple[str, ...], str]] = []
        for details in error.errors():
            location = tuple(map(str, details["loc"]))
            self.problems.append((location, _explain(location, details)))


def _explain(location: tuple[str, ...], error: "ErrorDetails") -> str:
    name = ".".join(location)
    if error["type"] == "predicate_failed":
        return f"{name}: Whisper knows no language {error['input']!r}; {suggest(error['input'])}"
    if error["type"] == "unexpected_keyword_argument":
        nearest = difflib.get_close_matches(name, KEYS, 1, cutoff=0)[0]
        return f"there is no setting {name!r}, the nearest is {nearest!r}"
    return f"{name} {error['msg'].removeprefix('Input ')}"


def _read(file: Path) -> str:
    try:
        return decode(file.read_bytes(), str(file))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}") from error
    except InputError as error:
        raise UsageError(str(error), "make it a text file in UTF-8, or remove it") from error


def _parse(text: str, file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, place = str(error).rstrip(")").partition(" (at ")
        raise UsageError(
            f"{file}, {place}: not valid TOML: {problem[0].lower()}{problem[1:]}",
            'put texts in quotes, as in model = "smol"; `mmtui config edit` opens the file',
        ) from error


def _find_line(key: str, text: str) -> int:
    """Return the number of the line that sets a key, which tomllib does not report."""
    setting = re.compile(rf"""\s*\[?\s*(keys\s*\.\s*)?["']?{re.escape(key)}["']?\s*[].=]""")
    lines = text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if setting.match(line)), 1)


KEYS = tuple(key.name for key in fields(Config))


@cache
def _may_hear(model: str) -> bool:
    from mmtui.pipeline.assets.gguf_files import may_hear

    return may_hear(model)


def resolve_model(model: str, engine: EngineChoice | None = None) -> tuple[str, EngineChoice]:
    """Return the model and the engine that run on this machine.

    Args:
        model: The model; "auto" is that of the settings.
        engine: The engine; None is that of the settings.
    """
    config = Config.load()
    if model == "auto":  # with an endpoint, the settings name one of its models
        model = LOCAL_MODEL if config.endpoint else config.model
    return model, engine or config.engine


def get_path() -> Path:
    """Return the path of the user's settings file, which may not exist."""
    return user_config_path("mmtui") / "config.toml"

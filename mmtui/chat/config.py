"""What the user decides once: a TOML file, and environment variables that override it."""

import difflib
import os
import tomllib
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Gt, Le
from platformdirs import user_config_path

from mmtui.errors import UsageError
from mmtui.pipeline.spec import EngineChoice

if TYPE_CHECKING:
    from pydantic import ValidationError

# What `mmtui config edit` begins with; the comments are the documentation of each key.
TEMPLATE = """\
# mmtui's settings. Lines that begin with # are the defaults.
# An environment variable overrides each but [keys]: MMTUI_MODEL, MMTUI_THEME, ...
# The chat takes all of them; the other commands take model and engine.

# Which model answers: a preset (phi2, smol), a checkpoint folder, hf:OWNER/NAME, or auto.
#model = "auto"

# What runs it: "torch", "llamacpp" (pip install "mmtui[llamacpp]"), or "auto": llamacpp on a CPU.
#engine = "auto"

# How the screen looks: "dark" or "light".
#theme = "dark"

# 0 takes the likeliest word each time; 0.7 is lively.
#temperature = 0.0

# Of the likeliest words that together have this probability, one is drawn.
#top_p = 0.95

# The longest answer, in tokens.
#max_tokens = 512

# What each new conversation tells the model about its task.
#system = ""

# The microphone, by its name as `mmtui doctor` shows it; "" is the system's choice.
#microphone = ""

# Other keys for actions; the help screen (F1) names the actions.
#[keys]
#record = "ctrl+b"
"""


@dataclass(frozen=True)
class Config:
    """The keys of the file, with their defaults."""

    model: str = "auto"
    engine: EngineChoice = "auto"
    theme: Literal["dark", "light"] = "dark"
    temperature: Annotated[float, Ge(0), Le(10)] = 0.0
    top_p: Annotated[float, Gt(0), Le(1)] = 0.95
    max_tokens: Annotated[int, Ge(1)] = 512
    system: str = ""
    microphone: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    @classmethod
    def load(cls, file: Path | None = None) -> Self:
        """Raises UsageError, naming file and key, for what can't be understood."""
        file = file or path()
        told: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            try:
                told = tomllib.loads(file.read_text("utf-8"))
            except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise UsageError(f"{file} is no TOML: {error}", "`mmtui config edit`") from error
        places = dict.fromkeys(told, str(file))
        for key in KEYS:
            variable = f"MMTUI_{key.upper()}"
            if key != "keys" and (text := os.environ.get(variable)):
                told[key], places[key] = text, variable
        return cls._checked(told, places) if told else cls()

    def changed(self, **values: object) -> Self:
        """Raises UsageError for values that can't be."""
        return self._checked(asdict(self) | values, {})

    @classmethod
    def _checked(cls, values: dict[str, Any], places: dict[str, str]) -> Self:
        """`places`: where each was said. Pydantic's import is a tenth of the chat's start."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            raise _explained(error, places) from None


KEYS = tuple(key.name for key in fields(Config))


def settled(model: str, engine: EngineChoice | None = None) -> tuple[str, EngineChoice]:
    """Which model and engine are meant: what a command left open, the settings decide."""
    config = Config.load()
    return config.model if model == "auto" else model, engine or config.engine


def _explained(error: "ValidationError", places: dict[str, str]) -> UsageError:
    first = error.errors()[0]
    key = str(first["loc"][0])
    where = f" in {places[key]}" if key in places else ""
    if first["type"] == "unexpected_keyword_argument":
        near = difflib.get_close_matches(key, KEYS, 1, cutoff=0)[0]
        return UsageError(f"there is no setting {key!r}{where}", f"the nearest is {near!r}")
    return UsageError(f"{key}{where}: {first['msg']}", "`mmtui config edit` explains it")


def path() -> Path:
    return user_config_path("mmtui") / "config.toml"

"""What the chat and the process with the model say to each other.

Requests carry a number; events that answer one carry the same. Nothing heavy is imported here:
the screen must be usable before the model's libraries are.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip

StopReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Said:
    """A turn; `pictures` are files, which come before the text."""

    role: Literal["system", "user", "assistant"]
    text: str
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Load:
    """Load the language model, to be ready when a question comes."""

    number: int


@dataclass(frozen=True)
class Ask:
    number: int
    turns: tuple[Said, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


@dataclass(frozen=True)
class Transcribe:
    number: int
    clip: "Clip"


@dataclass(frozen=True)
class Cancel:
    """End the request `number` as soon as may be; one that has ended is no error."""

    number: int


Request = Load | Ask | Transcribe | Cancel


@dataclass(frozen=True)
class Progress:
    """A long step, `done` of `total` (0: not known)."""

    step: str
    done: int
    total: int


@dataclass(frozen=True)
class Ready:
    """The model is loaded: its name, the size of its context and a picture's cost, in tokens.

    It sees pictures of `picture_side` pixels square; 0: it sees none. `note` is what the user
    should know about the choice of the engine, if anything.
    """

    number: int
    model: str
    context: int
    picture_tokens: int
    picture_side: int
    engine: str = "torch"
    note: str | None = None


@dataclass(frozen=True)
class Piece:
    """More of an answer."""

    number: int
    text: str


@dataclass(frozen=True)
class Answered:
    """An answer ended. Tokens of the prompt include those of its pictures.

    The oldest `dropped` turns were left out, for the context was full; `full`: it ended the
    answer, too; `repeats`: it was ended because it had become a loop.
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
class Heard:
    """`text` is "" where nobody speaks."""

    number: int
    text: str


@dataclass(frozen=True)
class Failed:
    """A request failed; the process goes on. `hint` is the cure, where there is one.

    `traceback` is for `--debug` alone. `is_too_long`: the last message does not fit the context.
    """

    number: int
    message: str
    hint: str | None
    traceback: str | None = None
    is_too_long: bool = False


@dataclass(frozen=True)
class Died:
    """The process is gone, by itself or killed; the next request starts another one.

    `traceback` is for `--debug` alone.
    """

    message: str
    hint: str | None
    traceback: str | None = None


Event = Progress | Ready | Piece | Answered | Heard | Failed | Died

"""What other threads post to the chat's screen: they find out, its handlers act."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

from mmtui.chat.conversation import Attachment
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Event

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip


@dataclass
class FromModel(Message):
    """The model's process says something."""

    event: Event


@dataclass
class Read(Message):
    """A file was read and stored, to be attached; `clip` is to be heard first."""

    attachment: Attachment
    clip: "Clip | None" = None


@dataclass
class Found(Message):
    """What was looked for, and what to do with it; what was `typed` goes back if that fails."""

    then: Callable[[Any], Any]
    found: Any
    typed: str = ""


@dataclass
class Told(Message):
    """Something to tell; what was `typed` in vain goes back to the prompt."""

    notice: Notice
    typed: str = ""

"""What other threads post to the chat's screen: they find out, its handlers act."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textual.message import Message

from mmtui.chat.attachments import Loaded
from mmtui.chat.protocol import Event
from mmtui.chat.session import Notice
from mmtui.tui.widgets.chips import Chip

if TYPE_CHECKING:
    from mmtui.pipeline.sound import Clip


@dataclass
class FromModel(Message):
    """The model's process says something."""

    event: Event


@dataclass
class Read(Message):
    """A file was read, to be attached."""

    loaded: Loaded


@dataclass
class ReadAgain(Message):
    """The recording of a chip was read, to be heard again."""

    clip: "Clip"
    chip: Chip


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

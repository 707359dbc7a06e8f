"""Textual messages that workers and widgets post to the chat screen, whose handlers act on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textual.message import Message

from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Event


@dataclass
class ModelEventReceived(Message):
    """The model's process sent an event."""

    event: Event


@dataclass
class CallFinished(Message):
    """A function that ran in a thread returned.

    Attributes:
        then: The callback that gets `result`.
        result: What the function returned.
        typed: Text to put back into the prompt if `then` fails.
    """

    then: Callable[[Any], Any]
    result: Any
    typed: str = ""


@dataclass
class NoticePosted(Message):
    """A notice should be shown to the user.

    Attributes:
        notice: The text to show.
        typed: Text to put back into the prompt, because it could not be acted on.
    """

    notice: Notice
    typed: str = ""

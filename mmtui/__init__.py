"""A terminal chat that sees, hears and answers, on your own machine.

The Python interface is here; its parts are imported when they are first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmtui.api import (
        Document,
        Image,
        MmtuiError,
        Model,
        PictureText,
        ReplyStream,
        Result,
        Sound,
        TextLine,
        Transcript,
        Turn,
        load,
        read,
        transcribe,
    )

__version__ = "0.1.0"
__all__ = [
    "Document",
    "Image",
    "MmtuiError",
    "Model",
    "PictureText",
    "ReplyStream",
    "Result",
    "Sound",
    "TextLine",
    "Transcript",
    "Turn",
    "load",
    "read",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    """Import the interface on first use: every command imports this package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mmtui import api

    return getattr(api, name)

"""The screens that show attachments."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.screen import Screen

from mmtui.chat.conversation import Attachment
from mmtui.chat.status import ModelStatus
from mmtui.frontends.tui.screens.document import DocumentScreen
from mmtui.frontends.tui.screens.picture import PictureScreen


def make_viewer(
    file: Path, attachment: Attachment, status: ModelStatus, save: Callable[[], None]
) -> Screen[Any] | None:
    """Return the screen that shows an attachment; None if it is a recording.

    Args:
        file: The file of the attachment.
        attachment: What to show.
        status: Shows what the model gets of a picture.
        save: Saves a copy of the attachment where the user wants it.
    """
    if attachment.kind == "image":
        return PictureScreen(file, attachment, status.vision, status.picture_tokens, save)
    if attachment.kind == "document":
        return DocumentScreen(file, attachment)
    return None

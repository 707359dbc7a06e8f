"""Messages that name files, as in "what is in ~/a b.jpg?"."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat import attachments
from mmtui.chat.conversation import Attachment
from mmtui.errors import NoSpeechError

if TYPE_CHECKING:
    from mmtui.tui.screens.chat import ChatScreen


def say_with_files(screen: "ChatScreen", text: str, files: Sequence[Path]) -> None:
    """Say a message with the files that it names, as soon as they are read and heard.

    If one of them can't be, the text goes back to the prompt.
    """
    screen.find(
        lambda: [attachments.load(file) for file in files],
        partial(_keep_and_say, screen, text, ()),
        text,
    )


async def _keep_and_say(
    screen: "ChatScreen",
    text: str,
    kept: tuple[Attachment, ...],
    files: Sequence[attachments.Loaded],
) -> None:
    """Say `text` with the attachments that are kept already and the files that are yet to be."""
    if not files:
        heard = [attachment.transcript for attachment in kept if attachment.transcript]
        screen.say("\n".join([*heard, text]), kept)
        await screen.show_said()
        return
    file, *rest = files
    attachment = screen.session.keep(file)
    if file.clip is None:
        await _keep_and_say(screen, text, (*kept, attachment), rest)
        return

    async def go_on(words: str | None) -> None:
        if words == "":
            raise NoSpeechError(file.name)
        if words is None:  # the model's process ended, of which the user knows
            screen.composer.give_back(text)
        else:
            await _keep_and_say(screen, text, (*kept, attachment.with_transcript(words)), rest)

    screen.transcribe(file.clip, go_on, text)

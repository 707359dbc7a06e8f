"""Messages that name files, as in "what is in ~/a b.jpg?"."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat import attachments
from mmtui.chat.conversation import Attachment
from mmtui.errors import NoSpeechError

if TYPE_CHECKING:
    from mmtui.frontends.tui.screens.chat import ChatScreen
    from mmtui.pipeline.speech.sound import Clip


def say_with_files(screen: "ChatScreen", text: str, files: Sequence[Path]) -> None:
    """Say a message with the files that it names, as soon as they are read and heard.

    If one of them can't be, the text goes back to the prompt.
    """

    def load() -> list[tuple[Attachment, "Clip | None"]]:
        loaded = [attachments.load(file) for file in files]
        return [(screen.session.keep(file), file.clip) for file in loaded]

    screen.waiting = text
    screen.find(load, partial(_hear_and_say, screen, text, ()), text)


async def _hear_and_say(
    screen: "ChatScreen",
    text: str,
    kept: tuple[Attachment, ...],
    files: Sequence[tuple[Attachment, "Clip | None"]],
) -> None:
    """Say `text` with `kept` and the files, of which recordings are still to be heard."""
    if not files:
        heard = [attachment.transcript for attachment in kept if attachment.transcript]
        screen.say("\n".join([*heard, text]), kept)
        await screen.show_said()
        return
    (attachment, clip), *rest = files
    if clip is None:
        await _hear_and_say(screen, text, (*kept, attachment), rest)
        return

    async def go_on(words: str | None) -> None:
        if words == "":
            raise NoSpeechError(attachment.name)
        if words is None:  # the model's process ended, of which the user knows
            screen.composer.give_back(text)
        else:
            await _hear_and_say(screen, text, (*kept, attachment.with_transcript(words)), rest)

    screen.speech.transcribe(clip, go_on, text)

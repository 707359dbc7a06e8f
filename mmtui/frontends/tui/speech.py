"""What is done with a recording once the model has heard it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmtui.chat.conversation import Attachment
from mmtui.errors import NoSpeechError
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.message import MessageView

if TYPE_CHECKING:
    from mmtui.frontends.tui.screens.chat import ChatScreen
    from mmtui.pipeline.speech.sound import Clip


class Speech:
    """Puts transcripts where they can be edited; nothing is sent."""

    def __init__(self, screen: "ChatScreen") -> None:
        self._screen = screen

    def hear(self, clip: "Clip", kept: Attachment | None) -> None:
        """Transcribe a recording into the prompt, and stage it; `kept` if it is stored already."""

        async def heard(text: str | None) -> None:
            if text == "":
                raise NoSpeechError
            self._screen.composer.add_words(text or "")  # first: the clip may find no place
            if kept is not None:
                await self._screen.chips.add(kept.with_transcript(text or ""))
            else:
                self._screen.keep_clip(clip, text or "")

        self.transcribe(clip, heard)

    def correct(self, clip: "Clip", chip: Chip) -> None:
        """Transcribe the recording of a chip anew, whether it was sent or is to be."""
        message = next((n.message for n in chip.ancestors if isinstance(n, MessageView)), None)

        async def heard(text: str | None) -> None:
            if text == "":
                raise NoSpeechError
            if text is not None and message is not None:
                chip.retell(self._screen.session.correct(message, chip.attachment, text))
            elif text is not None and chip.is_attached:
                chip.retell(chip.attachment.with_transcript(text))
                self._screen.composer.add_words(text)

        self.transcribe(clip, heard)

    def transcribe(self, clip: "Clip", then: Callable[[str | None], Any], typed: str = "") -> None:
        """Call `then` with what is heard; `typed` goes back to the prompt if it fails."""
        screen = self._screen
        screen.session.transcribe(
            clip, lambda text: screen.call_later(screen.attempt, then, text, typed=typed)
        )
        screen.show_status()

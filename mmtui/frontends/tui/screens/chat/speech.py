"""Transcribe recordings, and put the transcripts where they can be edited."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mmtui.chat.conversation import Attachment, Conversation, Draft, Message
from mmtui.chat.notice import Notice
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError, NoSpeechError, UsageError
from mmtui.frontends.tui.screens.base import BaseScreen
from mmtui.frontends.tui.widgets.chips import Chip, Chips
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.message_view import MessageView
from mmtui.pipeline import input_files
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

STAGING = "staging"  # the group of the workers that attach something to the next message


class Speech:
    """Transcribes recordings for the chat screen; nothing is sent.

    A recording stays with the conversation that was open when the recording ended. One in a
    conversation without messages follows the user to the conversation that is opened next.
    """

    def __init__(
        self,
        screen: BaseScreen,
        session: Session,
        composer: Composer,
        chips: Chips,
    ) -> None:
        self._screen, self._session = screen, session
        self._composer, self._chips = composer, chips

    def receive_recording(self, clip: "Clip", error: MmtuiError | None) -> None:
        """Show why a recording failed, if it did, and transcribe what was recorded."""
        if error is not None:
            self._screen.show_notice(Notice(str(error), error.hint))
        if len(clip):
            self.transcribe_recording(clip)
        self._screen.show_status()

    def transcribe_recording(self, clip: "Clip") -> None:
        """Transcribe what the microphone recorded into the prompt, and attach the recording.

        A model that gets recordings hears it instead.
        """
        conversation = self._session.conversation

        def stage(text: str | None) -> None:
            self._require_words(text)
            self._screen.run_in_thread(
                partial(self._session.store_clip, clip, text or ""),
                partial(self._attach, conversation),
                group=STAGING,
            )

        if self._session.config.sends_recordings:
            stage(None)
        else:
            self.transcribe(clip, stage)

    def transcribe_file(self, clip: "Clip", attachment: Attachment) -> None:
        """Transcribe a sound file that is stored already into the prompt, and attach it."""
        conversation = self._session.conversation

        async def stage(text: str | None) -> None:
            self._require_words(text)
            await self._attach(conversation, attachment.with_transcript(text or ""))

        self.transcribe(clip, stage)

    def _is_open(self, conversation: Conversation) -> bool:
        """Return whether a recording belongs into the prompt.

        Args:
            conversation: The conversation that was open when the recording ended. If it has no
                messages, the recording follows the user, because nobody could find it there.
        """
        return conversation.head is None or conversation.id == self._session.conversation.id

    async def _attach(self, conversation: Conversation, attachment: Attachment) -> None:
        """Attach a recording to the next message, and put its transcript into the prompt.

        If the user has opened another conversation, both go to the draft of the one that was open
        when the recording ended, unless it has no messages.
        """
        if self._is_open(conversation):
            self._composer.insert_words(attachment.transcript)
            await self._chips.add(attachment)
            return
        self._session.store.add_to_draft(conversation, Draft(attachment.transcript, (attachment,)))
        title = one_line(conversation.title)
        self._screen.show_notice(
            Notice(f"the recording waits in the conversation {title}", is_error=False)
        )

    def transcribe_again(self, chip: Chip) -> None:
        """Transcribe the recording of a chip again, in a sent message or in the next one."""
        file = self._session.file

        def read() -> "Clip":
            return input_files.read_clip(file(chip.attachment))

        self._screen.run_in_thread(read, partial(self._replace_transcript, chip))

    def transcribe_last(self) -> None:
        """Transcribe the last recording again, of the next message or else of the conversation.

        Raises:
            UsageError: There is no recording.
        """
        chips = [chip for chip in self._screen.query(Chip) if _is_recording(chip)]
        if not chips:
            raise UsageError("there is no recording here", "F4 starts one")
        staged = [chip for chip in chips if chip in self._chips.query(Chip)]
        self.transcribe_again((staged or chips)[-1])

    def transcribe(self, clip: "Clip", then: Callable[[str | None], Any], typed: str = "") -> None:
        """Transcribe a clip, then `attempt` a callback with the text.

        Args:
            clip: The recording.
            then: Gets the transcript: "" for silence, None if the model's process ended.
            typed: Text to put back into the prompt if `then` fails.
        """
        screen = self._screen
        self._session.transcribe(
            clip, lambda text: screen.call_later(screen.attempt, then, text, typed=typed)
        )
        screen.show_status()

    def _require_words(self, text: str | None) -> None:
        """Raise NoSpeechError if a transcript has no words; None is no transcript."""
        if text == "":
            raise NoSpeechError

    def _replace_transcript(self, chip: Chip, clip: "Clip") -> None:
        message = _find_message(chip)

        async def replace(text: str | None) -> None:
            self._require_words(text)
            if text is not None and message is not None:
                chip.update_attachment(
                    self._session.update_transcript(message, chip.attachment, text)
                )
            elif text is not None and chip.is_attached:
                chip.update_attachment(chip.attachment.with_transcript(text))
                self._composer.insert_words(text)

        self.transcribe(clip, replace)


def _find_message(chip: Chip) -> Message | None:
    """Return the message that has a chip; None for one of the next message."""
    return next((node.message for node in chip.ancestors if isinstance(node, MessageView)), None)


def _is_recording(chip: Chip) -> bool:
    """Return whether the user recorded or attached a sound; an answer may have one, too."""
    message = _find_message(chip)
    is_answer = message is not None and message.role == "assistant"
    return chip.attachment.kind == "audio" and not is_answer

"""Send messages that mention files, as in "what is in ~/a b.jpg?"."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat import attachments
from mmtui.chat.conversation import Attachment
from mmtui.chat.session import Session
from mmtui.errors import NoSpeechError
from mmtui.frontends.tui.screens.base import BaseScreen
from mmtui.frontends.tui.screens.chat.open_draft import OpenDraft
from mmtui.frontends.tui.screens.chat.speech import Speech
from mmtui.frontends.tui.screens.chat.staging import Staging
from mmtui.pipeline.documents.conversion import ConversionCancelledError

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

Send = Callable[[str, tuple[Attachment, ...]], Awaitable[None]]


class Mentions:
    """Reads the files that a message mentions, transcribes recordings, and sends it with them."""

    def __init__(
        self,
        screen: BaseScreen,
        session: Session,
        draft: OpenDraft,
        staging: Staging,
        speech: Speech,
        send: Send,
    ) -> None:
        self._screen, self._session, self._draft = screen, session, draft
        self._staging, self._speech, self._send = staging, speech, send

    def send(self, text: str, files: Sequence[Path]) -> None:
        """Send a message once its files are read.

        The text goes back to the prompt if one of them can't be read or has no speech, or if the
        user cancels the reading. Nothing happens if another conversation is opened meanwhile.
        """

        def load() -> list[tuple[Attachment, "Clip | None"]] | None:
            try:
                loaded = self._staging.read(files)
            except ConversionCancelledError:
                return None
            return [(self._session.store_attachment(file), file.clip) for file in loaded]

        async def send(loaded: list[tuple[Attachment, "Clip | None"]] | None) -> None:
            if loaded is None:
                self._screen.restore_text(text)
            else:
                await self._transcribe_and_send(text, (), loaded)

        names = ", ".join(file.name for file in files)
        then = self._draft.bind(send)
        self._screen.run_in_thread(load, then, text, description=f"reading {names}")

    async def _transcribe_and_send(
        self,
        text: str,
        ready: tuple[Attachment, ...],
        files: Sequence[tuple[Attachment, "Clip | None"]],
    ) -> None:
        """Transcribe `files` one after the other; then send the text with all attachments."""
        if not files:
            transcripts = attachments.list_transcripts(ready)
            await self._send("\n".join([*transcripts, text]), ready)
            return
        (attachment, clip), *rest = files
        if clip is None or self._session.config.sends_recordings:
            await self._transcribe_and_send(text, (*ready, attachment), rest)
            return

        async def continue_with(transcript: str | None) -> None:
            if transcript == "":
                raise NoSpeechError(attachment.name)
            if transcript is None:  # the model's process ended, which is shown already
                self._screen.restore_text(text)
            else:
                transcribed = attachment.with_transcript(transcript)
                await self._transcribe_and_send(text, (*ready, transcribed), rest)

        self._speech.transcribe(clip, self._draft.bind(continue_with), text)

"""The model of a session: what was requested of its process, and what is known about it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mmtui.chat.config import Config
from mmtui.chat.model_process import ModelPort
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import (
    ChatTurn,
    Died,
    Event,
    Failed,
    Prepared,
    Progress,
    Ready,
    Transcribed,
)
from mmtui.chat.status import ModelStatus
from mmtui.pipeline.speech.languages import describe_mismatch

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

OnTranscript = Callable[[str | None], object]


class ModelClient:
    """Sends requests to a model process, and keeps track of them until they have ended.

    Attributes:
        status: What the model is doing.
        reply_request: The number of the request whose reply is being written.
    """

    def __init__(self, process: ModelPort, name: str, notify: Callable[[Notice], None]) -> None:
        """Create the client of a process that has nothing to do yet.

        Args:
            process: The model process.
            name: The name of its model.
            notify: Called with what the user should know.
        """
        self._process, self._notify = process, notify
        self.status = ModelStatus(model=name)
        self.reply_request: int | None = None
        self._load_request: int | None = None
        self._is_loaded = False
        self._transcriptions: dict[int, OnTranscript] = {}
        self._ahead: set[int] = set()  # requests that prepare the next question
        self._crashes_ahead = False  # whether such a request has crashed the model
        self._shown_notes: set[str] = set()  # about recordings
        self._shown_failure = ""  # the one of such a request that was shown last

    @property
    def is_transcribing(self) -> bool:
        """Whether a transcript is awaited."""
        return bool(self._transcriptions)

    @property
    def can_prepare(self) -> bool:
        """Whether the model is or will be loaded, and can prepare a question when it is idle."""
        if self._crashes_ahead:
            return False
        is_idle = self.reply_request is None and not self.is_transcribing
        return is_idle and (self._is_loaded or self._load_request is not None)

    # Requests

    def load(self) -> None:
        """Load the language model."""
        self.status.set_state("loading")
        self._load_request = self._process.load()

    def prepare(
        self,
        turns: Sequence[ChatTurn],
        pictures: Sequence[str],
        conversation: str,
        config: Config,
    ) -> None:
        """Load and read ahead what a question will need.

        Args:
            turns: The conversation before the question.
            pictures: Paths of the pictures that are attached to the question.
            conversation: The id of the conversation.
            config: The settings.
        """
        number = self._process.prepare(
            turns, pictures, config.max_tokens, conversation, config.prompt_storage * 1_000_000
        )
        self._ahead.add(number)

    def load_speech(self, language: str | None) -> None:
        """Load the speech model for a language; None if it is to be detected."""
        self._ahead.add(self._process.load_speech(language))

    def transcribe(self, clip: "Clip", language: str | None, on_transcript: OnTranscript) -> None:
        """Request a transcript.

        Args:
            clip: Mono speech at 16 kHz.
            language: Code of the spoken language; None detects it.
            on_transcript: Called with the text, or with None if the request failed.
        """
        self.status.set_state("transcribing")
        self._transcriptions[self._process.transcribe(clip, language)] = on_transcript

    def generate(self, turns: Sequence[ChatTurn], config: Config) -> None:
        """Request a reply. The model is loaded first if it isn't yet."""
        if not self._is_loaded and self._load_request is None:
            self.load()
        self.reply_request = self._process.generate(
            turns, config.max_tokens, config.temperature, config.top_p
        )
        self.status.set_state("thinking")
        self.status.tokens_per_s = None

    def cancel(self) -> bool:
        """Stop the reply that is being written, and return whether there was one."""
        if self.reply_request is None:
            return False
        self._process.cancel(self.reply_request)
        return True

    def switch(self, name: str) -> None:
        """End the process; the next request starts one with another model."""
        self._process.switch_model(name)
        self._crashes_ahead = False
        self.forget_process()
        self.status = ModelStatus(model=name)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    # Events

    def handle_event(self, event: Event) -> None:
        """Handle an event that is not about a reply."""
        if isinstance(event, Progress):
            self.status.update_progress(event)
        elif isinstance(event, Ready) and event.number == self._load_request:
            self._load_request, self._is_loaded = None, True
            self.status.update_model(event)
            if event.note:
                self._notify(Notice(event.note, is_error=False))
            self._check_language()
        elif isinstance(event, Prepared):
            self.status.step = ""
            self._ahead.discard(event.number)
        elif isinstance(event, Transcribed):
            self._note_language(event)
            self._finish_transcription(event.number, event.text)

    def finish_reply(self, *, is_loaded: bool | None = None) -> None:
        """Note that the reply has ended.

        Args:
            is_loaded: Whether the model is loaded, if the end of the reply shows that.
        """
        self.reply_request = None
        if is_loaded is not None:
            self._load_request, self._is_loaded = None, is_loaded
        self._update_state()

    def handle_failure(self, event: Failed | Died) -> None:
        """Forget what failed, and show why. What fails ahead again is not shown again."""
        if isinstance(event, Died):
            self._crashes_ahead |= event.is_refused and bool(self._ahead)
            self.forget_process()
            self._notify(Notice(event.message, event.hint))
            return
        is_shown = False
        if event.number == self._load_request:
            self._load_request = None
            is_shown = self.reply_request is not None  # the reply will fail for the same reason
            self._shown_failure = event.message
        elif event.number in self._ahead:
            self._ahead.discard(event.number)
            is_shown = event.message == self._shown_failure
            self._shown_failure = event.message
        self._finish_transcription(event.number, None)
        if not is_shown:
            self._notify(Notice(event.message, event.hint))

    def forget_process(self) -> None:
        """Forget all requests, because the process has ended; awaited transcripts have failed."""
        self.finish_reply(is_loaded=False)
        self._ahead.clear()
        self._shown_failure = ""
        abandoned, self._transcriptions = self._transcriptions, {}
        for on_transcript in abandoned.values():
            on_transcript(None)

    def _note_language(self, event: Transcribed) -> None:
        if event.text:
            self.status.spoken_language = event.language
        for note in event.notes:
            self._notify_once(note)
        self._check_language()

    def _check_language(self) -> None:
        """Tell the user if the model does not speak the language of the last recording."""
        status = self.status
        note = describe_mismatch(status.model, status.languages, status.spoken_language)
        if note is not None:
            self._notify_once(note)

    def _notify_once(self, note: str) -> None:
        if note not in self._shown_notes:
            self._shown_notes.add(note)
            self._notify(Notice(note, is_error=False))

    def _finish_transcription(self, number: int, text: str | None) -> None:
        on_transcript = self._transcriptions.pop(number, None)
        self._update_state()
        if on_transcript is not None:
            on_transcript(text)

    def _update_state(self) -> None:
        """Derive the state from the pending requests."""
        if self.reply_request is not None:
            self.status.set_state("thinking")
        elif self._load_request is not None:
            self.status.set_state("loading")
        else:
            self.status.set_state("idle" if self._is_loaded else "off")

"""A chat in progress, without a screen: a conversation, the history and the model.

A user interface calls a method for each action of the user, passes each event of the model to
`Session.handle_event`, and shows the notices that it gets.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from mmtui.chat import attachments
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Conversation, Draft, Message
from mmtui.chat.details import update_details
from mmtui.chat.history.failover import CHAT_BUSY_TIMEOUT_S
from mmtui.chat.history.history import History
from mmtui.chat.history.store import Store
from mmtui.chat.model_client import ModelClient
from mmtui.chat.model_process import ModelPort
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Completed, Died, Event, Failed, ReplyPart, Transcribed
from mmtui.chat.replies import completion_notices, list_files, list_turns, to_draft
from mmtui.chat.reply_files import extend_reply
from mmtui.chat.status import ModelStatus
from mmtui.errors import MmtuiError, UsageError
from mmtui.pipeline import input_files

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

SAVE_EVERY_S = 0.5  # while a reply is written: a crash loses at most this much of it


class Session:
    """A chat with one open conversation.

    Attributes:
        store: Where conversations are stored.
        conversation: The open conversation.
        config: The settings, with what was changed for this session.
        list_models, find_model: Those of the model's `ModelPort`; they block.
    """

    def __init__(
        self,
        model: ModelPort,
        history: History | None,
        config: Config,
        notify: Callable[[Notice], None],
        reopen: Callable[[], History] | None = None,
    ) -> None:
        """Start with a new conversation.

        Args:
            model: The process with the model, or the server that runs it.
            history: Where conversations are stored; None stores them in a temporary folder.
            config: The settings of the chat.
            notify: Called with what the user should know, from any thread.
            reopen: Opens the history, if it could not be opened before.
        """
        self.config, self._notify = config, notify
        self._model = ModelClient(model, config.model, notify)
        self.list_models, self.find_model = model.list_models, model.find_model
        self.store = Store(history, notify, reopen)
        self.conversation = Conversation(system=config.system)
        self._draft_files: tuple[Attachment, ...] = ()
        self._reply: Message | None = None
        self._prompt: Message | None = None  # the new user message that `_reply` answers
        self._saved_at = 0.0

    @classmethod
    def open(
        cls, model: ModelPort, folder: Path | None, config: Config, notify: Callable[[Notice], None]
    ) -> Self:
        """Start a session with the history in `folder`; None is the user's data folder."""

        def reopen() -> History:
            return History(
                folder, lambda text, hint: notify(Notice(text, hint)), CHAT_BUSY_TIMEOUT_S
            )

        try:
            return cls(model, reopen(), config, notify)
        except MmtuiError:  # the store uses a temporary folder, tries again, and reports the error
            return cls(model, None, config, notify, reopen)

    # Conversations

    def start_conversation(self) -> None:
        """Open a new conversation."""
        self._cancel()
        self.conversation, self._draft_files = Conversation(system=self.config.system), ()
        self.status.used = self.status.dropped = 0
        self.prepare()

    def resume(self, id: str | None = None) -> Draft:
        """Open a stored conversation, by default the latest, and return its draft."""
        return self.open_conversation(*self.store.find(id).result())

    def open_conversation(self, conversation: Conversation, draft: Draft) -> Draft:
        """Open a conversation that `store.find` returned, and return its draft."""
        self._cancel()
        if conversation.id != self.conversation.id:  # else `_cancel` may just have changed it
            self.conversation = conversation
        self._draft_files = draft.attachments
        self.status.used, self.status.dropped = None, 0
        self.prepare()
        return draft

    def rename(self, title: str) -> None:
        """Change the title of the conversation."""
        self.conversation.title = title
        self.store.rename(self.conversation)

    def set_system_prompt(self, system: str) -> None:
        """Change the system prompt of the conversation; "-" removes it."""
        self.conversation.system = "" if system == "-" else system
        self.store.update(self.conversation)
        self.prepare()

    def show_next_version(self, message: Message | None = None) -> None:
        """Show the next version of a message, by default of the last one with several.

        Raises:
            UsageError: No message has several versions, or a reply is being written.
        """
        self.require_idle()
        message = message or self.conversation.last_with_versions()
        if message is None:
            raise UsageError("no message has another version", "/edit and /retry make one")
        self.conversation.show_next_version(message)
        self.store.update(self.conversation)
        self.prepare()

    def save_draft(self, draft: Draft) -> None:
        """Store what is typed and not sent yet."""
        self.store.save_draft(self.conversation, draft)

    def close(self) -> Notice | None:
        """End the model process and write everything.

        Returns:
            What the user should know if not everything could be written to the history.
        """
        self._cancel()
        self._model.close()
        failure = self.store.close()
        return None if failure is None else failure.notice

    # Attachments

    def store_attachment(self, loaded: "attachments.LoadedFile") -> Attachment:
        """Store a picture or a recording, to be sent with a message. Blocks on the disk."""
        sha256 = self.store.add_attachment(loaded.data)
        for note in loaded.notes:
            self._notify(Notice(note, is_error=False))
        return Attachment(sha256, loaded.kind, loaded.name, len(loaded.data), loaded.detail)

    def store_clip(self, clip: "Clip", transcript: str) -> Attachment:
        """Store a recording of the microphone, to be sent with a message. Blocks on the disk."""
        data = input_files.encode_wav(clip)
        sha256 = self.store.add_attachment(data)
        detail = attachments.format_length(clip)
        return Attachment(sha256, "audio", "voice.wav", len(data), detail, transcript)

    def prepare_attachments(self, files: tuple[Attachment, ...]) -> None:
        """Encode the pictures of the next message ahead. `files` are all its attachments."""
        if files != self._draft_files:
            self._draft_files = files
            self.prepare()

    def file(self, attachment: Attachment) -> Path:
        """Return the path of a stored attachment.

        Raises:
            InputError: The file is gone.
        """
        return self.store.file(attachment)

    def transcribe(self, clip: "Clip", on_transcript: Callable[[str | None], object]) -> None:
        """Request a transcript.

        Args:
            clip: Mono speech at 16 kHz.
            on_transcript: Called with the text; with "" if there is no speech, and with None if
                the request failed.
        """
        self._model.transcribe(clip, self.config.spoken_language, on_transcript)

    def update_transcript(self, message: Message, old: Attachment, text: str) -> Attachment:
        """Replace the transcript of a recording that was sent with `message`."""
        new = old.with_transcript(text)
        message.attachments = tuple(new if each is old else each for each in message.attachments)
        self._save(message)
        return new

    # Replies

    def send(self, text: str, files: tuple[Attachment, ...] = ()) -> Message:
        """Send a message, and return its reply, still empty."""
        self.require_idle()
        self._draft_files = ()
        return self._send(self.conversation.say(text, files))

    def regenerate(self) -> Message:
        """Generate another version of the last reply."""
        self.require_idle()
        return self._generate(self.conversation.regenerate(self.conversation.last_reply().id))

    def edit(self, id: str, text: str) -> Message:
        """Send another version of an earlier message, and return its reply."""
        self.require_idle()
        return self._send(self.conversation.edit(id, text))

    def continue_(self) -> Message:
        """Let the model continue a reply that was stopped; the same message grows.

        Raises:
            UsageError: The reply is complete, there is none, or one is being written.
        """
        self.require_idle()
        reply = self.conversation.last_reply()
        if reply.state == "complete":
            raise UsageError("the answer is complete", "ask for more, or regenerate it")
        reply.state = "writing"
        return self._generate(reply)

    def stop(self) -> None:
        """Stop the reply that is being written; its text so far is kept."""
        if self._cancel():
            self.prepare()

    def require_idle(self) -> None:
        """Raise UsageError while a reply is being written."""
        if self.is_answering:
            raise UsageError("an answer is being written", "Esc stops it")

    @property
    def is_answering(self) -> bool:
        """Whether a reply is being written."""
        return self._model.reply_request is not None

    @property
    def is_transcribing(self) -> bool:
        """Whether a transcript is awaited."""
        return self._model.is_transcribing

    @property
    def reply(self) -> Message | None:
        """The reply that is being written."""
        return self._reply

    @property
    def unsaved_reason(self) -> str:
        """Why something is not in the history, in a few words; "" if everything is."""
        return self.store.failure.reason if self.store.failure else ""

    # Settings

    @property
    def microphone(self) -> str | None:
        """The name of the chosen microphone; None is the system's default."""
        return self.config.microphone or None

    def configure(self, **changed: object) -> None:
        """Change settings for this session.

        Raises:
            UsageError: A value is invalid.
        """
        self.config = self.config.replace(**changed)

    def set_sampling(self, text: str) -> None:
        """Change sampling settings, given as "temperature=0.7 top_p=0.9".

        Raises:
            UsageError: A name or a value is invalid.
        """
        self.config = self.config.with_sampling(text)

    # The model

    @property
    def status(self) -> ModelStatus:
        """What the model is doing."""
        return self._model.status

    def load(self) -> None:
        """Load the model, to be ready for the first question."""
        self._model.load()
        self.prepare()

    def load_speech(self) -> None:
        """Load the speech model, to be ready when a recording ends."""
        if not self.config.sends_recordings:
            self._model.load_speech(self.config.spoken_language)

    def switch_model(self, model: str) -> None:
        """Use another model from now on."""
        self._cancel()
        self.config = self.config.replace(model=model)
        self._model.switch(model)
        self.load()

    def handle_event(self, event: Event) -> Draft | None:
        """Handle an event of the model.

        Returns:
            The message sent last as a draft, if the model refused it; else None.
        """
        if isinstance(event, ReplyPart):
            self._append(event)
        elif isinstance(event, Completed):
            self._complete(event)
        elif isinstance(event, Failed | Died):
            return self._fail(event)
        else:
            self._model.handle_event(event)
            if isinstance(event, Transcribed):
                self.prepare()
        return None

    def _send(self, prompt: Message) -> Message:
        self._save(prompt)
        return self._generate(self.conversation.answer(), prompt)

    def _generate(self, reply: Message, prompt: Message | None = None) -> Message:
        self._save(reply)
        self._reply, self._prompt = reply, prompt
        turns = list_turns(self.conversation, self.file, self.config.sends_recordings, self._notify)
        self._model.generate(list(turns), self.config)
        return reply

    def _append(self, event: ReplyPart) -> None:
        if event.number != self._model.reply_request or self._reply is None:
            return
        if extend_reply(self._reply, event, self.store_attachment, self._notify):
            self.status.set_state("writing")
            if time.monotonic() - self._saved_at > SAVE_EVERY_S:
                self._save(self._reply)

    def _complete(self, event: Completed) -> None:
        if event.number != self._model.reply_request:
            return
        self.status.used = event.prompt_tokens + event.completion_tokens
        self.status.tokens_per_s = event.tokens_per_s
        for notice in completion_notices(event, self.status.dropped, self._reply):
            self._notify(notice)
        self.status.dropped = event.dropped
        self._finish("complete" if event.stop_reason == "stop" else "stopped", event)
        self.prepare()

    def _cancel(self) -> bool:
        """Stop the reply that is being written, and return whether there was one."""
        if is_cancelled := self._model.cancel():
            self._finish("stopped")
        return is_cancelled

    def _finish(
        self, state: Literal["complete", "stopped", "failed"], completed: Completed | None = None
    ) -> None:
        reply, self._reply = self._reply, None
        self._model.finish_reply(is_loaded=True if completed else None)
        if reply is not None:
            reply.state = state
            update_details(reply, self.status.model, completed)
            self._save(reply)

    def _fail(self, event: Failed | Died) -> Draft | None:
        draft = None
        if isinstance(event, Died) or event.number == self._model.reply_request:
            is_refused = event.is_refused and self.is_answering
            self._finish("failed")
            if is_refused and self._prompt is not None:
                draft = self._retract(self._prompt)
        self._model.handle_failure(event)
        return draft

    def prepare(self) -> None:
        """Have the model prepare the next message, if it has nothing else to do."""
        if self._model.can_prepare:
            turns = list_turns(self.conversation, self.file, self.config.sends_recordings)
            pictures = list_files(self._draft_files, self.file, "image")
            self._model.prepare(list(turns), list(pictures), self.conversation.id, self.config)

    def _retract(self, prompt: Message) -> Draft:
        draft = to_draft(prompt)
        self.conversation.retract(prompt.id)
        self.store.retract(self.conversation, prompt.id, draft)
        return draft

    def _save(self, message: Message) -> None:
        self._saved_at = time.monotonic()
        self.store.save(self.conversation, message)

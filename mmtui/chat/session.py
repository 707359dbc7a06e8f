"""A chat in progress: a conversation, its history and the model, without a screen.

The screen calls what the user does, hands in each event of the model, and shows what is told.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from mmtui.chat import attachments, export
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Conversation, Draft, Message
from mmtui.chat.figures import Figures
from mmtui.chat.history.history import History
from mmtui.chat.history.keeping import PATIENCE_S
from mmtui.chat.history.store import Store
from mmtui.chat.model import ModelPort
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Answered, Died, Event, Failed, Heard, Piece, Progress, Ready, Said
from mmtui.errors import MmtuiError, UsageError
from mmtui.pipeline import input_files
from mmtui.text import printable

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip

SAMPLING = ("temperature", "top_p", "max_tokens")
SAVE_EVERY_S = 0.5  # of an answer that is being written: what a crash may cost


class Session:
    """One conversation at a time; `history` None keeps it in a temporary folder."""

    def __init__(
        self,
        model: ModelPort,
        history: History | None,
        config: Config,
        tell: Callable[[Notice], None],
        reopen: Callable[[], History] | None = None,
    ) -> None:
        """`tell` may be called by another thread; `reopen` opens a history that could not be."""
        self._model, self._config, self._tell = model, config, tell
        self.store = Store(history, tell, reopen)
        self.figures = Figures(model=config.model)
        self.conversation = Conversation(system=config.system)
        self._asking: int | None = None
        self._loading: int | None = None
        self._is_loaded = False
        self._hearing: dict[int, Callable[[str | None], object]] = {}
        self._answer: Message | None = None
        self._said: Message | None = None  # what it answers, if that was said just now
        self._saved = 0.0

    @classmethod
    def opened(
        cls, model: ModelPort, folder: Path | None, config: Config, tell: Callable[[Notice], None]
    ) -> Self:
        """With the history in `folder`, by default the user's; elsewhere while that fails."""

        def reopen() -> History:
            return History(folder, tell=lambda *said: tell(Notice(*said)), busy_s=PATIENCE_S)

        try:
            return cls(model, reopen(), config, tell)
        except MmtuiError:  # which is told when it is tried again
            return cls(model, None, config, tell, reopen)

    # What the user does

    def begin(self) -> None:
        """A new conversation."""
        self.stop()
        self.conversation = Conversation(system=self._config.system)
        self.figures.used = self.figures.dropped = 0

    def resume(self, id: str | None = None) -> Draft:
        """Go on with a conversation, the latest by default; returns the draft left in it."""
        return self.take(*self.store.find(id).result())

    def take(self, conversation: Conversation, draft: Draft) -> Draft:
        """Go on with a conversation that was found; returns the draft left in it."""
        self.stop()
        if conversation.id != self.conversation.id:  # whose answer may just have been stopped
            self.conversation = conversation
        self.figures.used, self.figures.dropped = None, 0
        return draft

    def keep(self, loaded: "attachments.Loaded") -> Attachment:
        """Keep a picture or a recording, to be sent with a message. Waits for the disk."""
        kept = self.store.keep(loaded.data)
        for note in loaded.notes:
            self._tell(Notice(note, is_error=False))
        return Attachment(kept, loaded.kind, loaded.name, len(loaded.data), loaded.detail)

    def attach_clip(self, clip: "Clip", transcript: str) -> Attachment:
        data = input_files.encode_wav(clip)
        detail = attachments.length(clip)
        return Attachment(
            self.store.keep(data), "audio", "voice.wav", len(data), detail, transcript
        )

    def send(self, text: str, files: tuple[Attachment, ...] = ()) -> Message:
        """Say something; returns the answer, which is being written from now on."""
        self.must_be_free()
        return self._say(self.conversation.say(text, files))

    def regenerate(self) -> Message:
        """Another answer to the last question."""
        self.must_be_free()
        return self._ask(self.conversation.regenerate(self._last_answer().id))

    def edit(self, id: str, text: str) -> Message:
        """Say an earlier message differently, and go on from there."""
        self.must_be_free()
        return self._say(self.conversation.edit(id, text))

    def continue_(self) -> Message:
        """Let the model go on where an answer was stopped: the same message grows."""
        self.must_be_free()
        answer = self._last_answer()
        if answer.state == "complete":
            raise UsageError("the answer is complete", "ask for more, or regenerate it")
        answer.state = "writing"
        return self._ask(answer)

    def stop(self) -> None:
        """End the answer; what is there of it stays."""
        if self._asking is not None:
            self._model.cancel(self._asking)
            self._finish("stopped")

    def transcribe(self, clip: "Clip", then: Callable[[str | None], object]) -> None:
        """`then` gets the text: "" where nobody speaks, None if it can't be told."""
        self.figures.becomes("listening")
        self._hearing[self._model.transcribe(clip)] = then

    def recording(self) -> tuple[Message, Attachment]:
        """The last one that was said. Raises UsageError if there is none."""
        for message in reversed(self.conversation.thread):
            for file in reversed(message.attachments):
                if file.kind == "audio":
                    return message, file
        raise UsageError("there is no recording in this conversation", "/record makes one")

    def correct(self, message: Message, old: Attachment, text: str) -> Attachment:
        """What was heard in a recording that went with a message, heard anew."""
        new = old.with_transcript(text)
        message.attachments = tuple(new if each is old else each for each in message.attachments)
        self._save(message)
        return new

    def branch(self, message: Message | None = None) -> None:
        """Read the next version of a message, by default of the last that has several."""
        self.must_be_free()
        conversation = self.conversation
        if message is None:
            forks = [m for m in conversation.thread if len(conversation.siblings(m.id)) > 1]
            if not forks:
                raise UsageError("there is one version of everything", "edit or retry make more")
            message = forks[-1]
        versions = conversation.siblings(message.id)
        conversation.turn_to(versions[(versions.index(message) + 1) % len(versions)].id)
        self.store.update(conversation)

    def to_copy(self, what: str = "") -> str:
        """The last answer, its last block of code, or all: "", "code" or "all"."""
        if what == "all":
            return export.to_markdown(self.conversation)
        text = printable(self._last_answer().text)
        if what == "code" and not (text := export.last_code(text)):
            raise UsageError("there is no code in the last answer")
        return text

    def keep_draft(self, draft: Draft) -> None:
        self.store.save_draft(self.conversation, draft)

    @property
    def microphone(self) -> str | None:
        """The name of the chosen one; None is the system's choice."""
        return self._config.microphone or None

    def configure(self, **changed: object) -> None:
        """Other settings from now on. Raises UsageError for values that can't be."""
        self._config = self._config.changed(**changed)

    @property
    def sampling(self) -> str:
        """How words are chosen, as `sample` takes it."""
        return " ".join(f"{key}={getattr(self._config, key)}" for key in SAMPLING)

    def sample(self, text: str) -> None:
        """From "temperature=0.7 top_p=0.9". Raises UsageError for what can't be."""
        pairs = [pair.partition("=")[::2] for pair in text.split()]
        for key, value in pairs:
            if key not in SAMPLING or not value:
                raise UsageError(f"{key!r} says nothing of sampling", self.sampling)
        self.configure(**dict(pairs))

    def switch(self, model: str) -> None:
        """Another model answers from now on."""
        self.stop()
        self._model.switch(model)
        self._is_loaded = False
        self._leave_unheard()
        self.figures = Figures(model=model)
        self.load()

    def rename(self, title: str) -> None:
        self.conversation.title = title
        self.store.rename(self.conversation)

    def instruct(self, system: str) -> None:
        """Another system prompt for this conversation."""
        self.conversation.system = "" if system == "-" else system
        self.store.update(self.conversation)

    def close(self) -> Notice | None:
        """End the model and write everything; returns what is to be told if that fails."""
        self.stop()
        self._model.close()
        left = self.store.close()
        return None if left is None else left.notice

    # What the model does

    def hear(self, event: Event) -> Draft | None:
        """Take an event of the model. Returns what was just said if it is too long to be said."""
        figures = self.figures
        if isinstance(event, Progress):
            figures.progress(event)
        elif isinstance(event, Ready) and event.number == self._loading:
            self._loading, self._is_loaded = None, True
            figures.ready(event)
            if event.note:
                self._tell(Notice(event.note, is_error=False))
        elif isinstance(event, Piece) and event.number == self._asking and self._answer:
            figures.becomes("writing")
            self._answer.text += event.text
            if time.monotonic() - self._saved > SAVE_EVERY_S:
                self._save(self._answer)
        elif isinstance(event, Answered) and event.number == self._asking:
            self._loading, self._is_loaded = None, True
            figures.used = event.prompt_tokens + event.completion_tokens
            figures.tokens_per_s = event.tokens_per_s
            self._tell_of_the_context(event)
            if event.repeats:
                self._tell(Notice("stopped: the answer was repeating itself", is_error=False))
            self._finish("complete" if event.stop_reason == "stop" else "stopped")
        elif isinstance(event, Heard):
            self._rest()
            if then := self._hearing.pop(event.number, None):
                then(event.text)
        elif isinstance(event, Failed):
            return self._fail(event)
        elif isinstance(event, Died):
            self._die(Notice(event.message, event.hint))
        return None

    def load(self) -> None:
        """Have the model ready when the first question comes."""
        self.figures.becomes("loading")
        self._loading = self._model.load()

    # How

    @property
    def is_answering(self) -> bool:
        return self._asking is not None

    @property
    def unsaved(self) -> str:
        """Why something is not in the history, in a few words; "" if everything is."""
        return self.store.trouble.reason if self.store.trouble else ""

    @property
    def is_listening(self) -> bool:
        return bool(self._hearing)

    @property
    def answer(self) -> Message | None:
        """The answer that is being written."""
        return self._answer

    def file(self, attachment: Attachment) -> Path:
        """Where an attachment is kept. Raises InputError if it is gone."""
        return self.store.file(attachment)

    def _say(self, said: Message) -> Message:
        self._save(said)
        return self._ask(self.conversation.answer(), said)

    def _ask(self, answer: Message, said: Message | None = None) -> Message:
        self._save(answer)
        self._answer, self._said = answer, said
        config = self._config
        if not self._is_loaded and self._loading is None:
            self.load()
        self._asking = self._model.ask(
            self._turns(answer), config.max_tokens, config.temperature, config.top_p
        )
        self.figures.becomes("thinking")
        self.figures.tokens_per_s = None
        return answer

    def _turns(self, answer: Message) -> list[Said]:
        """What comes before an answer, and at the end what there is of it already."""
        system = self.conversation.system
        turns = [Said("system", system)] if system else []
        for message in self.conversation.branch(answer.id):
            pictures = tuple(self._pictures(message))
            if message.text or pictures:
                turns.append(Said(message.role, message.text, pictures))
        return turns

    def _pictures(self, message: Message) -> Iterator[str]:
        """Those that are still there; of the others it is told."""
        for file in message.attachments:
            if file.kind == "image":
                try:
                    yield str(self.file(file))
                except MmtuiError as error:
                    self._tell(Notice(f"{error}; the model does not see it", error.hint))

    def _tell_of_the_context(self, event: Answered) -> None:
        """Once each time that more of the conversation is left out."""
        if event.full:
            text = "the answer reached the end of the model's context"
            self._tell(Notice(text, "go on, and what is oldest is left out", is_error=False))
        if event.dropped > self.figures.dropped:
            text = f"the context is full: the oldest {event.dropped} turns are left out"
            self._tell(Notice(text, "they stay in the history", is_error=False))
        self.figures.dropped = event.dropped

    def _finish(self, state: Literal["complete", "stopped", "failed"]) -> None:
        answer, self._answer, self._asking = self._answer, None, None
        self._rest()
        if answer is not None:
            answer.state = state
            self._save(answer)

    def _fail(self, event: Failed) -> Draft | None:
        draft = None
        if event.number == self._loading:
            self._loading = None
        if event.number == self._asking:
            self._finish("failed")
            if event.is_too_long and self._said is not None:
                draft = self._take_back(self._said)
        else:
            self._rest()
        if then := self._hearing.pop(event.number, None):
            then(None)
        self._tell(Notice(event.message, event.hint))
        return draft

    def _take_back(self, said: Message) -> Draft:
        draft = Draft(said.text, said.attachments)
        self.conversation.take_back(said.id)
        self.store.take_back(self.conversation, said.id, draft)
        return draft

    def _die(self, notice: Notice) -> None:
        self._loading, self._is_loaded = None, False
        self._finish("failed")
        self._leave_unheard()
        self._tell(notice)

    def _leave_unheard(self) -> None:
        """Recordings that this model will not hear any more are kept without a transcript."""
        unheard, self._hearing = self._hearing, {}
        for then in unheard.values():
            then(None)

    def _rest(self) -> None:
        """The state while nothing new is known to be done."""
        if self._asking is not None:
            self.figures.becomes("thinking")
        elif self._loading is not None:
            self.figures.becomes("loading")
        else:
            self.figures.becomes("idle" if self._is_loaded else "off")

    def must_be_free(self) -> None:
        """Raises UsageError while an answer is being written."""
        if self._asking is not None:
            raise UsageError("an answer is being written", "Esc stops it")

    def _last_answer(self) -> Message:
        thread = self.conversation.thread
        if not thread or thread[-1].role != "assistant":
            raise UsageError("there is no answer yet", "ask something first")
        return thread[-1]

    def _save(self, message: Message) -> None:
        self._saved = time.monotonic()
        self.store.save(self.conversation, message)

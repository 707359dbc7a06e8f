"""A chat in progress: a conversation, its history and the model, without a screen.

The screen calls what the user does, hands in each event of the model, and shows what is told.
"""

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from mmtui.chat import attachments
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Conversation, Message
from mmtui.chat.history import History
from mmtui.chat.protocol import (
    Answered,
    Died,
    Event,
    Failed,
    Heard,
    Piece,
    Progress,
    Ready,
    Said,
)
from mmtui.errors import MmtuiError, UsageError

if TYPE_CHECKING:
    from mmtui.pipeline.sound import Clip

State = Literal["idle", "loading", "thinking", "writing", "listening"]
SAVE_EVERY_S = 0.5  # of an answer that is being written: what a crash may cost


class ModelPort(Protocol):
    """What a chat needs of `mmtui.chat.model.Model`."""

    def load(self) -> int: ...

    def ask(
        self, turns: Sequence[Said], max_tokens: int, temperature: float, top_p: float,
        seed: int | None = None,
    ) -> int: ...  # fmt: skip

    def transcribe(self, clip: "Clip") -> int: ...

    def cancel(self, number: int) -> None: ...

    def switch(self, name: str) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Notice:
    """Something to tell the user, once."""

    text: str
    hint: str | None = None
    is_error: bool = True


@dataclass
class Figures:
    """What the status line shows. `used` is of the last prompt and answer, in tokens."""

    model: str = ""
    state: State = "idle"
    step: str = ""  # of a long step, with its percentage
    used: int = 0
    context: int = 0
    tokens_per_s: float | None = None
    picture_tokens: int = 0
    picture_side: int = 0  # pixels; 0 if the model sees none


class Session:
    """One conversation at a time; `history` None keeps it in a temporary folder."""

    def __init__(
        self,
        model: ModelPort,
        history: History | None,
        config: Config,
        tell: Callable[[Notice], None],
    ) -> None:
        self._model, self._config, self._tell = model, config, tell
        self._temporary: Path | None = None
        self.history = history or self._in_memory()
        self.figures = Figures(model=config.model)
        self.conversation = Conversation(system=config.system)
        self._asking: int | None = None
        self._hearing: dict[int, Callable[[str], None]] = {}
        self._answer: Message | None = None
        self._saved = 0.0

    # What the user does

    def begin(self) -> None:
        """A new conversation."""
        self.stop()
        self.conversation = Conversation(system=self._config.system)
        self.figures.used = 0

    def resume(self, id: str | None = None) -> str:
        """Go on with a conversation, the latest by default; returns the draft left in it."""
        id = id or self.history.latest()
        if id is None:
            raise UsageError("there is no conversation to resume", "begin one: mmtui")
        self.stop()
        self.conversation = self.history.conversation(id)
        self.figures.used = 0
        return self.history.draft(self.conversation.id)

    def attach(self, path: Path) -> Attachment:
        """Keep an image or a recording. Raises InputError for a file that is neither."""
        with attachments.opened(path) as file:
            data = file.read(attachments.MAX_IMAGE_BYTES + 1)
        kind, detail = attachments.identify(data, str(path))
        return Attachment(self._keep(data), kind, path.name, len(data), detail)

    def attach_clip(self, clip: "Clip", transcript: str) -> Attachment:
        data = attachments.wav(clip)
        detail = attachments.length(clip)
        return Attachment(self._keep(data), "audio", "voice.wav", len(data), detail, transcript)

    def send(self, text: str, files: tuple[Attachment, ...] = ()) -> Message:
        """Say something; returns the answer, which is being written from now on."""
        self._must_be_free()
        said = self.conversation.say(text, files)
        self._save(said)
        return self._ask(self.conversation.answer())

    def regenerate(self) -> Message:
        """Another answer to the last question."""
        self._must_be_free()
        return self._ask(self.conversation.regenerate(self._last_answer().id))

    def edit(self, id: str, text: str) -> Message:
        """Say an earlier message differently, and go on from there."""
        self._must_be_free()
        self._save(self.conversation.edit(id, text))
        return self._ask(self.conversation.answer())

    def continue_(self) -> Message:
        """Let the model go on where an answer was stopped: the same message grows."""
        self._must_be_free()
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

    def transcribe(self, clip: "Clip", then: Callable[[str], None]) -> None:
        """`then` gets the text, "" where nobody speaks."""
        self.figures.state = "listening"
        self._hearing[self._model.transcribe(clip)] = then

    def to_copy(self, what: str = "") -> str:
        """The last answer, its last block of code, or all: "", "code" or "all"."""
        if what == "all":
            from mmtui.chat.export import to_markdown

            return to_markdown(self.conversation)
        text = self._last_answer().text
        if what == "code":
            blocks: list[str] = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
            if not blocks:
                raise UsageError("there is no code in the last answer")
            return blocks[-1]
        return text

    def keep_draft(self, text: str) -> None:
        self._written(lambda history: history.save_draft(self.conversation, text))

    @property
    def microphone(self) -> str | None:
        """The name of the chosen one; None is the system's choice."""
        return self._config.microphone or None

    def configure(self, **changed: object) -> None:
        """Other settings from now on. Raises UsageError for values that can't be."""
        self._config = self._config.changed(**changed)

    def switch(self, model: str) -> None:
        """Another model answers from now on."""
        self.stop()
        self._model.switch(model)
        self.figures = Figures(model=model)
        self.load()

    def rename(self, title: str) -> None:
        self.conversation.title = title
        self._written(lambda history: history.update(self.conversation))

    def instruct(self, system: str) -> None:
        """Another system prompt for this conversation."""
        self.conversation.system = system
        self._written(lambda history: history.update(self.conversation))

    def close(self) -> None:
        self.stop()
        self._model.close()
        self.history.close()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    # What the model does

    def hear(self, event: Event) -> None:
        """Take an event of the model; events of answers that were stopped are nothing any more."""
        figures = self.figures
        if isinstance(event, Progress):
            share = f" {100 * event.done // event.total} %" if event.total else ""
            figures.step = f"{event.step}{share}"
            if 0 < event.total <= event.done:
                figures.step = ""
        elif isinstance(event, Ready):
            figures.model, figures.context = event.model, event.context
            figures.picture_tokens, figures.picture_side, figures.step = (
                event.picture_tokens,
                event.picture_side,
                "",
            )
            if figures.state == "loading":
                figures.state = "idle"
        elif isinstance(event, Piece) and event.number == self._asking and self._answer:
            figures.state, figures.step = "writing", ""
            self._answer.text += event.text
            now = time.monotonic()
            if now - self._saved > SAVE_EVERY_S:
                self._save(self._answer)
        elif isinstance(event, Answered) and event.number == self._asking:
            figures.used = event.prompt_tokens + event.completion_tokens
            figures.tokens_per_s = event.tokens_per_s
            self._finish("complete" if event.stop_reason == "stop" else "stopped")
        elif isinstance(event, Heard):
            then = self._hearing.pop(event.number, None)
            figures.state, figures.step = "thinking" if self._asking else "idle", ""
            if then is not None:
                then(event.text)
        elif isinstance(event, Failed):
            self._fail(event.number, Notice(event.message, event.hint))
        elif isinstance(event, Died):
            self._fail(self._asking, Notice(event.message, event.hint))
            self._hearing.clear()

    def load(self) -> None:
        """Have the model ready when the first question comes."""
        self.figures.state = "loading"
        self._model.load()

    # How

    @property
    def is_answering(self) -> bool:
        return self._asking is not None

    @property
    def answer(self) -> Message | None:
        """The answer that is being written."""
        return self._answer

    def file(self, attachment: Attachment) -> Path:
        """Where an attachment is kept. Raises InputError if it is gone."""
        return self.history.file(attachment)

    def _ask(self, answer: Message) -> Message:
        self._save(answer)
        self._answer = answer
        config = self._config
        self._asking = self._model.ask(
            self._turns(answer), config.max_tokens, config.temperature, config.top_p
        )
        self.figures.state, self.figures.tokens_per_s = "thinking", None
        return answer

    def _turns(self, answer: Message) -> list[Said]:
        """What comes before an answer, and at the end what there is of it already."""
        system = self.conversation.system
        turns = [Said("system", system)] if system else []
        for message in self.conversation.branch(answer.id):
            pictures = tuple(
                str(self.history.file(file)) for file in message.attachments if file.kind == "image"
            )
            if message.text or pictures:
                turns.append(Said(message.role, message.text, pictures))
        return turns

    def _finish(self, state: Literal["complete", "stopped", "failed"]) -> None:
        answer, self._answer, self._asking = self._answer, None, None
        self.figures.state, self.figures.step = "idle", ""
        if answer is not None:
            answer.state = state
            self._save(answer)

    def _fail(self, number: int | None, notice: Notice) -> None:
        self.figures.state, self.figures.step = "idle", ""
        if number is not None:
            self._hearing.pop(number, None)
        if number is not None and number == self._asking:
            self._finish("failed")
        self._tell(notice)

    def _must_be_free(self) -> None:
        if self._asking is not None:
            raise UsageError("an answer is being written", "Esc stops it")

    def _last_answer(self) -> Message:
        thread = self.conversation.thread
        if not thread or thread[-1].role != "assistant":
            raise UsageError("there is no answer yet", "ask something first")
        return thread[-1]

    def _save(self, message: Message) -> None:
        self._saved = time.monotonic()
        self._written(lambda history: history.save(self.conversation, message))

    def _keep(self, data: bytes) -> str:
        sha256 = ""

        def keep(history: History) -> None:
            nonlocal sha256
            sha256 = history.keep(data)

        self._written(keep)
        return sha256

    def _written(self, write: Callable[[History], None]) -> None:
        """Write; if that fails, say so once and go on in a temporary folder."""
        try:
            write(self.history)
        except MmtuiError as error:
            if self._temporary is not None:
                raise
            self._tell(Notice(f"{error}; this chat goes on without it", error.hint))
            broken, self.history = self.history, self._in_memory()
            for message in self.conversation:
                for file in message.attachments:
                    self.history.keep(broken.file(file).read_bytes())
                self.history.save(self.conversation, message)
            write(self.history)

    def _in_memory(self) -> History:
        self._temporary = Path(tempfile.mkdtemp(prefix="mmtui-"))
        return History(self._temporary)

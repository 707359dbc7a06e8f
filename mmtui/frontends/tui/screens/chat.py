"""The chat: a transcript, what goes with the next message, where it is typed, and a status."""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen

from mmtui import paths
from mmtui.audio.recorder import Microphone, Speaker
from mmtui.chat import attachments, clipboard
from mmtui.chat.commands import COMMANDS, parse
from mmtui.chat.conversation import Attachment, Draft, Message
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Event, Piece
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError, UsageError
from mmtui.frontends.tui.commands import Commands
from mmtui.frontends.tui.mentions import say_with_files
from mmtui.frontends.tui.posted import FromModel, Read, Told
from mmtui.frontends.tui.screens.attempts import AttemptsScreen
from mmtui.frontends.tui.screens.dialogs import TextDialog
from mmtui.frontends.tui.screens.picture import PictureScreen
from mmtui.frontends.tui.speech import Speech
from mmtui.frontends.tui.widgets.chips import Chip, Chips
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.message import MessageView
from mmtui.frontends.tui.widgets.meter import Meter
from mmtui.frontends.tui.widgets.player import Player
from mmtui.frontends.tui.widgets.status import Status
from mmtui.frontends.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip

DRAFT_EVERY_S = 0.5
RETRY_EVERY_S = 2.0  # to write what could not be written
READERS = ("attach", "paste", "keep_clip")  # workers that stage what goes with the next message


class ChatScreen(AttemptsScreen):
    """Workers post what they find; only the handlers here touch the session and the widgets."""

    CSS_PATH = "chat.tcss"
    AUTO_FOCUS = "#composer"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (20, "-narrow"), (60, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-bare"), (3, "-flat"), (8, "-low"), (16, "-high"), (25, "-tall"),
    ]  # fmt: skip
    # With priority, for the prompt has other uses for some of these keys.
    BINDINGS: ClassVar = [
        *(
            Binding(c.keys, f"command('{c.name}')", c.help, id=c.name, priority=True)
            for c in COMMANDS
            if c.keys
        ),
        Binding(
            "ctrl+p", "app.command_palette", "all commands, to search in",
            id="palette", priority=True,
        ),
        Binding("pageup", "page(-1)", "scroll up in what was said", id="page_up", priority=True),
        Binding("pagedown", "page(1)", "scroll down again", id="page_down", priority=True),
    ]  # fmt: skip

    def __init__(
        self,
        session: Session,
        microphone: Microphone,
        speaker: Speaker,
        draft: Draft,
        said: list[str],
        typed: str,
    ) -> None:
        """`said`: what the user said before; `typed`: before there was a prompt."""
        super().__init__()
        self.session, self._player = session, Player(speaker)
        self._meter, self.microphones = Meter(microphone), microphone.devices
        self._left, self._typed = draft, typed
        self._draft: Draft | None = None  # as it is stored; None while one is being put in place
        self.waiting = ""  # what is said as soon as the files that it names are read
        self._commands, self.speech = Commands(self), Speech(self)
        self._transcript, self._status = Transcript(session.file), Status()
        self.chips = Chips(session.file, removable=True)
        self.composer = Composer(said)

    def compose(self) -> ComposeResult:
        yield self._transcript
        yield self._meter
        yield self._player
        yield self.chips
        yield self.composer
        yield self._status

    async def on_mount(self) -> None:
        await self._put(self._left)
        self.composer.add_words(self._typed)
        self.set_interval(DRAFT_EVERY_S, self.keep_draft)
        self.set_interval(RETRY_EVERY_S, self.session.store.retry)
        await self.show_thread()
        gc.freeze()  # all that is here stays

    def give_back(self, typed: str) -> None:
        self.waiting = ""
        self.composer.give_back(typed)

    # What is shown

    async def show_thread(self) -> None:
        await self._transcript.show(self.session.conversation)
        self.show_status()
        self.call_after_refresh(gc.collect)  # what was shown before

    async def begin(self, draft: Draft = Draft()) -> None:  # noqa: B008
        """Another conversation."""
        await self._put(draft)
        await self.show_thread()

    async def _put(self, draft: Draft) -> None:
        self._draft = None
        self.composer.put(draft.text)
        await self.chips.clear()
        for attachment in draft.attachments:
            await self.chips.add(attachment)
        self._draft = draft

    def show_status(self) -> None:
        note = "recording" if self._meter.is_recording else ""
        self._status.show(self.session.figures, note, self.session.unsaved)

    def action_page(self, by: int) -> None:
        self._transcript.page(by)

    # Commands

    async def action_command(self, name: str) -> None:
        await self._do(name)

    async def _do(self, name: str, argument: str = "", typed: str = "") -> None:
        await self.attempt(getattr(self._commands, f"do_{name}"), argument, typed=typed)

    @on(Composer.Sent)
    async def _send(self) -> None:
        await self.attempt(self._take, self.composer.text)

    async def _take(self, text: str) -> None:
        """Do a command, or say a message. Either stays in the prompt if that can't be."""
        if parsed := parse(text):
            command, argument = parsed
            self.composer.taken()
            await self.keep_draft()  # of this conversation, before it may be another
            await self._do(command.name, argument, text if argument else "")
        elif files := paths.dropped(text):
            self.composer.taken()
            for file in files:
                self.attach(file, str(file))
        elif files := paths.mentioned(text):
            self.composer.taken()
            say_with_files(self, text.strip(), files)
        elif text.strip() or self.chips.attachments:
            paths.refuse_web_address(text)
            self.say(text.strip())
            self.composer.taken()
            await self.show_said()
        else:
            self.composer.taken()

    def say(self, text: str, named: tuple[Attachment, ...] = ()) -> None:
        """Raises UsageError while a file is still being read, or an answer written."""
        if self.session.is_listening or any(
            worker.name in READERS and not worker.is_finished for worker in self.workers
        ):
            raise UsageError("a file is still being read", "send it in a moment")
        self.session.send(text, (*self.chips.attachments, *named))
        self.waiting = ""

    async def show_said(self) -> None:
        await self.chips.clear()
        await self.session.store.written()
        await self._transcript.add(*self.session.conversation.thread[-2:])

    @on(MessageView.Edit)
    async def _edit(self, event: MessageView.Edit) -> None:
        if event.message.role == "user":
            await self.attempt(self.ask_edit, event.message)
        else:
            self.tell(Notice("answers are not edited", "F5 asks for another one"))

    def ask_edit(self, message: Message) -> None:
        self.session.must_be_free()

        async def answered(text: str | None) -> None:
            if text:
                await self.attempt(self.edit, message, text, typed=text)

        self.ask(TextDialog("Say it differently", message.text), answered)

    def ask(self, dialog: Screen[Any], then: Callable[[Any], Any]) -> None:
        """Unless another question came first: what was looked for may be found late."""
        if self.app.screen is self:
            self.app.push_screen(dialog, then)

    async def edit(self, message: Message, text: str) -> None:
        self.session.edit(message.id, text)
        await self.session.store.written()
        await self.show_thread()

    @on(MessageView.Turn)
    async def _turn(self, event: MessageView.Turn) -> None:
        await self.attempt(self.session.branch, event.message)
        await self.show_thread()

    @property
    def is_busy(self) -> bool:
        """Whether there is something to stop."""
        return self._meter.is_recording or self._player.is_playing or self.session.is_answering

    def stop(self) -> None:
        """A recording is thrown away, a sound or an answer stops; what is typed stays."""
        if self._meter.is_recording or self._player.is_playing:
            self.hush()
        elif self.session.is_answering:
            self.stop_answer()
        else:
            self.composer.focus()

    def stop_answer(self) -> None:
        answer = self.session.answer
        self.session.stop()
        if answer is not None and (view := self._transcript.view(answer)):
            self.run_worker(view.finish())

    def hush(self) -> None:
        """Neither record nor play any more."""
        self._meter.discard()
        self._player.stop()

    def copy(self, text: str) -> None:
        self.app.copy_to_clipboard(text, self.tell)  # type: ignore[call-arg]

    @on(MessageView.Copy)
    def _copy(self, event: MessageView.Copy) -> None:
        self.copy(event.message.text)

    async def keep_draft(self) -> None:
        typed = "\n".join(text for text in (self.waiting, self.composer.unsaid) if text)
        draft = Draft(typed, self.chips.attachments)
        if self._draft not in (None, draft):
            self._draft = draft
            await self.attempt(self.session.keep_draft, draft)

    # What the model says

    @on(FromModel)
    async def _from_model(self, posted: FromModel) -> None:
        await self.attempt(self._hear, posted.event)

    async def _hear(self, event: Event) -> None:
        answer = self.session.answer
        if (refused := self.session.hear(event)) is not None:
            await self._take_again(refused)
        elif view := self._transcript.view(answer):
            if answer is not self.session.answer:
                await view.finish()
                self.call_after_refresh(gc.collect, 1)  # what was left over while it was written
            elif isinstance(event, Piece):
                await view.write(event.text)

    async def _take_again(self, draft: Draft) -> None:
        """What can't be said after all is in the prompt again."""
        self.composer.give_back(draft.text)
        for attachment in draft.attachments:
            await self.chips.add(attachment)
        await self.keep_draft()
        await self.show_thread()

    # Attachments

    @on(Composer.Dropped)
    def _dropped(self, event: Composer.Dropped) -> None:
        for file in event.files:
            self.attach(file)

    @on(Chip.Removed)
    def _removed(self) -> None:
        self.composer.focus()

    @work(thread=True)
    def attach(self, path: Path, typed: str = "") -> None:
        """Stage a file; a recording is heard first. `typed` is what named it, if it was."""
        self._read(lambda: [attachments.load(path)], typed)

    @work(thread=True)
    def paste(self) -> None:
        """Stage what the clipboard holds."""
        self._read(clipboard.load)

    def _read(self, load: "Callable[[], list[attachments.Loaded]]", typed: str = "") -> None:
        try:
            for loaded in load():
                self.post_message(Read(self.session.keep(loaded), loaded.clip))
        except MmtuiError as error:
            self.post_message(Told(Notice(str(error), error.hint), typed))

    @on(Read)
    async def _stage(self, posted: Read) -> None:
        if posted.clip is not None:
            self.speech.hear(posted.clip, posted.attachment)
        else:
            await self.chips.add(posted.attachment)

    @on(Chip.Opened)
    async def _open(self, event: Chip.Opened) -> None:
        file = await self.attempt(self.session.file, event.attachment)
        if file is not None and event.attachment.kind == "image":
            figures = self.session.figures
            self.app.push_screen(
                PictureScreen(file, event.attachment, figures.picture_side, figures.picture_tokens)
            )
        elif file is not None:
            self.hush()
            self._player.play(file)

    # Speech

    def record(self) -> None:
        """Begin to record, or end it and hear what was said."""
        if self._meter.is_recording:
            self._meter.end()
        else:
            self.hush()
            self._meter.begin(self.session.microphone)

    @on(Meter.Recorded)
    def _recorded(self, posted: Meter.Recorded) -> None:
        if posted.error is not None:
            self.tell(Notice(str(posted.error), posted.error.hint))
        if len(posted.clip):
            self.speech.hear(posted.clip, None)
        self.show_status()

    @work(thread=True)
    def keep_clip(self, clip: "Clip", text: str) -> None:
        """Stage what was recorded."""
        try:
            self.post_message(Read(self.session.attach_clip(clip, text)))
        except MmtuiError as error:
            self.post_message(Told(Notice(str(error), error.hint)))

    @on(Chip.HearAgain)
    def _hear_again(self, event: Chip.HearAgain) -> None:
        self.hear_again(event.chip)

    def hear_again(self, chip: Chip) -> None:
        file = self.session.file
        self.find(
            lambda: attachments.read_clip(file(chip.attachment)), partial(self._correct, chip)
        )

    def _correct(self, chip: Chip, clip: "Clip") -> None:
        self.speech.correct(clip, chip)

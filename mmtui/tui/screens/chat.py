"""The chat: a transcript, what goes with the next message, where it is typed, and a status."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.message import Message as Posted
from textual.screen import Screen

from mmtui.audio.recorder import Microphone, Recording, play
from mmtui.chat.commands import is_meant, parse
from mmtui.chat.conversation import Attachment, Message
from mmtui.chat.protocol import Event, Piece
from mmtui.chat.session import Notice, Session
from mmtui.chat.text import one_line
from mmtui.errors import MmtuiError
from mmtui.tui import slash
from mmtui.tui.screens.dialogs import TextDialog
from mmtui.tui.screens.help import HelpScreen
from mmtui.tui.screens.history import HistoryScreen
from mmtui.tui.screens.picker import Picker
from mmtui.tui.screens.picture import PictureScreen
from mmtui.tui.widgets.chips import Chip, Chips
from mmtui.tui.widgets.composer import Composer
from mmtui.tui.widgets.message import MessageView
from mmtui.tui.widgets.meter import Meter
from mmtui.tui.widgets.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmtui.pipeline.sound import Clip

METER_HZ = 20
DRAFT_EVERY_S = 0.5
T = TypeVar("T")


class ChatScreen(Screen[None]):
    """Workers post what they find; only the handlers here touch the session and the widgets."""

    CSS_PATH = "chat.tcss"
    AUTO_FOCUS = "#composer"
    BINDINGS: ClassVar = [
        Binding("f1", "help", "Help", id="help"),
        Binding("f2,ctrl+o", "pick", "Attach a picture", id="pick"),
        Binding("f3", "history", "Earlier chats", id="history"),
        Binding("f4,ctrl+t", "record", "Speak", id="record"),
        Binding("f5,ctrl+r", "retry", "Another answer", id="retry"),
        Binding("f6", "edit", "Edit the question", id="edit", priority=True),
        Binding("f7", "continue", "Let it go on", id="continue", priority=True),
        Binding("f8", "copy", "Copy the answer", id="copy"),
        Binding("f9", "system", "System prompt", id="system"),
        Binding("ctrl+n", "new", "New chat", id="new"),
        Binding("escape", "stop", "Stop", id="stop", priority=True),
    ]

    class FromModel(Posted):
        """The model's process says something."""

        def __init__(self, event: Event) -> None:
            super().__init__()
            self.event = event

    class Attached(Posted):
        """A file was read and kept."""

        def __init__(self, attachment: Attachment, clip: "Clip | None") -> None:
            super().__init__()
            self.attachment, self.clip = attachment, clip

    class Told(Posted):
        """Something to tell, from another thread."""

        def __init__(self, notice: Notice) -> None:
            super().__init__()
            self.notice = notice

    def __init__(self, session: Session, microphone: Microphone, draft: str = "") -> None:
        super().__init__()
        self.session, self._microphone = session, microphone
        self._draft = draft
        self._recording: Recording | None = None

    def compose(self) -> ComposeResult:
        yield VerticalScroll(id="transcript", can_focus=False)
        yield Meter()
        yield Chips(self.session.file, removable=True)
        yield Composer()
        yield Status()

    async def on_mount(self) -> None:
        self.query_one(Composer).put(self._draft)
        self.set_interval(1 / METER_HZ, self._meter)
        self.set_interval(DRAFT_EVERY_S, self._keep_draft)
        await self.show_thread()

    # The transcript

    async def show_thread(self) -> None:
        """The branch that is read; at its end."""
        await self._transcript.remove_children()
        await self._show(*self.session.conversation.thread)

    async def _show(self, *messages: Message) -> None:
        await self._transcript.mount_all(MessageView(m, self.session.file) for m in messages)
        self._transcript.anchor()
        self.show_status()

    @property
    def _transcript(self) -> VerticalScroll:
        return self.query_one("#transcript", VerticalScroll)

    def _view(self, message: Message | None) -> MessageView | None:
        return next((view for view in self.query(MessageView) if view.message is message), None)

    def show_status(self) -> None:
        note = "recording" if self._recording is not None else ""
        self.query_one(Status).show(self.session.figures, note)

    # What the model says

    @on(FromModel)
    async def _from_model(self, posted: FromModel) -> None:
        session, answer = self.session, self.session.answer
        session.hear(posted.event)
        if view := self._view(answer):
            if answer is not session.answer:
                await view.finish()
            elif isinstance(posted.event, Piece):
                await view.write(posted.event.text)
        self.show_status()

    @on(Told)
    def _told(self, posted: Told) -> None:
        self.tell(posted.notice)

    def tell(self, notice: Notice) -> None:
        text = one_line(notice.text) + (f"\n{one_line(notice.hint)}" if notice.hint else "")
        severity = "error" if notice.is_error else "information"
        self.notify(text, severity=severity, markup=False, timeout=8)  # type: ignore[arg-type]

    def tried(self, act: "Callable[[], T]") -> T | None:
        """What an act returns; None if it can't be done, which is told."""
        try:
            return act()
        except MmtuiError as error:
            self.tell(Notice(str(error), error.hint))
            return None

    # Messages

    @on(Composer.Sent)
    async def _send(self, event: Composer.Sent) -> None:
        composer, chips = self.query_one(Composer), self.query_one(Chips)
        if parsed := parse(event.text):
            composer.sent()
            await slash.run(self, *parsed)
        elif is_meant(event.text):
            name = event.text.split(maxsplit=1)[0]
            self.tell(Notice(f"there is no command {name}", "F1 tells what there is"))
        elif event.text or chips.attachments:
            files = chips.attachments
            if self.tried(lambda: self.session.send(event.text, files)) is not None:
                composer.sent()
                await chips.clear()
                await self._show(*self.session.conversation.thread[-2:])

    async def action_retry(self) -> None:
        if self.tried(self.session.regenerate) is not None:
            await self.show_thread()

    def action_continue(self) -> None:
        self.tried(self.session.continue_)
        self.show_status()

    def action_edit(self) -> None:
        if (question := self.session.conversation.question) is not None:
            self._ask_edit(question)

    @on(MessageView.Edit)
    def _edit(self, event: MessageView.Edit) -> None:
        if event.message.role == "user":
            self._ask_edit(event.message)
        else:
            self.tell(Notice("answers are not edited", "F5 asks for another one"))

    @work
    async def _ask_edit(self, message: Message) -> None:
        text = await self.app.push_screen_wait(TextDialog("Say it differently", message.text))
        if text:
            await self.edit(message, text)

    async def edit(self, message: Message, text: str) -> None:
        if self.tried(lambda: self.session.edit(message.id, text)) is not None:
            await self.show_thread()

    def action_stop(self) -> None:
        """Esc: a recording is thrown away, an answer stops; what is typed stays."""
        answer = self.session.answer
        if self._recording is not None:
            self._recording.finish()
            self._recording = None
        elif answer is not None:
            self.session.stop()
            if view := self._view(answer):
                self.run_worker(view.finish())
        else:
            self.query_one(Composer).focus()
        self._meter()
        self.show_status()

    # Conversations

    async def action_new(self) -> None:
        self.session.begin()
        self.query_one(Composer).put("")
        await self.query_one(Chips).clear()
        await self.show_thread()

    def action_history(self) -> None:
        self.ask_history("")

    @work
    async def ask_history(self, words: str) -> None:
        chosen = await self.app.push_screen_wait(HistoryScreen(self.session.history, words))
        if chosen is not None:
            await self.resume(chosen)

    async def resume(self, id: str) -> None:
        draft = self.tried(lambda: self.session.resume(id))
        if draft is not None:
            self.query_one(Composer).put(draft)
            await self.show_thread()

    @work
    async def action_system(self) -> None:
        system = self.session.conversation.system
        text = await self.app.push_screen_wait(TextDialog("System prompt", system))
        if text is not None:
            self.session.instruct(text)

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen(self))

    def action_copy(self) -> None:
        self.copy("")

    def copy(self, what: str) -> None:
        text = self.tried(lambda: self.session.to_copy(what))
        if text is not None:
            self.app.copy_to_clipboard(text)
            self.tell(Notice("copied", is_error=False))

    @on(MessageView.Copy)
    def _copy(self, event: MessageView.Copy) -> None:
        self.app.copy_to_clipboard(event.message.text)
        self.tell(Notice("copied", is_error=False))

    @on(MessageView.Link)
    def _follow(self, event: MessageView.Link) -> None:
        """Only on a click, and only to the web."""
        if event.url.startswith(("http://", "https://")):
            self.app.open_url(event.url)
        else:
            self.tell(Notice(f"{event.url} is not opened", "only http and https are"))

    def _keep_draft(self) -> None:
        draft = self.query_one(Composer).text
        if draft != self._draft:
            self._draft = draft
            self.tried(lambda: self.session.keep_draft(draft))

    # Attachments

    @on(Composer.Dropped)
    def _dropped(self, event: Composer.Dropped) -> None:
        for file in event.files:
            self.attach(file)

    @on(Chip.Removed)
    def _removed(self) -> None:
        self.query_one(Composer).focus()

    async def drop(self) -> None:
        await self.query_one(Chips).clear()

    @work
    async def action_pick(self) -> None:
        path = await self.app.push_screen_wait(Picker())
        if path is not None:
            self.attach(path)

    @work(thread=True)
    def attach(self, path: Path) -> None:
        """Stage a file; a recording is heard first."""
        from mmtui.chat import attachments

        try:
            attachment = self.session.attach(path)
            kept = self.session.file(attachment)
            clip = attachments.read_clip(kept) if attachment.kind == "audio" else None
            self.post_message(self.Attached(attachment, clip))
        except MmtuiError as error:
            self.post_message(self.Told(Notice(str(error), error.hint)))

    @on(Attached)
    async def _attached(self, posted: Attached) -> None:
        if posted.clip is not None:
            self._listen(posted.clip, posted.attachment)
        else:
            await self.query_one(Chips).add(posted.attachment)

    @on(Chip.Opened)
    def _open(self, event: Chip.Opened) -> None:
        file = self.tried(lambda: self.session.file(event.attachment))
        if file is not None and event.attachment.kind == "image":
            figures = self.session.figures
            self.app.push_screen(
                PictureScreen(file, event.attachment, figures.picture_side, figures.picture_tokens)
            )
        elif file is not None:
            self._play(file)

    @work(thread=True)
    def _play(self, file: Path) -> None:
        from mmtui.chat import attachments

        try:
            play(attachments.wav(attachments.read_clip(file)))
        except MmtuiError as error:
            self.post_message(self.Told(Notice(str(error), error.hint)))

    # Speech

    def action_record(self) -> None:
        """Begin to record, or end it and hear what was said."""
        if self._recording is None:
            self._recording = self._microphone.record(self.session.microphone)
            self.show_status()
        else:
            self._end_recording()

    def _meter(self) -> None:
        recording = self._recording
        if recording is not None and (recording.is_full or recording.error is not None):
            self._end_recording()
        self.query_one(Meter).show(self._recording)

    def _end_recording(self) -> None:
        recording, self._recording = self._recording, None
        assert recording is not None
        clip = recording.finish()
        if recording.error is not None:
            self.tell(Notice(str(recording.error), recording.error.hint))
        if len(clip):
            self._listen(clip, None)
        self.query_one(Meter).show(None)
        self.show_status()

    def _listen(self, clip: "Clip", attachment: Attachment | None) -> None:
        """The transcript lands where it can be edited; nothing is sent."""

        def heard(text: str) -> None:
            if not text:
                hint = "it may be too quiet, or hold more noise than voice"
                self.tell(Notice("no speech found", hint))
                return
            kept = attachment or self.session.attach_clip(clip, text)
            self.call_later(self.query_one(Chips).add, kept.with_transcript(text))
            self.query_one(Composer).insert_spoken(text)

        self.tried(lambda: self.session.transcribe(clip, heard))
        self.show_status()

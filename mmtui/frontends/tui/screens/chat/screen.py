"""The chat screen: transcript, attachments of the next message, prompt and status bar."""

import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.worker import Worker

from mmtui import paths
from mmtui.audio.player import Speaker
from mmtui.audio.recorder import Microphone
from mmtui.chat.commands import COMMANDS, parse
from mmtui.chat.conversation import Draft
from mmtui.chat.protocol import Event, FileReceived, Piece
from mmtui.chat.session import Session
from mmtui.frontends.tui.messages import ModelEventReceived
from mmtui.frontends.tui.screens.chat.commands import Commands
from mmtui.frontends.tui.screens.chat.frame import Frame
from mmtui.frontends.tui.screens.chat.mentions import Mentions
from mmtui.frontends.tui.screens.chat.open_draft import OpenDraft
from mmtui.frontends.tui.screens.chat.opening import OpeningScreen
from mmtui.frontends.tui.screens.chat.sending import Sending
from mmtui.frontends.tui.screens.chat.speech import Speech
from mmtui.frontends.tui.screens.chat.staging import Staging
from mmtui.frontends.tui.screens.chat.talking import Talking
from mmtui.frontends.tui.screens.chat.view import View
from mmtui.frontends.tui.widgets.chips import Chip, Chips
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.file_list import FileList
from mmtui.frontends.tui.widgets.find_bar import FindBar
from mmtui.frontends.tui.widgets.level_meter import LevelMeter
from mmtui.frontends.tui.widgets.message_queue import MessageQueue, QueuedMessage
from mmtui.frontends.tui.widgets.message_view import MessageView
from mmtui.frontends.tui.widgets.player import Player
from mmtui.frontends.tui.widgets.status_bar import StatusBar
from mmtui.frontends.tui.widgets.transcript import Transcript
from mmtui.pipeline.speech.synthesis import Synthesizer

SAVE_DRAFT_EVERY_S = 0.5
RETRY_SAVE_EVERY_S = 2.0  # to write what could not be written


class ChatScreen(OpeningScreen):
    """Handlers on this screen are the only code that changes the session and the widgets.

    Workers post messages with what they found.
    """

    CSS_PATH = "chat.tcss"
    AUTO_FOCUS = "#composer"
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (20, "-narrow"), (60, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-bare"), (3, "-flat"), (8, "-low"), (16, "-high"), (25, "-tall"),
    ]  # fmt: skip
    # Bindings have priority because the prompt uses some of these keys otherwise.
    BINDINGS: ClassVar = [
        *(
            Binding(c.keys, f"command('{c.name}')", c.help, id=c.name, priority=True)
            for c in COMMANDS
            if c.keys
        ),
        Binding("ctrl+p", "app.command_palette", "search commands", id="palette", priority=True),
        Binding("pageup", "scroll_page(-1)", "scroll up", id="page_up", priority=True),
        Binding("pagedown", "scroll_page(1)", "scroll down", id="page_down", priority=True),
    ]

    def __init__(
        self,
        session: Session,
        microphone: Microphone,
        speaker: Speaker,
        synthesizer: Synthesizer,
        draft: Draft,
        sent: list[str],
        typed: str,
    ) -> None:
        """Create the screen.

        Args:
            session: The chat in progress.
            microphone: Records speech.
            speaker: Plays sound.
            synthesizer: Reads answers aloud.
            draft: The message to start with.
            sent: Earlier messages of the user, the oldest first.
            typed: What was typed before there was a prompt.
        """
        super().__init__()
        self.session = session
        self.player = Player(speaker, synthesizer, lambda: session.config, session.file)
        self._meter = LevelMeter(microphone)
        self.microphones, self.speakers = microphone.list_devices, speaker.list_devices
        self._initial_draft, self._typed = draft, typed
        self._saved_draft: Draft | None = None  # None while a draft is being loaded
        self._transcript, self._status = Transcript(session.file), StatusBar()
        self._queue = MessageQueue(session.file)
        self.find_bar = FindBar(self._transcript, lambda: session.conversation)
        self._files = FileList()
        self.chips = Chips(session.file, removable=True)
        self.composer = Composer(sent, self._files, self.chips.restore)
        self._open_draft = OpenDraft()
        parts = self, session, self._open_draft
        self.speech = Speech(self, session, self.composer, self.chips)
        self._staging = Staging(*parts, self.speech, self.chips)
        self.sending = Sending(
            self, session, self._staging, self.composer, self.chips, self._queue, self._transcript
        )
        self._mentions = Mentions(*parts, self._staging, self.speech, self.sending.send)
        self.talking = Talking(
            self, session, microphone, self.player, self.speech, self.sending.send
        )
        self.view = View(self, session, self.composer, partial(self.action_command, "resume"))
        widgets = self.composer, self._queue, self._meter
        self._frame = Frame(self, session, self.view, self.talking, *widgets)
        self._commands = Commands(self, session)

    def compose(self) -> ComposeResult:
        yield from self._frame.compose_top()
        yield self._transcript
        yield self._queue
        yield self._meter
        yield self.talking.line
        yield self.player
        yield self.chips
        yield from (self._files, self.composer, self.find_bar)
        yield self._status
        yield from self._frame.compose_bottom()

    async def on_mount(self) -> None:
        self.view.update()
        await self._load_draft(self._initial_draft)
        self.composer.insert_words(self._typed)
        self.set_interval(SAVE_DRAFT_EVERY_S, self.save_draft)
        self.set_interval(RETRY_SAVE_EVERY_S, self.session.store.retry)
        await self.show_thread()
        gc.freeze()  # everything created so far stays

    def restore_text(self, text: str) -> None:
        self.sending.pending = ""
        self.composer.restore(text)

    # Display

    async def show_thread(self) -> None:
        """Show the current branch of the conversation."""
        await self._transcript.show(self.session.conversation)
        self.find_bar.search()
        self.show_status()
        self.call_after_refresh(gc.collect)  # the widgets that were removed

    async def show_conversation(self, draft: Draft = Draft()) -> None:  # noqa: B008
        """Show the session's conversation, after it was replaced by another one."""
        await self._load_draft(draft)
        await self.show_thread()

    async def _load_draft(self, draft: Draft) -> None:
        self._saved_draft = None
        self._open_draft.replace()
        self._staging.cancel()
        self.sending.pending = ""
        self.composer.replace_all(draft.text)
        await self.sending.clear_queue()
        await self.chips.clear()
        await self.chips.add(*draft.attachments)
        self._saved_draft = draft

    @on(Composer.Changed)
    def show_status(self) -> None:
        note = "recording" if self._meter.is_recording else self._staging.step or self.activity
        note = note or self.talking.state or self.player.state
        self._status.show(self.session.status, note, self.session.unsaved_reason)
        self._frame.show()

    def on_resize(self) -> None:
        self.view.update()
        self.view.follow()

    def action_scroll_page(self, direction: int) -> None:
        self._transcript.scroll_page(direction)

    def push_dialog(self, dialog: Screen[Any], callback: Callable[[Any], Any]) -> None:
        """Open a dialog, unless another one was opened while this one was prepared."""
        if self.app.screen is self:
            self.app.push_screen(dialog, callback)

    # Commands and messages

    async def action_command(self, name: str, argument: str = "", typed: str = "") -> None:
        """Run a command by its name; `typed` goes back to the prompt if it fails."""
        await self.attempt(getattr(self._commands, f"do_{name}"), argument, typed=typed)

    @on(Composer.Sent)
    async def _submit_prompt(self) -> None:
        await self.attempt(self._submit, self.composer.text)

    async def _submit(self, text: str) -> None:
        """Run a command, attach files or send a message; on an error the text stays."""
        if parsed := parse(text):
            command, argument = parsed
            self.composer.accept_sent()
            await self.save_draft()  # the command may open another conversation
            await self.action_command(command.name, argument, text if argument else "")
        elif files := paths.find_dropped(text):
            self.composer.accept_sent()
            for file in files:
                self.attach(file, str(file))
        elif files := paths.find_mentioned(text):
            self.composer.accept_sent()
            self.sending.pending = text.strip()
            self._mentions.send(self.sending.pending, files)
        elif text.strip() or self.chips.attachments:
            paths.refuse_web_address(text)
            self._staging.require_ready()
            self.composer.accept_sent()
            await self.sending.send(text.strip())
            await self.save_draft()
        else:
            self.composer.accept_sent()
            if self._queue.is_held:
                await self.sending.send_queue()

    @on(QueuedMessage.SendRequested)
    async def _send_queue(self) -> None:
        await self.attempt(self.sending.send_queue)

    @on(QueuedMessage.TakenBack)
    async def _take_back(self, event: QueuedMessage.TakenBack) -> None:
        await self.attempt(self.sending.take_back, event.queued)

    @on(FileList.Chosen)
    def _mention_file(self, event: FileList.Chosen) -> None:
        self.composer.insert_mention(event.path)

    @on(MessageView.Edit)
    async def _edit_message(self, event: MessageView.Edit) -> None:
        await self.attempt(self._commands.open_editor, event.message)

    @on(MessageView.NextVersion)
    async def _show_next_version(self, event: MessageView.NextVersion) -> None:
        await self.attempt(self.session.show_next_version, event.message)
        await self.show_thread()

    @on(MessageView.Copy)
    def _copy_message(self, event: MessageView.Copy) -> None:
        self.copy(event.message.text)

    def copy(self, text: str) -> None:
        """Copy a text to the clipboard."""
        self.app.copy_to_clipboard(text, self.show_notice)  # type: ignore[call-arg]

    async def save_draft(self) -> None:
        """Save what is typed and attached, if it changed."""
        draft = self.sending.unsent
        if self._saved_draft not in (None, draft):
            self._saved_draft = draft
            await self.attempt(self.session.save_draft, draft)

    # Stopping

    @property
    def is_busy(self) -> bool:
        """Whether there is something to stop."""
        is_working = self._staging.is_reading or self.session.is_answering or self.talking.is_on
        return is_working or self.is_sounding

    @property
    def is_sounding(self) -> bool:
        """Whether something is recorded, played or read aloud."""
        return self._meter.is_recording or self.player.is_playing

    def stop(self) -> None:
        """Stop what is going on: a search, the reading of a file, a recording, sound or an answer.

        An answer that is read aloud while it is written ends as a whole. A talk ends if nothing
        else is going on.
        """
        if self.view.leave_sidebar():
            return
        for overlay in (self._files, self.find_bar):
            if overlay.display:
                overlay.close()
                self.composer.focus()
                return
        if self._staging.is_reading:
            self._staging.cancel()
            return
        has_audio, reading = self.is_sounding, self.player.reading
        self.stop_audio()
        if self.session.is_answering and (not has_audio or reading is self.session.reply):
            self.stop_answer()
        elif not has_audio and self.talking.is_on:
            self.talking.stop()
        elif not has_audio:
            self.composer.focus()

    def stop_answer(self) -> None:
        """Stop the answer; what is written of it stays, and the queue waits for the user."""
        answer = self.session.reply
        self.session.stop()
        self.player.follow(None)
        self.sending.hold()
        if answer is not None and (view := self._transcript.find_view(answer)):
            self.run_worker(view.finish())

    def show_continued(self) -> None:
        """Show that an answer that was stopped is being written again."""
        if view := self._transcript.find_view(self.session.reply):
            view.resume()

    def stop_audio(self) -> None:
        """Discard the recording and stop the playback."""
        self._meter.discard()
        self.player.stop()

    # Events of the model

    @on(ModelEventReceived)
    async def _receive_model_event(self, message: ModelEventReceived) -> None:
        answer = self.session.reply
        await self.attempt(self._apply_model_event, message.event)
        self.player.follow(self.session.reply)
        if answer is not None and self.session.reply is None:
            await self.attempt(self.sending.continue_after, answer)

    @on(Player.ReadingChanged)
    def _mark_reading(self, event: Player.ReadingChanged) -> None:
        self._transcript.mark(event.before, "")
        self._transcript.mark(event.message, self.player.state)
        self.show_status()

    async def _apply_model_event(self, event: Event) -> None:
        answer = self.session.reply
        if (refused := self.session.handle_event(event)) is not None:
            await self.sending.restore(refused)
            await self.save_draft()
            await self.show_thread()
        elif view := self._transcript.find_view(answer):
            if answer is not self.session.reply:
                await view.finish()
                self.call_after_refresh(gc.collect, 1)  # garbage of the streaming
            elif isinstance(event, Piece):
                await view.show_piece(event)
            elif isinstance(event, FileReceived):
                await view.show_attachments()

    # Attachments

    @on(Composer.Dropped)
    def _attach_dropped(self, event: Composer.Dropped) -> None:
        for file in event.files:
            self.attach(file)

    @on(Chip.Removed)
    def _focus_prompt(self) -> None:
        self.composer.focus()

    @on(Chips.Changed)
    def _prepare_attachments(self) -> None:
        self.session.prepare_attachments(self.chips.attachments)

    def attach(
        self, path: Path, typed: str = "", *, pages_as_pictures: bool = False
    ) -> Worker[None]:
        """Attach a file to the next message; see `Staging.attach`."""
        return self._staging.attach(path, typed, pages_as_pictures=pages_as_pictures)

    def paste(self) -> None:
        """Attach the pictures or files in the clipboard."""
        self._staging.paste()

    # Recordings

    def record(self) -> None:
        """Start recording; when a recording is going on, finish and transcribe it."""
        self.talking.stop()
        if self._meter.is_recording:
            self._meter.stop_recording()
        else:
            self.stop_audio()
            self._meter.start_recording(self.session.microphone)
            self.session.load_speech()

    @on(LevelMeter.Recorded)
    def _transcribe_recorded(self, event: LevelMeter.Recorded) -> None:
        self.speech.receive_recording(event.clip, event.error)

    @on(Chip.TranscribeAgain)
    def _transcribe_chip(self, event: Chip.TranscribeAgain) -> None:
        self.speech.transcribe_again(event.chip)

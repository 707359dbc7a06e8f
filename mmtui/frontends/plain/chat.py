"""What can be done in a plain chat: attach files, transcribe, send messages, print replies."""

import asyncio
import queue
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui import paths
from mmtui.audio.player import Speaker
from mmtui.chat import attachments, documents
from mmtui.chat.conversation import Attachment, Draft, Message
from mmtui.chat.details import describe
from mmtui.chat.documents import Reading
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Died, Event, Failed, Piece, Progress
from mmtui.chat.read_aloud import ReadAloud
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError, NoSpeechError
from mmtui.frontends.plain.console import catch_interrupts, print_note, print_notice
from mmtui.frontends.stdin import LineReader
from mmtui.pipeline.documents.conversion import ConversionCancelledError
from mmtui.pipeline.speech.languages import get_name
from mmtui.pipeline.speech.synthesis import Synthesizer
from mmtui.text import one_line, printable

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

POLL_S = 0.1  # how often Ctrl+C and the limit of a recording are checked


class PlainChat:
    """A chat whose replies are printed.

    Attributes:
        session: The chat in progress.
        staged: The attachments of the next message.
        stdin: The lines of the user.
    """

    def __init__(
        self,
        session: Session,
        events: "queue.Queue[Event]",
        speaker: Speaker,
        synthesizer: Synthesizer,
    ) -> None:
        """Create the chat.

        Args:
            session: The chat in progress.
            events: Receives the events of the model.
            speaker: Plays answers that are read aloud.
            synthesizer: Makes speech of them.
        """
        self.session = session
        self.aloud = ReadAloud(
            speaker, synthesizer, lambda: session.config, self._end_reading, session.file
        )
        self.stdin = LineReader()
        self._reading_error: MmtuiError | None = None
        self.staged: list[Attachment] = []
        self._events = events
        self._step = ""
        self._shows_progress = False

    # Attachments

    def attach(self, path: Path, *, pages_as_pictures: bool = False) -> None:
        """Attach a file to the next message; Ctrl+C stops reading it.

        Args:
            path: The file; pages of a PDF follow its name, as in "report.pdf#3-7".
            pages_as_pictures: Attach pages of a PDF as pictures, not their text.

        Raises:
            InputError: The file is of another kind, or can't be read.
        """
        with catch_interrupts() as is_interrupted:
            reading = Reading(self._print_progress, is_interrupted)
            try:
                if pages_as_pictures:
                    files = attachments.load_pages(path, reading)
                else:
                    files = [attachments.load(path, reading)]
            except ConversionCancelledError:
                self._end_progress()
                print_note(f"not attached: {path.name}")
                return
            finally:
                self._end_progress()
        for file in files:
            self.attach_loaded(file)

    def attach_loaded(self, loaded: attachments.LoadedFile) -> None:
        """Attach a file that was read to the next message; transcribe it if it is a recording."""
        attachment = self.session.store_attachment(loaded)
        if loaded.clip is not None and not self.session.config.sends_recordings:
            attachment = attachment.with_transcript(self.transcribe(loaded.clip) or "")
        self.stage(attachment)

    def stage(self, attachment: Attachment) -> None:
        """Add a stored attachment to the next message."""
        self.staged.append(attachment)
        self.session.prepare_attachments(tuple(self.staged))
        print_note(f"attached: {attachment.name}, {attachment.detail}")

    def unstage_all(self) -> None:
        """Remove all attachments of the next message, also from the stored draft."""
        self.staged.clear()
        self.session.prepare_attachments(())
        self.session.save_draft(Draft())

    def load_draft(self, draft: Draft) -> None:
        """Attach the files of a draft, and print its text, since a prompt can't be prefilled."""
        self.staged.clear()
        for attachment in draft.attachments:
            self.stage(attachment)
        if draft.text:
            print_note(f"not sent yet: {draft.text}")

    @property
    def transcripts(self) -> list[str]:
        """The transcripts of the staged recordings, which are sent as part of the message."""
        return attachments.list_transcripts(self.staged)

    @property
    def has_message(self) -> bool:
        """Whether the staged recordings are a message without any text."""
        has_recording = any(file.kind == "audio" for file in self.staged)
        return bool(self.transcripts) or (self.session.config.sends_recordings and has_recording)

    # Messages

    def send(self, text: str) -> None:
        """Send a message with the staged attachments and the files it mentions; print the reply."""
        paths.refuse_web_address(text)
        for file in paths.find_mentioned(text):
            self.attach(file)
        lines = [*self.transcripts, text] if text else self.transcripts
        text = "\n".join(lines)
        self.session.send(text, self._fit_documents(text))
        asyncio.run(self.session.store.wait_until_written())
        self.unstage_all()
        self.print_reply()

    def _fit_documents(self, text: str) -> tuple[Attachment, ...]:
        """Return the staged attachments, with the parts of long documents that match a message."""
        staged = tuple(self.staged)
        if not documents.has_documents(staged):
            return staged
        session = self.session
        if session.status.state == "off":  # its context is not known yet
            session.load()
        while session.status.state == "loading":
            self.handle_event(POLL_S)
        pictures = sum(file.kind == "image" for file in staged)
        room = documents.find_room(
            session.status, session.conversation.system, text, pictures, session.config.max_tokens
        )
        fitted = documents.fit_attachments(staged, session.file, text, room, "match")
        for note in fitted.notes:
            print_note(note)
        return fitted.attachments

    def print_reply(self) -> None:
        """Print the reply while it is generated. Ctrl+C stops it; the text so far is kept."""
        reply = self.session.reply
        assert reply is not None
        printed = len(reply.text)
        files_before, tools_before = len(reply.attachments), len(reply.tools)
        self._step = ""
        with catch_interrupts() as is_interrupted:
            while self.session.is_answering:
                if is_interrupted():
                    self.session.stop()
                self.handle_event(POLL_S)
                self.aloud.follow(self.session.reply)
                if self.aloud.is_active and self._is_enter_pressed():
                    self.aloud.stop()
                print(printable(reply.text[printed:]), end="", flush=True)
                printed = len(reply.text)
            print(flush=True)
            self._print_tools(reply.tools[tools_before:])
            for file in reply.attachments[files_before:]:
                print_note(_describe_file(file))
            self._print_details(reply)
            self._wait_until_read(is_interrupted)
        if reply.state == "stopped":
            print_note("stopped; /continue resumes the answer")

    def read_aloud(self, message: Message) -> None:
        """Read a message aloud until that is done, or until Ctrl+C or Enter is pressed.

        Raises:
            UsageError: There is no such voice as in the settings.
        """
        with catch_interrupts() as is_interrupted:
            self.aloud.read(message)
            self._wait_until_read(is_interrupted)

    def play(self, sound: Attachment) -> None:
        """Play a sound to its end, or until Ctrl+C or Enter is pressed.

        Raises:
            InputError: The file is gone.
        """
        with catch_interrupts() as is_interrupted:
            self.aloud.play(self.session.file(sound))
            self._wait_until_read(is_interrupted)

    def _wait_until_read(self, is_interrupted: Callable[[], bool]) -> None:
        """Wait for the end of what is read or played; Ctrl+C and Enter stop it."""
        while self.aloud.is_active and not is_interrupted() and not self._is_enter_pressed():
            self.handle_event(POLL_S)
        self.aloud.stop()
        error, self._reading_error = self._reading_error, None
        if error is not None:
            print_notice(Notice(str(error), error.hint))

    def _is_enter_pressed(self) -> bool:
        """Return whether a line was typed in a terminal; one with text is the next message.

        Lines of a pipe wait for the end of what is read.
        """
        if not (sys.stdin.isatty() and self.stdin.has_line):
            return False
        line = self.stdin.read()
        if line is not None and line != "\n":  # "" is the end of stdin
            self.stdin.unread(line)
        return True

    def _print_progress(self, step: str, done: int, total: int) -> None:
        """Print how much of a document is read; a terminal shows that on one line."""
        if total > 1 and sys.stderr.isatty():
            text = f"\r{one_line(step)} {done} of {total} pages "
            print(text, end="", file=sys.stderr, flush=True)
            self._shows_progress = True

    def _end_progress(self) -> None:
        """End the line of the progress, if there is one."""
        if self._shows_progress:
            print(file=sys.stderr)
            self._shows_progress = False

    def _end_reading(self, error: MmtuiError | None) -> None:
        """Keep the error for `_wait_until_read`; called in a thread."""
        self._reading_error = error

    def print_thread(self) -> None:
        """Print all messages of the current branch."""
        for message in self.session.conversation.thread:
            self._print_details(message)
            for file in message.attachments:
                print_note(f"[{file.name}, {file.detail}]")
            if message.role == "user":
                print_note(f"> {printable(message.text)}")
            else:
                self._print_tools(message.tools)
                print(printable(message.text), flush=True)

    def _print_details(self, message: Message) -> None:
        if self.session.config.details:
            print_note(describe(message))

    def _print_tools(self, tools: str) -> None:
        for line in tools.splitlines():
            print_note(f"tool: {line}")

    # The model

    def transcribe(self, clip: "Clip") -> str | None:
        """Transcribe a recording and print the transcript.

        Returns:
            The transcript; None if the model failed, which has been printed then.

        Raises:
            NoSpeechError: There is no speech in the recording.
        """
        transcripts: list[str | None] = []
        self.session.transcribe(clip, transcripts.append)
        while not transcripts:
            self.handle_event(POLL_S)
        (transcript,) = transcripts
        if transcript == "":
            raise NoSpeechError
        if transcript is not None:
            language = self.session.status.spoken_language
            spoken = "" if language in (None, "en") else f" ({get_name(language)})"
            print_note(f"transcript{spoken}: {transcript}")
        return transcript

    def handle_event(self, timeout_s: float, *, prints_steps: bool = True) -> bool:
        """Wait for an event of the model and pass it to the session.

        Args:
            timeout_s: How long to wait.
            prints_steps: Whether the start of a long step is printed.

        Returns:
            Whether there was an event before the timeout.
        """
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return False
        if isinstance(event, Failed | Died) and event.traceback:
            print(printable(event.traceback), file=sys.stderr, flush=True)
        if (refused := self.session.handle_event(event)) is not None:
            self.load_draft(refused)
        step = _get_step(event)
        if step and step != self._step:
            self._step = step
            if prints_steps:
                print_note(f"{step} ...")
        return True

    def handle_pending_events(self) -> None:
        """Pass all events so far to the session. Print the step in progress, if there is one."""
        while self.handle_event(0, prints_steps=False):
            pass
        if step := self.session.status.step:
            print_note(f"{step} ...")


def _describe_file(file: Attachment) -> str:
    """Return a note about a picture or a sound of an answer."""
    hint = "/save copies it to a folder"
    if file.kind == "audio":
        hint += ", /play plays it"
    return f"received: {file.name}, {file.detail}; {hint}"


def _get_step(event: Event) -> str:
    """Return the name of the long step that an event reports; "" if it reports none."""
    if isinstance(event, Piece) and event.is_thinking:
        return "thinking"
    return event.step if isinstance(event, Progress) else ""

"""Attach files to the next message, and send it once its documents are fitted to the context."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from textual.worker import Worker

from mmtui.chat import attachments, clipboard, documents
from mmtui.chat.attachments import LoadedFile
from mmtui.chat.conversation import Attachment
from mmtui.chat.documents import Fitted, Reading
from mmtui.chat.notice import Notice
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError, TooLongError, UsageError
from mmtui.frontends.tui.screens.base import BaseScreen
from mmtui.frontends.tui.screens.chat.open_draft import OpenDraft
from mmtui.frontends.tui.screens.chat.speech import STAGING, Speech
from mmtui.frontends.tui.screens.dialogs import ChoiceDialog, TextDialog
from mmtui.frontends.tui.widgets.chips import Chips
from mmtui.pipeline.documents.conversion import ConversionCancelledError
from mmtui.pipeline.documents.fitting import Fit

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

POLL_S = 0.1  # while the model is loaded, whose context is not known before

MATCH, BEGINNING, PAGES = "matching parts", "beginning", "pages"
_TITLE = "Too long for the model's context. Use:"
_CHOICES = (
    (MATCH, "the parts that have the words of your question"),
    (BEGINNING, "as much as fits, from the start"),
    (PAGES, "choose them, as in 3-7"),
)

# Sends a message with its attachments, and returns true.
Send = Callable[[str, tuple[Attachment, ...]], Awaitable[bool]]


class Staging:
    """Reads the files of the next message, and fits its documents to the context.

    Attributes:
        step: What is being read, with its progress; "" if nothing reports any.
    """

    def __init__(
        self,
        screen: BaseScreen,
        session: Session,
        draft: OpenDraft,
        speech: Speech,
        chips: Chips,
    ) -> None:
        self._screen, self._session, self._draft = screen, session, draft
        self._speech, self._chips = speech, chips
        self._readings: list[threading.Event] = []  # each is set to cancel its reading
        self.step = ""

    # Reading

    def attach(self, path: Path, typed: str, *, pages_as_pictures: bool) -> Worker[None]:
        """Attach a file to the next message; a recording is transcribed first.

        Args:
            path: The file; pages of a PDF follow its name, as in "report.pdf#3-7".
            typed: Text to put back into the prompt if the file can't be read.
            pages_as_pictures: Attach pages of a PDF as pictures, not their text.
        """

        def load() -> list[LoadedFile]:
            try:
                return self.read([path], pages_as_pictures=pages_as_pictures)
            except ConversionCancelledError:
                return []

        return self._load_and_stage(load, path.name, typed)

    def paste(self) -> None:
        """Attach the pictures or files in the clipboard."""
        self._load_and_stage(clipboard.load, "the clipboard")

    def read(self, paths: Sequence[Path], *, pages_as_pictures: bool = False) -> list[LoadedFile]:
        """Read files while the status bar shows the progress. Blocks; call it in a thread.

        Args:
            paths: The files; pages of a PDF follow its name.
            pages_as_pictures: Read pages of a PDF as pictures, not their text.

        Raises:
            InputError, UsageError: As of `attachments.load`.
            ConversionCancelledError: The user does not want the files any more.
        """
        with self._track_reading() as cancelled:
            reading = Reading(self._report, cancelled.is_set)
            loaded: list[LoadedFile] = []
            try:
                for path in paths:
                    if pages_as_pictures:
                        loaded += attachments.load_pages(path, reading)
                    else:
                        loaded.append(attachments.load(path, reading))
                    if cancelled.is_set():  # not all files can be stopped while they are read
                        raise ConversionCancelledError
            except MmtuiError as error:
                if cancelled.is_set():
                    raise ConversionCancelledError from error
                raise
            return loaded

    def require_ready(self) -> None:
        """Raise UsageError while a file is being read."""
        workers = self._screen.workers
        if self._session.is_transcribing or any(
            worker.group == STAGING and not worker.is_finished for worker in workers
        ):
            raise UsageError("a file is still being read", "try again in a moment")

    @property
    def is_reading(self) -> bool:
        """Whether a file is being read that the user still wants."""
        return not all(cancelled.is_set() for cancelled in self._readings)

    def cancel(self) -> None:
        """Stop reading the files that are being read now."""
        for cancelled in list(self._readings):  # threads change the list
            cancelled.set()

    def _load_and_stage(
        self, load: Callable[[], list[LoadedFile]], source: str, typed: str = ""
    ) -> Worker[None]:
        def store() -> list[tuple[Attachment, "Clip | None"]]:
            return [(self._session.store_attachment(loaded), loaded.clip) for loaded in load()]

        run = self._screen.run_in_thread
        stage = self._draft.bind(self._stage)
        return run(store, stage, typed, STAGING, f"reading {source}")

    async def _stage(self, files: list[tuple[Attachment, "Clip | None"]]) -> None:
        for attachment, clip in files:
            if clip is None or self._session.config.sends_recordings:
                await self._chips.add(attachment)
            else:
                self._speech.transcribe_file(clip, attachment)

    def _report(self, step: str, done: int, total: int) -> None:
        step = f"{step} {100 * done // total} %" if total > 1 else step
        if step != self.step:
            self.step = step
            self._screen.app.call_from_thread(self._screen.show_status)

    # Sending

    def send(
        self,
        text: str,
        files: Sequence[Attachment],
        send: Send,
        restore: Callable[[], Awaitable[None] | None],
    ) -> None:
        """Fit the documents among `files`, and send the message with all of them.

        A dialog asks what to use of documents that are too long. Nothing happens if another
        conversation is opened meanwhile.

        Args:
            text: The text of the message.
            files: Its attachments.
            send: Sends the message.
            restore: Called if the message is not sent, because the user cancels the dialog or a
                document can't be read.
        """
        is_open = self._draft.make_check()

        async def fit_and_send() -> None:
            fitted = await self._screen.attempt(self._fit, text, tuple(files))
            if not is_open():
                return
            is_sent = False
            if fitted is not None:
                for note in fitted.notes:
                    self._screen.show_notice(Notice(note, is_error=False))
                is_sent = await self._screen.attempt(send, text, fitted.attachments)
            if not is_sent:
                await self._screen.attempt(restore)

        self._screen.run_worker(fit_and_send(), group=STAGING)

    async def _fit(self, text: str, files: tuple[Attachment, ...]) -> Fitted | None:
        """Return the attachments to send; None if the user cancels."""
        if await self._is_cancelled_while_loading():
            return None
        fit: Fit = "error"
        while True:
            try:
                return await self._fit_in_thread(text, files, fit)
            except TooLongError:
                if fit != "error":  # there is no room for anything
                    raise
                choice = await self._screen.app.push_screen_wait(ChoiceDialog(_TITLE, _CHOICES))
            if choice is None:
                return None
            if choice == PAGES:
                files = await self._choose_pages(files)
            else:
                fit = "match" if choice == MATCH else "beginning"

    async def _is_cancelled_while_loading(self) -> bool:
        """Wait until the model is loaded, since its context is not known before."""
        with self._track_reading() as cancelled:
            while self._session.status.state == "loading" and not cancelled.is_set():
                await asyncio.sleep(POLL_S)
            return cancelled.is_set()

    @contextmanager
    def _track_reading(self) -> Iterator[threading.Event]:
        """Let the user cancel what is read in this context; the event is set then."""
        cancelled = threading.Event()
        self._readings.append(cancelled)
        try:
            yield cancelled
        finally:
            self._readings.remove(cancelled)
            self.step = ""

    async def _fit_in_thread(self, text: str, files: tuple[Attachment, ...], fit: Fit) -> Fitted:
        session = self._session
        pictures = sum(file.kind == "image" for file in files)
        room = documents.find_room(
            session.status, session.conversation.system, text, pictures, session.config.max_tokens
        )
        return await asyncio.to_thread(
            documents.fit_attachments, files, session.file, text, room, fit
        )

    async def _choose_pages(self, files: tuple[Attachment, ...]) -> tuple[Attachment, ...]:
        """Ask for the pages of each document that has some; keep all if the user cancels."""
        chosen: list[Attachment] = []
        for file in files:
            chosen.append(file)
            if file.kind != "document":
                continue
            document = documents.read_stored(file, self._session.file)
            if not document.has_pages:
                continue
            title = f"Pages of {file.name}, {file.detail}"
            pages = await self._screen.app.push_screen_wait(TextDialog(title))
            if pages is None:
                continue
            try:
                part = documents.choose_pages(document, pages)
            except MmtuiError as error:
                self._screen.show_notice(Notice(str(error), error.hint))
                continue
            stored = await asyncio.to_thread(
                self._session.store.add_attachment, part.dump().encode()
            )
            detail = documents.describe_document(part)
            chosen[-1] = replace(file, sha256=stored, detail=detail)
        return tuple(chosen)

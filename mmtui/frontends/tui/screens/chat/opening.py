"""Open, play, read and save attachments of the next message and of messages in the transcript."""

from functools import partial
from pathlib import Path

from textual import on

from mmtui.chat.conversation import Attachment
from mmtui.chat.notice import Notice
from mmtui.chat.reply_files import save_attachments
from mmtui.chat.session import Session
from mmtui.frontends.tui.screens.base import BaseScreen
from mmtui.frontends.tui.screens.chat.viewers import make_viewer
from mmtui.frontends.tui.screens.dialogs import TextDialog
from mmtui.frontends.tui.screens.picture_text import PictureTextScreen
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.player import Player
from mmtui.paths import resolve
from mmtui.text import one_line


class OpeningScreen(BaseScreen):
    """A screen with attachments.

    Attributes:
        session: The chat in progress.
        player: Plays sounds.
    """

    session: Session
    player: Player

    def stop_audio(self) -> None:
        """Stop what is recorded or played."""
        raise NotImplementedError

    @on(Chip.Opened)
    async def _open_attachment(self, event: Chip.Opened) -> None:
        file = await self.attempt(self.session.file, event.attachment)
        if file is None:
            return
        save = partial(self._ask_for_folder, event.attachment)
        if viewer := make_viewer(file, event.attachment, self.session.status, save):
            self.app.push_screen(viewer)
        else:
            self.play(file)

    @on(Chip.ReadRequested)
    async def _show_text(self, event: Chip.ReadRequested) -> None:
        file = await self.attempt(self.session.file, event.attachment)
        if file is not None:
            self.app.push_screen(PictureTextScreen(file, event.attachment))

    @on(Chip.SaveRequested)
    def _save_attachment(self, event: Chip.SaveRequested) -> None:
        self._ask_for_folder(event.attachment)

    def play(self, file: Path) -> None:
        """Play a sound file instead of what is played or recorded."""
        self.stop_audio()
        self.player.play(file)

    def save_files(self, files: tuple[Attachment, ...], folder: Path) -> None:
        """Save copies of attachments in a folder, in a thread."""
        save = partial(save_attachments, files, self.session.file, folder)
        self.run_in_thread(save, self._show_saved)

    def _ask_for_folder(self, attachment: Attachment) -> None:
        """Save a copy of an attachment in the folder that the user names."""

        def save(folder: str | None) -> None:
            if folder is not None:
                self.save_files((attachment,), resolve(folder))

        title = f"Folder for a copy of {one_line(attachment.name)}"
        self.app.push_screen(TextDialog(title, str(Path.cwd())), save)

    def _show_saved(self, saved: list[Path]) -> None:
        names = ", ".join(map(str, saved))
        self.show_notice(Notice(f"saved as {names}", is_error=False))

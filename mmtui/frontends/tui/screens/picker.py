"""The screen that chooses a file: a tree of folders beside a preview."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text, TextType
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import DirectoryTree, Tree
from textual.widgets.directory_tree import DirEntry

from mmtui.chat.conversation import Kind
from mmtui.frontends.tui.widgets.thumbnail import LargePicture
from mmtui.paths import PICTURE_SUFFIXES, RECORDING_SUFFIXES
from mmtui.text import one_line


class FileTree(DirectoryTree):
    """A tree of folders and of files of one kind; hidden files are left out."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Create a tree of the pictures or the recordings in a folder."""
        self._suffixes = PICTURE_SUFFIXES if kind == "image" else RECORDING_SUFFIXES
        super().__init__(folder)

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [path for path in paths if path.name[0] != "." and self._is_listed(path)]

    def process_label(self, label: TextType) -> Text:
        return Text(one_line(str(label)))

    def _is_listed(self, path: Path) -> bool:
        return path.suffix.lower() in self._suffixes or _is_true(path.is_dir)


class Picker(ModalScreen[Path | None]):
    """Asks for a picture or a recording. The result is None if the user cancels."""

    CSS_PATH = "picker.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("backspace", "up", "Parent folder"),
    ]

    def __init__(self, kind: Kind) -> None:
        """Create the screen for a kind of file."""
        super().__init__()
        self._kind = kind

    def compose(self) -> ComposeResult:
        with Vertical() as dialog:
            dialog.border_title = f"Attach a {'picture' if self._kind == 'image' else 'recording'}"
            dialog.border_subtitle = "Enter attaches, Backspace goes up, Esc cancels"
            with Horizontal():
                yield FileTree(_get_start_folder(), self._kind)
                yield Container(id="preview")

    def on_mount(self) -> None:
        self.query_one(FileTree).focus()

    def action_up(self) -> None:
        """Show the parent folder."""
        tree = self.query_one(FileTree)
        tree.path = Path(tree.path).parent

    @on(Tree.NodeHighlighted)
    async def _preview(self, event: Tree.NodeHighlighted[DirEntry]) -> None:
        preview = self.query_one("#preview")
        await preview.remove_children()
        entry = event.node.data
        if self._kind == "image" and entry is not None and _is_true(entry.path.is_file):
            await preview.mount(LargePicture(entry.path))

    @on(DirectoryTree.FileSelected)
    def _choose(self, event: DirectoryTree.FileSelected) -> None:
        self.dismiss(event.path)


def _is_true(check: Callable[[], bool]) -> bool:
    """Call a check of a path; return False if the disk fails."""
    try:
        return check()
    except OSError:
        return False


def _get_start_folder() -> Path:
    """Return the current folder, or the home folder if the current one no longer exists."""
    try:
        return Path.cwd()
    except OSError:
        return Path.home()

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
from mmtui.paths import (
    CONVERTED_SUFFIXES,
    DOCUMENT_SUFFIXES,
    PICTURE_SUFFIXES,
    RECORDING_SUFFIXES,
)
from mmtui.text import one_line

_SUFFIXES: dict[Kind, set[str]] = {
    "image": PICTURE_SUFFIXES | CONVERTED_SUFFIXES,
    "audio": RECORDING_SUFFIXES,
    "document": DOCUMENT_SUFFIXES,
}
_TITLES: dict[Kind, str] = {
    "image": "Attach a picture or a document",
    "audio": "Attach a recording",
    "document": "Attach a document",
}


class FileTree(DirectoryTree):
    """A tree of folders and of files of one kind; hidden files are left out."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Create a tree of the files of a kind in a folder; with pictures, PDFs are listed."""
        self._suffixes = _SUFFIXES[kind]
        super().__init__(folder)

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [path for path in paths if path.name[0] != "." and self._is_listed(path)]

    def process_label(self, label: TextType) -> Text:
        return Text(one_line(str(label)))

    def _is_listed(self, path: Path) -> bool:
        return path.suffix.lower() in self._suffixes or _is_true(path.is_dir)


class Picker(ModalScreen[Path | None]):
    """Asks for a file. The result is None if the user cancels."""

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
            dialog.border_title = _TITLES[self._kind]
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
        is_picture = entry is not None and entry.path.suffix.lower() in PICTURE_SUFFIXES
        if is_picture and entry is not None and _is_true(entry.path.is_file):
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

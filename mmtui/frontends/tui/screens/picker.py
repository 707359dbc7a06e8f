"""Choose a file: a tree of folders beside a preview of what the cursor is on."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from rich.text import Text, TextType
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import DirectoryTree, Static, Tree
from textual.widgets.directory_tree import DirEntry

from mmtui.chat.conversation import Kind
from mmtui.frontends.tui.widgets.thumbnail import LargePicture
from mmtui.paths import PICTURE_SUFFIXES, RECORDING_SUFFIXES
from mmtui.text import one_line


class FileTree(DirectoryTree):
    """Folders, and files of one kind."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._suffixes = PICTURE_SUFFIXES if kind == "image" else RECORDING_SUFFIXES
        super().__init__(folder)

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [path for path in paths if path.name[0] != "." and self._is_wanted(path)]

    def process_label(self, label: TextType) -> Text:
        return Text(one_line(str(label)))

    def _is_wanted(self, path: Path) -> bool:
        return path.suffix.lower() in self._suffixes or _check_path(path.is_dir)


class Picker(ModalScreen[Path | None]):
    """Enter chooses a file; Backspace goes up a folder."""

    CSS_PATH = "picker.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("backspace", "up", "Parent folder"),
    ]

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        self._kind = kind

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Enter attaches, Backspace goes up, Esc closes", markup=False)
            with Horizontal():
                yield FileTree(_here(), self._kind)
                yield Container(id="preview")

    def on_mount(self) -> None:
        self.query_one(FileTree).focus()

    def action_up(self) -> None:
        tree = self.query_one(FileTree)
        tree.path = Path(tree.path).parent

    @on(Tree.NodeHighlighted)
    async def _preview(self, event: Tree.NodeHighlighted[DirEntry]) -> None:
        preview = self.query_one("#preview")
        await preview.remove_children()
        entry = event.node.data
        if self._kind == "image" and entry is not None and _check_path(entry.path.is_file):
            await preview.mount(LargePicture(entry.path))

    @on(DirectoryTree.FileSelected)
    def _choose(self, event: DirectoryTree.FileSelected) -> None:
        self.dismiss(event.path)


def _check_path(question: Callable[[], bool]) -> bool:
    """No, where a failing disk can't tell."""
    try:
        return question()
    except OSError:
        return False


def _here() -> Path:
    try:
        return Path.cwd()
    except OSError:  # it was deleted, or its disk was pulled out
        return Path.home()

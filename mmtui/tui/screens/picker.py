"""Choose pictures: a tree of folders beside a preview of what the cursor is on."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import DirectoryTree, Static, Tree
from textual.widgets.directory_tree import DirEntry

from mmtui.tui.widgets.thumbnail import Thumbnail

ENDINGS = {
    ".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif",
}  # fmt: skip
ROWS = 12


class PictureTree(DirectoryTree):
    """Folders and pictures only."""

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [
            path
            for path in paths
            if not path.name.startswith(".") and (path.suffix.lower() in ENDINGS or path.is_dir())
        ]


class Picker(ModalScreen[Path | None]):
    """Enter chooses a picture; Backspace goes up a folder."""

    DEFAULT_CSS = """
    Picker { align: center middle; }
    Picker > Vertical { width: 92%; height: 85%; padding: 1 2; background: $surface; border: round $primary; }
    Picker Horizontal { height: 1fr; }
    Picker PictureTree { width: 1fr; background: $surface; }
    Picker #preview { width: 1fr; height: 100%; padding: 0 2; }
    """  # noqa: E501
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("backspace", "up", "Up a folder"),
    ]

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self._folder = (folder or Path.cwd()).absolute()

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Enter attaches, Backspace goes up, Esc goes back", markup=False)
            with Horizontal():
                yield PictureTree(self._folder)
                yield Container(id="preview")

    def on_mount(self) -> None:
        self.query_one(PictureTree).focus()

    def action_up(self) -> None:
        tree = self.query_one(PictureTree)
        tree.path = Path(tree.path).parent

    @on(Tree.NodeHighlighted)
    async def _preview(self, event: Tree.NodeHighlighted[DirEntry]) -> None:
        preview = self.query_one("#preview")
        await preview.remove_children()
        if event.node.data is not None and event.node.data.path.is_file():
            await preview.mount(Thumbnail(event.node.data.path, ROWS))

    @on(DirectoryTree.FileSelected)
    def _choose(self, event: DirectoryTree.FileSelected) -> None:
        self.dismiss(event.path)

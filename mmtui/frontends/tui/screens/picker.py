"""The screen that chooses files: a tree of folders, or a list of matches, beside a preview."""

from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import ClassVar

from rich.style import Style
from rich.text import Text, TextType
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import DirectoryTree, Input, Tree
from textual.widgets.directory_tree import DirEntry
from textual.widgets.tree import TreeNode

from mmtui.chat.conversation import Kind
from mmtui.frontends.tui.hints import show_hints
from mmtui.frontends.tui.widgets.file_list import MARK, FileList, find_start_folder
from mmtui.frontends.tui.widgets.text_fields import LineField
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

    def __init__(self, folder: Path, kind: Kind, marked: Container[Path]) -> None:
        """Create a tree.

        Args:
            folder: The folder at the root.
            kind: The kind of files; with pictures, PDFs are listed.
            marked: The files that are shown with a mark.
        """
        self._suffixes, self._marked = _SUFFIXES[kind], marked
        super().__init__(folder)

    def render_label(self, node: TreeNode[DirEntry], base_style: Style, style: Style) -> Text:
        label = super().render_label(node, base_style, style)
        is_marked = node.data is not None and node.data.path in self._marked
        return Text.assemble(MARK, label) if is_marked else label

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        return [path for path in paths if path.name[0] != "." and self._is_listed(path)]

    def process_label(self, label: TextType) -> Text:
        return Text(one_line(str(label)))

    def _is_listed(self, path: Path) -> bool:
        return path.suffix.lower() in self._suffixes or _is_true(path.is_dir)


class FilterField(LineField):
    """The field for the filter, in which Space is not typed: it marks the file under the cursor."""

    def check_consume_key(self, key: str, character: str | None) -> bool:
        return key != "space" and super().check_consume_key(key, character)


class Picker(ModalScreen[list[Path] | None]):
    """Asks for files. The result is None if the user cancels."""

    CSS_PATH = "picker.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (60, "-wide")]  # noqa: RUF012
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("backspace", "up", "Parent folder"),
        Binding("space", "mark", "Mark", priority=True),
        Binding("up", "move(-1)", "Up"),
        Binding("down", "move(1)", "Down"),
    ]

    def __init__(self, kind: Kind) -> None:
        """Create the screen for a kind of file."""
        super().__init__()
        self._kind = kind
        self._marked: dict[Path, None] = {}  # in the order in which they were marked
        self._tree = FileTree(find_start_folder(), kind, self._marked)
        self._matches = self._make_list()

    def compose(self) -> ComposeResult:
        with Vertical() as dialog:
            dialog.border_title = _TITLES[self._kind]
            yield FilterField(placeholder="Type to filter", compact=True)
            with Horizontal():
                yield self._tree
                yield self._matches
                yield Vertical(id="preview")

    def on_mount(self) -> None:
        self._tree.focus()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_hint)

    async def action_up(self) -> None:
        """Show the parent folder."""
        self._tree.path = Path(self._tree.path).parent
        await self._matches.remove()  # which has the files of the other folder
        self._matches = self._make_list()
        await self.query_one(Horizontal).mount(self._matches, before="#preview")

    def action_move(self, direction: int) -> None:
        """Move the cursor while the filter has the focus: -1 is up."""
        if self._is_filtered:
            self._matches.move(direction)
            return
        self._tree.focus()
        if direction < 0:
            self._tree.action_cursor_up()
        else:
            self._tree.action_cursor_down()

    def action_mark(self) -> None:
        """Mark the file under the cursor, or remove its mark; open or close a folder."""
        node = self._tree.cursor_node
        if self._is_filtered:
            file = self._matches.highlighted
        else:
            file = None if node is None else _get_file(node)
        if file is not None:
            if file in self._marked:
                del self._marked[file]
            else:
                self._marked[file] = None
        elif node is not None and not self._is_filtered:
            node.toggle()
        self._show_hint()

    @property
    def _is_filtered(self) -> bool:
        return not self._tree.display

    def _make_list(self) -> FileList:
        folder, suffixes = Path(self._tree.path), _SUFFIXES[self._kind]
        return FileList(folder, suffixes, self._marked, hides_exact=False)

    def _show_hint(self) -> None:
        """Show the marks, and what the keys do."""
        self._tree.refresh()
        self._matches.refresh_marks()
        count = len(self._marked)
        attach = f"Enter attaches {count} marked" if count else "Enter attaches"
        dialog = self.query_one(Vertical)
        show_hints(dialog, attach, "Space marks", "Backspace goes up", "Esc cancels")

    @on(Input.Changed)
    def _filter(self, event: Input.Changed) -> None:
        typed = event.value.strip()
        self._tree.display = self.query_one("#preview").display = not typed
        if typed:
            self._matches.find(typed)
        else:
            self._matches.reset()

    @on(Input.Submitted)
    def _choose_match(self) -> None:
        if self._is_filtered:
            self._matches.choose()

    @on(Tree.NodeHighlighted)
    async def _preview(self, event: Tree.NodeHighlighted[DirEntry]) -> None:
        preview = self.query_one("#preview")
        await preview.remove_children()
        file = _get_file(event.node)
        if file is not None and file.suffix.lower() in PICTURE_SUFFIXES:
            await preview.mount(LargePicture(file))

    @on(DirectoryTree.FileSelected)
    def _choose(self, event: DirectoryTree.FileSelected) -> None:
        self._return_files(event.path)

    @on(FileList.Chosen)
    def _choose_listed(self, event: FileList.Chosen) -> None:
        self._return_files(Path(self._tree.path) / event.path)

    def _return_files(self, file: Path) -> None:
        """Return the marked files, or this one if none is marked."""
        self.dismiss(list(self._marked) or [file])


def _get_file(node: TreeNode[DirEntry]) -> Path | None:
    """Return the file of a node; None if it is a folder."""
    path = None if node.data is None else node.data.path
    return path if path is not None and _is_true(path.is_file) else None


def _is_true(check: Callable[[], bool]) -> bool:
    """Call a check of a path; return False if the disk fails."""
    try:
        return check()
    except OSError:
        return False

"""The screen that shows the branches of a conversation as a tree."""

from typing import ClassVar, NamedTuple

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from mmtui.chat.branches import TreeMessage, list_tree
from mmtui.chat.conversation import Conversation, Message
from mmtui.frontends.tui.hints import show_hints


class BranchChoice(NamedTuple):
    """What the user wants to do with a message.

    Attributes:
        message: The message.
        is_deleted: Whether to delete it, with everything after it; otherwise it is shown.
    """

    message: Message
    is_deleted: bool


class BranchesScreen(ModalScreen[BranchChoice | None]):
    """Asks for a message of any branch. The result is None if the user goes back."""

    CSS_PATH = "branches.tcss"
    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("delete", "delete", "delete a version", id="delete_version"),
    ]

    def __init__(self, conversation: Conversation) -> None:
        """Create the screen for a conversation."""
        super().__init__()
        self._conversation = conversation
        self._messages: Tree[Message] = Tree("")

    def compose(self) -> ComposeResult:
        with Vertical() as dialog:
            dialog.border_title = "Versions"
            yield self._messages

    def on_mount(self) -> None:
        self._messages.show_root = False
        self._messages.auto_expand = False
        parents: dict[int, TreeNode[Message]] = {0: self._messages.root}
        current, nodes = self._messages.root, []
        for row in list_tree(self._conversation):
            label, parent = _format(row), parents[row.depth]
            if row.versions > 1:
                node = parents[row.depth + 1] = parent.add(label, row.message, expand=True)
            else:
                node = parent.add_leaf(label, row.message)
            nodes.append(node)
            if row.message.id == self._conversation.head:
                current = node
        for node in nodes:
            # else the last message of a version has an arrow
            node.allow_expand = bool(node.children)
        self._messages.root.expand()
        self._messages.focus()
        if self._messages.last_line >= 0:  # asking for it numbers the lines
            self._messages.move_cursor(current)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_hints)

    def _show_hints(self) -> None:
        dialog = self.query_one(Vertical)
        show_hints(dialog, "Enter shows", "Delete deletes", "Esc goes back")

    def action_delete(self) -> None:
        """Request to delete the message under the cursor."""
        node = self._messages.cursor_node
        if node is not None and node.data is not None:
            self.dismiss(BranchChoice(node.data, is_deleted=True))

    @on(Tree.NodeSelected)
    def _show(self, event: Tree.NodeSelected[Message]) -> None:
        if event.node.data is not None:
            self.dismiss(BranchChoice(event.node.data, is_deleted=False))


def _format(row: TreeMessage) -> Text:
    """Return the label of a message, with a mark if it is in the branch that is shown."""
    return Text(f"● {row.label}", "bold") if row.is_shown else Text(f"  {row.label}")

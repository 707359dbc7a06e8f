"""The last line: the keys that are most useful at the moment."""

from collections.abc import Mapping

from textual.content import Content
from textual.dom import DOMNode
from textual.widget import Widget
from textual.widgets import Static

from mmtui.frontends.tui.keys import format_keys
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.find_bar import FindBar
from mmtui.frontends.tui.widgets.message_queue import QueuedMessage
from mmtui.frontends.tui.widgets.message_view import MessageView
from mmtui.frontends.tui.widgets.sidebar import SidebarList
from mmtui.frontends.tui.widgets.transcript import Earlier, Later
from mmtui.frontends.tui.widgets.welcome import Example

# The ids of bindings, or their actions if they have none, each with a short description, by what
# the user is doing. The first ones are the most important: a narrow window does not show all.
Hints = Mapping[str, str]
EMPTY: Hints = {
    "image": "picture", "record": "speak", "history": "history", "palette": "commands",
    "help": "help", "settings": "settings",
}  # fmt: skip
TYPING: Hints = {"send": "send", "newline": "new line", "complete": "complete"}
ANSWERING: Hints = {"stop": "stop the answer", "page_up": "scroll up", "page_down": "down"}
RECORDING: Hints = {"record": "finish", "stop": "discard"}
TALKING: Hints = {"stop": "stop the answer, or end the talk", "talk": "end the talk"}
WAITING: Hints = {"stop": "stop the answer", "queue": "take the last message back"}
HELD: Hints = {"send": "send the waiting messages", "queue": "take the last one back"}
SEARCHING: Hints = {
    "dismiss(None)": "back", "delete_chat": "delete", "rename_chat": "rename",
    "restore_chat": "undo delete",
}  # fmt: skip
BY_WIDGET: dict[type[DOMNode], Hints] = {
    FindBar: {"find_before": "previous hit", "find_after": "next hit", "stop": "close"},
    QueuedMessage: {"send_queue": "send", "edit_queued": "edit", "remove_queued": "remove"},
    SidebarList: {"open_conversation": "open", "sidebar": "hide the list", "stop": "back"},
    Chip: {
        "open_chip": "open", "read_chip": "text", "hear_chip": "transcribe again",
        "save_chip": "save", "remove_chip": "remove",
    },
    MessageView: {"edit_message": "edit", "copy_message": "copy", "next_version": "next version"},
    Example: {"choose_example": "use this question"},
    Earlier: {"earlier": "show them"},
    Later: {"later": "show them"},
}  # fmt: skip


class HintBar(Static):
    """A line with keys. It follows the focus of the screen and the latest call of `show`."""

    def __init__(self, hints: Hints = EMPTY) -> None:
        """Create the line with the hints to show at first."""
        super().__init__("", id="hints", markup=False)
        self._hints = hints
        self._shown: tuple[Hints, Widget | None, int] | None = None

    def on_mount(self) -> None:
        self.watch(self.screen, "focused", self._update)

    def on_resize(self) -> None:
        self._update()

    def show(self, hints: Hints) -> None:
        """Show hints, unless a widget that has hints of its own has the focus."""
        self._hints = hints
        self._update()

    def _update(self) -> None:
        focused, width = self.screen.focused, self.content_size.width
        nodes = focused.ancestors_with_self if focused else []
        found = (BY_WIDGET[type(node)] for node in nodes if type(node) in BY_WIDGET)
        hints = next(found, self._hints)
        if (hints, focused, width) == self._shown:
            return
        self._shown = hints, focused, width
        keys: dict[str, str] = {}
        for active in self.screen.active_bindings.values():
            if active.enabled:
                id = active.binding.id or active.binding.action
                keys.setdefault(id, format_keys(active.binding.key))
        parts = [
            Content.assemble((keys[id], "bold $text-accent"), f" {description}")
            for id, description in hints.items()
            if id in keys
        ]
        self.update(_join_fitting(parts, width), layout=False)


def _join_fitting(parts: list[Content], width: int) -> Content:
    """Return the parts that fit in a line, in their order, at least the first."""
    line = Content("")
    for part in parts:
        joined = Content("  ").join([line, part]) if line else part
        if not line or joined.cell_length <= width:
            line = joined
    return line

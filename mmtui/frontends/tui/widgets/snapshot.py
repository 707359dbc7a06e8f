"""Blocks of a reply that are drawn from a snapshot while the rest of the reply is written.

The time of a layout and of a frame grows with the number of widgets on the screen, and tables and
lists have many. A block that is complete does not change, so that it can be treated as one widget.
"""

from typing import TYPE_CHECKING

from textual.geometry import Region, Size
from textual.strip import Strip

from mmtui.compat.textual_hooks import render_widget

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    Widget = object  # Textual applies the styles of the first base class that is a widget


class Snapshot(Widget):
    """A container that can be frozen: its children are neither laid out nor drawn meanwhile.

    They stay mounted. Until the container is thawed, the mouse can't select text in it.
    """

    _snapshot: list[Strip] | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether the container is drawn from a snapshot."""
        return self._snapshot is not None

    def freeze(self) -> None:
        """Draw the container as it looks now, until it is thawed or gets another width."""
        if not self.is_frozen and self.is_attached and self.size:
            self._snapshot = render_widget(self)

    def thaw(self) -> None:
        """Show the children again."""
        if self.is_frozen:
            self._snapshot = None
            self.refresh(layout=True)

    @property
    def is_container(self) -> bool:
        return not self.is_frozen and super().is_container

    @property
    def is_scrollable(self) -> bool:
        return not self.is_frozen and super().is_scrollable

    @property
    def allow_select(self) -> bool:
        return not self.is_frozen and super().allow_select

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        if self.is_frozen and width == self.content_size.width:
            return self.content_size.height
        self._snapshot = None
        return super().get_content_height(container, viewport, width)

    def render_lines(self, crop: Region) -> list[Strip]:
        if self._snapshot is None:
            return super().render_lines(crop)
        return [line.crop(crop.x, crop.right) for line in self._snapshot[crop.y : crop.bottom]]

    def notify_style_update(self) -> None:
        self.thaw()
        super().notify_style_update()


def freeze_complete(container: "Widget") -> None:
    """Freeze what is complete in a container to whose end widgets are added."""
    if not container.children:
        return
    *complete, last = container.children
    for child in complete:
        if isinstance(child, Snapshot):
            child.freeze()
    freeze_complete(last)


def thaw_all(container: "Widget") -> None:
    """Thaw everything in a container."""
    for child in container.walk_children():
        if isinstance(child, Snapshot):
            child.thaw()

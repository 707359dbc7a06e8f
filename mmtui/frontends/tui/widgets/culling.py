"""Exclude widgets far above the visible part of a scroll view from the layout."""

from collections.abc import Iterable, Sequence
from itertools import takewhile

from textual.widget import Widget


class Culling:
    """Hides widgets, and replaces the space they took by the margin of the next widget.

    Attributes:
        bottom: The line of the scroll view at which the hidden widgets end; 0 if none is hidden.
    """

    def __init__(self) -> None:
        self.bottom = 0
        self._hidden: list[Widget] = []
        self._first_shown: set[Widget] = set()  # the widgets whose margin was changed

    def hide_above(self, view: Widget, groups: Iterable[Sequence[Widget]]) -> None:
        """Hide the widgets that end more than half a screen above the visible part of a view.

        A widget with the focus is not hidden, nor are the last two of a group: while a text is
        streamed, the last one may be replaced, and its margin with it.

        Args:
            view: The scroll view.
            groups: Siblings that can be hidden, from top to bottom.
        """
        top = view.content_region.y

        def is_above(widget: Widget) -> bool:
            is_far = widget.region.bottom < top - view.size.height // 2
            return is_far and not widget.has_focus_within

        for group in groups:
            shown = [widget for widget in group if widget.display]
            if not (above := list(takewhile(is_above, shown[:-2]))):
                continue
            self.bottom = max(self.bottom, above[-1].region.bottom - top + view.scroll_offset.y)
            self._move_margin(above[0], shown[len(above)])
            for widget in above:
                widget.display = False
            self._hidden += above

    def _move_margin(self, hidden: Widget, first: Widget) -> None:
        """Give the first widget that stays a margin as high as the widgets that are hidden."""
        top = first.region.y - hidden.region.y + hidden.styles.margin.top
        right, bottom, left = first.styles.margin[1:]
        first.styles.margin = (top, right, bottom, left)
        if hidden in self._first_shown:
            hidden.styles.margin = None
            self._first_shown.remove(hidden)
        self._first_shown.add(first)

    def show_all(self) -> None:
        """Show all widgets again, with their own margins."""
        for first in self._first_shown:
            first.styles.margin = None
        for widget in self._hidden:
            widget.display = True
        self.bottom = 0
        self._first_shown, self._hidden = set(), []

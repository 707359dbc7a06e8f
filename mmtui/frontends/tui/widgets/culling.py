"""What is far above the view takes no part in the layout, and no less room."""

from collections.abc import Iterable, Sequence
from itertools import takewhile

from textual.widget import Widget


class Culling:
    """Widgets that are not displayed; the one after them begins where it was.

    `bottom`: where they end, in lines of the view that scrolls. All is displayed above 0.
    """

    def __init__(self) -> None:
        self.bottom = 0
        self._hidden: list[Widget] = []
        self._first: set[Widget] = set()  # after what is folded

    def close(self, view: Widget, parts: Iterable[Sequence[Widget]]) -> None:
        """Culling of each part what ends more than a screen above a scrolled view.

        Its last two stay: what grows may replace the last one, with its margin. What has the focus
        stays, too.
        """
        top = view.content_region.y

        def is_above(widget: Widget) -> bool:
            return widget.region.bottom < top - view.size.height and not widget.has_focus_within

        for part in parts:
            shown = [widget for widget in part if widget.display]
            if not (above := list(takewhile(is_above, shown[:-2]))):
                continue
            self.bottom = max(self.bottom, above[-1].region.bottom - top + view.scroll_offset.y)
            self._begin(above[0], shown[len(above)])
            for widget in above:
                widget.display = False
            self._hidden += above

    def _begin(self, folded: Widget, first: Widget) -> None:
        """The place of what is folded is the margin of what comes first then."""
        line = first.region.y - folded.region.y + folded.styles.margin.top
        right, bottom, left = first.styles.margin[1:]
        first.styles.margin = (line, right, bottom, left)
        if folded in self._first:
            folded.styles.margin = None
            self._first.remove(folded)
        self._first.add(first)

    def open(self) -> None:
        for first in self._first:
            first.styles.margin = None
        for widget in self._hidden:
            widget.display = True
        self.bottom = 0
        self._first, self._hidden = set(), []

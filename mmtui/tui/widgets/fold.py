"""What is far above the view takes no part in the layout, and no less room."""

from collections.abc import Iterable
from itertools import takewhile

from textual.widget import Widget


class Fold:
    """Widgets that are not displayed; the one after them begins where it was.

    `bottom`: where they end, in lines of the view that scrolls. All is displayed above 0.
    """

    def __init__(self) -> None:
        self.bottom = 0
        self._hidden: list[Widget] = []
        self._first: dict[Widget, Widget] = {}  # that is displayed, by what it is in

    def close(self, view: Widget, containers: Iterable[Widget]) -> None:
        """Fold the children of `containers` that end more than a screen above a scrolled view."""
        top = view.content_region.y
        for container in containers:
            shown = [child for child in container.children if child.display]
            above = list(
                takewhile(lambda child: child.region.bottom < top - view.size.height, shown[:-1])
            )
            if not above:
                continue
            self.bottom = max(self.bottom, above[-1].region.bottom - top + view.scroll_offset.y)
            first = shown[len(above)]
            self._begin(container, first, first.virtual_region.y)
            for child in above:
                child.display = False
            self._hidden += above

    def _begin(self, container: Widget, first: Widget, line: int) -> None:
        """The place of what is folded is the margin of what comes first."""
        if before := self._first.pop(container, None):
            before.styles.margin = None
        right, bottom, left = first.styles.margin[1:]
        first.styles.margin = (line, right, bottom, left)
        self._first[container] = first

    def open(self) -> None:
        for first in self._first.values():
            first.styles.margin = None
        for child in self._hidden:
            child.display = True
        self.bottom = 0
        self._first, self._hidden = {}, []

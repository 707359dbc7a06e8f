"""What Beautiful Soup does not document. See `mmtui.compat` for the versions."""

from collections.abc import Set
from typing import Any

from bs4 import BeautifulSoup, Tag

MAX_DEPTH = 1000  # of nested elements; the conversion to Markdown ends before


class OpenElements(BeautifulSoup):
    """A page whose open elements can be ended while Python's own parser reads it.

    Raises:
        RecursionError: Elements are nested too deeply.
    """

    def __init__(self, page: str | bytes) -> None:
        """Parse a page."""
        super().__init__(page, "html.parser")

    def before_start(self, name: str) -> None:
        """Called before an element with this name starts; subclasses end others here."""

    def end_elements(self, names: Set[str], containers: Set[str]) -> None:
        """End the open elements with these names in the innermost container, and those in them.

        Args:
            names: The names of the elements.
            containers: The names of elements; those around the innermost one do not end.
        """
        if not any(self.open_tag_counter.get(name) for name in names):
            return
        kept = len(self.tagStack)
        for depth in range(len(self.tagStack) - 1, 0, -1):
            name = self.tagStack[depth].name
            if name in containers:
                break
            if name in names:
                kept = depth
        if kept < len(self.tagStack):
            self.endData()
            while len(self.tagStack) > kept:
                self.popTag()

    def handle_starttag(self, name: str, *arguments: Any, **named: Any) -> Tag | None:
        """Start an element."""
        self.before_start(name)
        return super().handle_starttag(name, *arguments, **named)

    def pushTag(self, tag: Tag) -> None:
        """Make an element the innermost one that is open."""
        if len(self.tagStack) > MAX_DEPTH:
            raise RecursionError
        super().pushTag(tag)

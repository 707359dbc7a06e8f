"""The tree of an HTML page. Beautiful Soup with Python's own parser does not add end tags."""

from typing import Any

from bs4 import BeautifulSoup, Tag

MAX_DEPTH = 1000  # of nested elements; the conversion to Markdown ends before
_CELLS = {"td", "th"}
_ROWS = _CELLS | {"tr"}
_SECTIONS = _ROWS | {"thead", "tbody", "tfoot"}
# The elements that end where an element starts, because their end tag may be left out (HTML
# Standard, 13.1.2.4).
_ENDS = {
    "li": {"li"},
    "dt": {"dt", "dd"},
    "dd": {"dt", "dd"},
    "td": _CELLS,
    "th": _CELLS,
    "tr": _ROWS,
    "thead": _SECTIONS,
    "tbody": _SECTIONS,
    "tfoot": _SECTIONS,
    "option": {"option"},
}
_PARAGRAPH = {"p"}
_BLOCKS = (
    "address", "article", "aside", "blockquote", "details", "div", "dl", "fieldset", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p",
    "pre", "section", "table", "ul",
)  # fmt: skip
_ENDS |= dict.fromkeys(_BLOCKS, _PARAGRAPH)
# The elements around them that do not end.
_CONTAINERS = {"ul", "ol", "menu", "dl", "table", "select", "template", "button"}
_CONTAINERS_OF_PARAGRAPHS = _CONTAINERS | _CELLS | {"li", "dd", "caption"}


class HtmlTree(BeautifulSoup):
    """A page in which an element ends where the HTML standard implies it.

    Raises:
        RecursionError: Elements are nested too deeply.
    """

    def __init__(self, page: str | bytes) -> None:
        """Parse a page."""
        super().__init__(page, "html.parser")

    def handle_starttag(self, name: str, *arguments: Any, **named: Any) -> Tag | None:
        """Start an element, after the end of those that it ends."""
        if (ended := _ENDS.get(name)) is not None:
            self._end(ended)
        return super().handle_starttag(name, *arguments, **named)

    def pushTag(self, tag: Tag) -> None:
        """Make an element the innermost one that is open."""
        if len(self.tagStack) > MAX_DEPTH:
            raise RecursionError
        super().pushTag(tag)

    def _end(self, names: set[str]) -> None:
        """End the open elements with these names in the innermost container, and those in them."""
        containers = _CONTAINERS_OF_PARAGRAPHS if names is _PARAGRAPH else _CONTAINERS
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

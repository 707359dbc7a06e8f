"""The tree of an HTML page. Beautiful Soup with Python's own parser does not add end tags."""

from mmtui.compat.bs4_hooks import OpenElements

_CELLS = {"td", "th"}
_ROWS = _CELLS | {"tr"}
_RUBY = {"rt", "rp"}
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
    "optgroup": {"option", "optgroup"},
    "rt": _RUBY,
    "rp": _RUBY,
}
_PARAGRAPH = {"p"}
_BLOCKS = (
    "address", "article", "aside", "blockquote", "details", "dialog", "div", "dl", "fieldset",
    "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header",
    "hgroup", "hr", "main", "menu", "nav", "ol", "p", "pre", "search", "section", "table", "ul",
)  # fmt: skip
_ENDS |= dict.fromkeys(_BLOCKS, _PARAGRAPH)
# The elements around them that do not end.
_CONTAINERS = {"ul", "ol", "menu", "dl", "table", "select", "template", "button"}
_CONTAINERS_OF_RUBY = _CONTAINERS | {"ruby"}
_CONTAINERS_OF_PARAGRAPHS = _CONTAINERS | _CELLS | {"li", "dd", "caption"}


class HtmlTree(OpenElements):
    """A page in which an element ends where the HTML standard implies it."""

    def before_start(self, name: str) -> None:
        """End the elements that an element with this name ends."""
        if (ended := _ENDS.get(name)) is not None:
            self.end_elements(ended, _find_containers(ended))


def _find_containers(names: set[str]) -> set[str]:
    if names is _PARAGRAPH:
        return _CONTAINERS_OF_PARAGRAPHS
    return _CONTAINERS_OF_RUBY if names is _RUBY else _CONTAINERS

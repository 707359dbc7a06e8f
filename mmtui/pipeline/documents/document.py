"""The text of a document, page by page."""

from dataclasses import dataclass

MAX_BYTES = 100_000_000  # size limit of a file
MAX_CHARACTERS = 10_000_000  # limit of the text of a document
MAX_PAGES = 2000  # most pages that are read of a file

_PAGE_BREAK = "\f"  # a control character, so no page contains it


@dataclass(frozen=True)
class DocumentText:
    """What was read of a document.

    Attributes:
        name: The name of the file.
        pages: The text of each page, without control characters; "" for a page without text or one
            that was not chosen. A format without pages has one.
        notes: What the user should know, such as that pages have no text.
        sha256: The hash of the file.
    """

    name: str
    pages: tuple[str, ...]
    notes: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def has_pages(self) -> bool:
        """Whether page numbers mean something."""
        return len(self.pages) > 1

    def dump(self) -> str:
        """Return the text with a form feed between pages, for storage."""
        return _PAGE_BREAK.join(self.pages)

    @classmethod
    def parse(cls, name: str, text: str) -> "DocumentText":
        """Return the document whose text `dump` returned."""
        return cls(name, tuple(text.split(_PAGE_BREAK)))

"""A document of a conversation, beside the part of it that is in the prompt."""

from typing import Any, NamedTuple

from mmtui.pipeline.documents.document import DocumentText
from mmtui.pipeline.documents.fitting import FittedDocument


class UsedDocument(NamedTuple):
    """A document of a conversation, and what of it is in the prompt.

    Attributes:
        path: Its path or name.
        content: Its text.
        fitted: The part of it that is in the prompt.
    """

    path: str
    content: DocumentText
    fitted: FittedDocument

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of the document in the JSON document of `mmtui ask --json`."""
        return {
            "path": self.path,
            "sha256": self.content.sha256,
            "pages": len(self.content.pages),
            "tokens": self.fitted.tokens,
            "note": self.fitted.note or None,
        }

"""A code block in a reply, which is readable in the colours of any terminal."""

from pygments.token import Token
from textual.content import Content
from textual.highlight import HighlightTheme, highlight
from textual.widgets import Label
from textual.widgets.markdown import MarkdownFence

from mmtui.compat.textual_hooks import update_in_place
from mmtui.frontends.tui.widgets.snapshot import Snapshot


class _PlainHighlightTheme(HighlightTheme):
    """Highlights with text styles only, since the 16 colours of a terminal may be hard to read."""

    STYLES = {  # noqa: RUF012 - as in the base class
        Token.Comment: "italic",
        Token.Keyword: "bold",
        Token.Name.Class: "bold",
        Token.Name.Function: "underline",
        Token.Operator.Word: "bold",
        Token.Literal.String.Doc: "italic",
    }


class CodeBlock(Snapshot, MarkdownFence):
    """A code block that leaves the colours of a terminal alone, if the theme uses those."""

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        if ansi:
            return highlight(code, language=language or None, theme=_PlainHighlightTheme)
        return super().highlight(code, language, ansi, dark)

    def set_content(self, content: Content) -> None:
        """Show code, and lay the screen out only if it has more lines or is wider than before."""
        self._content = content
        for label in self.query(Label):
            update_in_place(label, content)

"""What a model sends besides its reply, folded away: its thinking, and the calls of tools."""

from textual import on
from textual.widgets import Collapsible, Static

from mmtui.text import printable


class FoldedText(Collapsible):
    """A text that is hidden until its title is clicked, or Enter is pressed on it."""

    def __init__(self, title: str, text: str) -> None:
        self._text, self._content = text, Static("", markup=False)
        super().__init__(self._content, title=title)

    def update_text(self, text: str) -> None:
        """Replace the text. It is laid out only while it is shown, since it grows often."""
        self._text = text
        if not self.collapsed:
            self._content.update(printable(text))

    @on(Collapsible.Expanded)
    def _show_text(self, event: Collapsible.Expanded) -> None:
        event.stop()
        self.update_text(self._text)

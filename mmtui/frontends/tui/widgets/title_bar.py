"""The line at the top: the title of the conversation, and the model."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from mmtui.text import one_line

UNTITLED = "New conversation"


class TitleBar(Horizontal):
    """A line with the title of the conversation and the name of the model."""

    def __init__(self) -> None:
        super().__init__(id="title-bar")
        self._title = Static("", id="title", markup=False)
        self._model = Static("", id="title-model", markup=False)
        self._shown = ("", "")

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._model

    def show(self, title: str, model: str) -> None:
        """Show a title and the name of a model."""
        shown = (one_line(title) or UNTITLED, one_line(model))
        if shown != self._shown:
            self._shown = shown
            self._title.update(shown[0])
            self._model.update(shown[1])

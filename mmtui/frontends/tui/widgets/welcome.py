"""What an empty conversation shows: what this is, what the model can do, and what to try."""

from collections.abc import Callable, Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from mmtui.chat.status import ModelStatus
from mmtui.frontends.tui.keys import format_keys
from mmtui.text import one_line

INTRODUCTION = "A chat that sees, hears and answers on your own machine."
SERVER_INTRODUCTION = "A chat with pictures and speech; a server runs the model."
EXAMPLES = (
    "What is in this picture?",
    "Why is the sky blue?",
    "What can I cook with eggs?",
)
# What the keys of some bindings do, in a long and in a short form.
TIPS = {
    "image": ("attaches a picture; or drop a file on this window", "picture"),
    "record": ("records what you say", "speak"),
    "speak": ("reads the answer aloud", "listen"),
    "history": ("finds earlier conversations", "history"),
    "help": ("shows all keys and commands", "help"),
}


class Example(Static, can_focus=True):
    """A question to try. Enter or a click puts it into the prompt."""

    FOCUS_ON_CLICK = False  # the prompt keeps the focus
    BINDINGS: ClassVar = [
        Binding("enter", "choose", "put the example into the prompt", id="choose_example"),
    ]

    class Chosen(Message):
        """The user wants to ask an example."""

        def __init__(self, question: str) -> None:
            super().__init__()
            self.question = question

    def __init__(self, question: str) -> None:
        super().__init__(f"> {question}", markup=False)
        self._question = question

    def action_choose(self) -> None:
        """Request to put the question into the prompt."""
        self.post_message(self.Chosen(self._question))

    @on(Click)
    def _handle_click(self) -> None:
        self.action_choose()


class Welcome(VerticalScroll, can_focus=False):
    """The first screen of a conversation, shown until its first message."""

    def __init__(
        self, is_local: bool, sends_recordings: bool, use_example: Callable[[str], object]
    ) -> None:
        """Create the screen.

        Args:
            is_local: Whether this machine runs the model.
            sends_recordings: Whether the model hears recordings itself.
            use_example: Called with the example that the user chooses.
        """
        super().__init__(id="welcome")
        self._is_local, self._sends_recordings = is_local, sends_recordings
        self._use_example = use_example
        self._model = Static("", id="model", markup=False)
        self._shown = ""

    def compose(self) -> ComposeResult:
        introduction = INTRODUCTION if self._is_local else SERVER_INTRODUCTION
        yield Static(introduction, classes="heading", markup=False)
        yield self._model
        yield Static("Try", classes="heading", markup=False)
        for question in EXAMPLES:
            yield Example(question)
        for is_short in (False, True):
            classes = "-short tips" if is_short else "tips"
            yield Static(self._make_tips(is_short=is_short), classes=classes, markup=False)

    def show(self, status: ModelStatus) -> None:
        """Show what the model can do, as far as it is known."""
        if status.state == "loading" and status.can_see is None:
            text = "The model is being loaded; you can write meanwhile."
        else:
            abilities = ", ".join(_list_abilities(status, self._sends_recordings))
            text = f"{one_line(status.model)} {abilities}."
        if text != self._shown:
            self._shown = text
            self._model.update(text)

    @on(Example.Chosen)
    def _handle_chosen(self, event: Example.Chosen) -> None:
        event.stop()
        self._use_example(event.question)

    def _make_tips(self, *, is_short: bool) -> Content:
        """Return the keys to try: one in a line, or all in one line for small windows."""
        keys = {
            active.binding.id: format_keys(active.binding.key)
            for active in reversed(self.screen.active_bindings.values())
        }
        tips = [
            Content.assemble((f"{keys[id]:4}", "bold"), text[is_short]) for id, text in TIPS.items()
        ]
        return Content("  " if is_short else "\n").join(tips)


def _list_abilities(status: ModelStatus, sends_recordings: bool) -> Iterator[str]:
    """Yield what the model can do."""
    if status.can_see:
        yield "sees pictures"
    if status.reads_text:
        yield "reads the text in them" if status.can_see else "reads the text in pictures"
    if status.can_see is False:
        yield "sees nothing else" if status.reads_text else "does not see pictures"
    yield "hears you" if sends_recordings else "gets speech as text"

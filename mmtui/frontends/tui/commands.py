"""What each command does on a screen, whether it is typed, pressed or picked in the palette."""

from asyncio import wrap_future
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mmtui import paths
from mmtui.chat.export import write
from mmtui.chat.notice import Notice
from mmtui.errors import UsageError
from mmtui.frontends.tui.screens.dialogs import ChoiceDialog, TextDialog
from mmtui.frontends.tui.screens.help import HelpScreen
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.screens.picker import Picker
from mmtui.frontends.tui.widgets.chips import Chip

if TYPE_CHECKING:
    from mmtui.frontends.tui.screens.chat import ChatScreen

SYSTEMS_CHOICE = "the system's choice"


class Commands:
    """`do_NAME` for each command; one whose argument is missing asks for it.

    Raises MmtuiError for what can't be done.
    """

    def __init__(self, screen: "ChatScreen") -> None:
        self._screen, self._session = screen, screen.session

    # Attachments

    def do_image(self, path: str) -> None:
        self._attach(path, "image")

    def do_audio(self, path: str) -> None:
        self._attach(path, "audio")

    def do_paste(self, _: str) -> None:
        self._screen.paste()

    def _attach(self, argument: str, kind: Any) -> None:
        if not argument:
            self._ask(Picker(kind), self._screen.attach)
            return
        for path in paths.pasted(argument) or [paths.resolve(argument)]:
            self._screen.attach(path, f"/{kind} {argument}")

    async def do_drop(self, _: str) -> None:
        await self._screen.chips.clear()

    # Speech

    def do_record(self, _: str) -> None:
        self._screen.record()

    def do_transcribe(self, _: str) -> None:
        chips = [chip for chip in self._screen.query(Chip) if chip.attachment.kind == "audio"]
        if not chips:
            raise UsageError("there is no recording here", "F4 makes one")
        staged = [chip for chip in chips if chip in self._screen.chips.query(Chip)]
        self._screen.hear_again((staged or chips)[-1])

    def do_microphone(self, name: str) -> None:
        if name:
            self._session.configure(microphone="" if name == SYSTEMS_CHOICE else name)
        else:
            self._screen.find(self._screen.microphones, self._choose_microphone)

    def _choose_microphone(self, names: list[str]) -> None:
        choices = [(SYSTEMS_CHOICE, ""), *((name, "") for name in names)]
        now = self._session.microphone or SYSTEMS_CHOICE
        self._ask(ChoiceDialog("Microphone", choices, now), self.do_microphone)

    # Answers

    def do_stop(self, _: str) -> None:
        self._screen.stop()

    async def do_retry(self, _: str) -> None:
        self._session.regenerate()
        await self._screen.show_thread()

    async def do_edit(self, text: str) -> None:
        if (question := self._session.conversation.question) is None:
            raise UsageError("nothing was said yet")
        if text:
            await self._screen.edit(question, text)
        else:
            self._screen.ask_edit(question)

    def do_continue(self, _: str) -> None:
        self._session.continue_()

    async def do_branch(self, _: str) -> None:
        self._session.branch()
        await self._screen.show_thread()

    def do_copy(self, what: str) -> None:
        self._screen.copy(self._session.to_copy(what))

    def do_model(self, name: str) -> None:
        if name:
            self._switch(name, f"/model {name}")
        else:
            self._screen.find(_models, self._choose_model)

    def _choose_model(self, found: list[tuple[str, str]]) -> None:
        self._ask(ChoiceDialog("Model", found, self._session.figures.model), self._switch)

    def _switch(self, name: str, typed: str = "") -> None:
        """To another model, once it is certain that there is one of that name."""

        def switch(_: object) -> None:
            self._screen.stop_answer()
            self._session.switch(name)

        self._screen.find(partial(_find_model, name), switch, typed)

    def do_sampling(self, text: str) -> None:
        if text:
            self._session.sample(text)
            self._screen.tell(Notice(self._session.sampling, is_error=False))
        else:
            self._ask(TextDialog("Sampling", self._session.sampling), self.do_sampling)

    def do_system(self, text: str) -> None:
        if text:
            self._session.instruct(text)
        else:
            system = self._session.conversation.system
            dialog = TextDialog("System prompt", system, may_be_empty=True)
            self._ask(dialog, self._session.instruct)

    # Conversations

    async def do_new(self, _: str) -> None:
        await self._screen.keep_draft()
        self._session.begin()
        await self._screen.begin()

    def do_history(self, words: str) -> None:
        self._ask(HistoryScreen(self._session, words), self.do_resume)

    async def do_resume(self, id: str) -> None:
        if id:
            await self._screen.keep_draft()
            found = await wrap_future(self._session.store.find(id))
            await self._screen.begin(self._session.take(*found))
        else:
            self.do_history("")

    def do_rename(self, title: str) -> None:
        if title:
            self._session.rename(title)
        else:
            title = self._session.conversation.title
            self._ask(TextDialog("Title", title), self._session.rename)

    def do_export(self, path: str) -> None:
        if not path:
            title = "Write to a .md, .html or .json file"
            named = f"conversation-{self._session.conversation.id[:6]}.html"
            self._ask(TextDialog(title, named), self.do_export)
            return
        file = paths.resolve(path)
        write(self._session.conversation, file, self._session.file)
        self._screen.tell(Notice(f"written: {file}", is_error=False))

    # The application

    def do_theme(self, name: str) -> None:
        app = self._screen.app
        app.theme = f"textual-{name or ('light' if app.current_theme.dark else 'dark')}"

    def do_help(self, _: str) -> None:
        self._screen.app.push_screen(HelpScreen())

    async def do_quit(self, _: str) -> None:
        await self._screen.app.action_quit()

    def _ask(self, question: Any, then: Callable[[Any], Any]) -> None:
        """`then` gets the answer, unless the user goes back."""

        async def answered(answer: Any) -> None:
            if answer is not None:
                await self._screen.attempt(then, answer)

        self._screen.ask(question, answered)


def _find_model(name: str) -> object:
    """Raises MmtuiError if there is none of that name. Nothing is loaded."""
    from mmtui.pipeline.assets import checkpoint

    return checkpoint.find(name)


def _models() -> list[tuple[str, str]]:
    from mmtui.pipeline.assets.inventory import inventory, summary

    return [(str(entry["name"]), summary(entry)) for entry in inventory()]

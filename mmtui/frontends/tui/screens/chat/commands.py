"""What each command of `mmtui.chat.commands` does on the chat screen."""

from asyncio import wrap_future
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from textual.app import App
from textual.screen import Screen

from mmtui import paths
from mmtui.chat.branches import delete_branch, show_branch
from mmtui.chat.conversation import Attachment, Draft, Kind, Message
from mmtui.chat.export import get_copy_text, write_export
from mmtui.chat.notice import Notice
from mmtui.chat.reply_files import find_reply_files, find_sound
from mmtui.chat.session import Session
from mmtui.errors import UsageError
from mmtui.frontends.tui import themes
from mmtui.frontends.tui.screens.branches import BranchChoice, BranchesScreen
from mmtui.frontends.tui.screens.chat.sending import Sending
from mmtui.frontends.tui.screens.chat.settings import SYSTEM_DEFAULT, Settings
from mmtui.frontends.tui.screens.chat.speech import Speech
from mmtui.frontends.tui.screens.chat.talking import Talking
from mmtui.frontends.tui.screens.chat.view import View
from mmtui.frontends.tui.screens.dialogs import ChoiceDialog, TextDialog
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.screens.picker import Picker
from mmtui.frontends.tui.screenshot import save_screenshot
from mmtui.frontends.tui.widgets.chips import Chips
from mmtui.frontends.tui.widgets.find_bar import FindBar
from mmtui.frontends.tui.widgets.player import Player
from mmtui.frontends.tui.widgets.transcript import Transcript
from mmtui.pipeline.speech.languages import DETECTED, parse_language

_KEEP, _DELETE = "keep", "delete"
_COMMANDS: dict[Kind, str] = {"image": "image", "audio": "audio", "document": "file"}


class Chat(Protocol):
    """What commands use of the chat screen."""

    chips: Chips
    player: Player
    speech: Speech
    talking: Talking
    microphones: Callable[[], list[str]]
    speakers: Callable[[], list[str]]
    sending: Sending
    find_bar: FindBar
    view: View

    @property
    def app(self) -> App[Any]: ...

    async def attempt(self, function: Callable[..., Any], *args: Any, typed: str = "") -> Any: ...
    def run_in_thread(
        self, function: Callable[[], Any], then: Callable[[Any], Any], typed: str = ""
    ) -> object: ...
    def push_dialog(self, dialog: Screen[Any], callback: Callable[[Any], Any]) -> None: ...
    def show_notice(self, notice: Notice) -> None: ...
    def show_status(self) -> None: ...

    async def show_thread(self) -> None: ...
    async def show_conversation(self, draft: Draft = ...) -> None: ...
    async def save_draft(self) -> None: ...

    def attach(self, path: Path, typed: str = "", *, pages_as_pictures: bool = False) -> object: ...
    def paste(self) -> None: ...
    def play(self, file: Path) -> None: ...
    def save_files(self, files: tuple[Attachment, ...], folder: Path) -> None: ...
    def record(self) -> None: ...
    def stop(self) -> None: ...
    def stop_answer(self) -> None: ...
    def show_continued(self) -> None: ...
    def copy(self, text: str) -> None: ...


class Commands:
    """A method `do_NAME` for each command.

    Each takes the text that follows the name of the command, "" if it was run by its key; where
    the argument is needed, a dialog asks for it. They raise MmtuiError.
    """

    def __init__(self, chat: Chat, session: Session) -> None:
        self._chat, self._session = chat, session
        self._settings = Settings(chat, session, self._ask, self._use_setting)

    # Attachments

    def do_image(self, path: str) -> None:
        self._attach(path, "image")

    def do_file(self, path: str) -> None:
        self._attach(path, "document")

    def do_audio(self, path: str) -> None:
        self._attach(path, "audio")

    def do_paste(self, _: str) -> None:
        self._chat.paste()

    def _attach(self, argument: str, kind: Kind) -> None:
        if not argument:
            self._ask(Picker(kind), self._attach_chosen)
            return
        for path in paths.find_pasted(argument) or [paths.resolve(argument)]:
            typed = f"/{_COMMANDS[kind]} {argument}"
            self._chat.attach(path, typed, pages_as_pictures=kind == "image")

    def _attach_chosen(self, files: list[Path]) -> None:
        for file in files:
            self._chat.attach(file)

    def do_play(self, _: str) -> None:
        staged = self._chat.chips.attachments
        self._chat.play(self._session.file(find_sound(staged, self._session.conversation)))

    def do_save(self, folder: str) -> None:
        files = find_reply_files(self._session.conversation)
        self._chat.save_files(files, paths.resolve(folder or "."))

    async def do_drop(self, _: str) -> None:
        await self._chat.chips.remove_all()

    # Speech

    def do_record(self, _: str) -> None:
        self._chat.record()

    def do_transcribe(self, _: str) -> None:
        self._chat.speech.transcribe_last()

    def do_microphone(self, name: str) -> None:
        if name:
            self._session.configure(microphone="" if name == SYSTEM_DEFAULT else name)
        else:
            self._chat.run_in_thread(self._chat.microphones, self._choose_microphone)

    def _choose_microphone(self, names: list[str]) -> None:
        choices = [(SYSTEM_DEFAULT, ""), *((name, "") for name in names)]
        current = self._session.microphone or SYSTEM_DEFAULT
        self._ask(ChoiceDialog("Microphone", choices, current), self.do_microphone)

    def do_talk(self, _: str) -> None:
        talking = self._chat.talking
        if talking.is_on:
            talking.stop()
        else:
            talking.start()

    def do_speak(self, mode: str) -> None:
        player = self._chat.player
        if mode in ("always", "never"):
            player.require_terminal()
            self._session.configure(speak=mode)
            if mode == "never":
                player.stop()
            player.update_settings()
            player.follow(self._session.reply)
            text = f"answers are {'always' if mode == 'always' else 'not'} read aloud"
            self._chat.show_notice(Notice(text, is_error=False))
        elif player.reading and not mode:
            player.toggle_pause()
        else:
            player.read(self._session.reply or self._session.conversation.last_reply())

    def do_voice(self, text: str) -> None:
        if text:
            self._session.config = self._session.config.with_voice(text)
            self._chat.player.update_settings()
            self._chat.show_notice(Notice(self._session.config.voice_settings, is_error=False))
        else:
            self._ask(TextDialog("Voice", self._session.config.voice_settings), self.do_voice)

    def do_speaker(self, name: str) -> None:
        if name:
            self._session.configure(speaker="" if name == SYSTEM_DEFAULT else name)
        else:
            self._chat.run_in_thread(self._chat.speakers, self._choose_speaker)

    def _choose_speaker(self, names: list[str]) -> None:
        choices = [(SYSTEM_DEFAULT, ""), *((name, "") for name in names)]
        current = self._session.config.speaker or SYSTEM_DEFAULT
        self._ask(ChoiceDialog("Speaker", choices, current), self.do_speaker)

    # Answers

    def do_stop(self, _: str) -> None:
        self._chat.stop()

    async def do_retry(self, _: str) -> None:
        self._session.regenerate()
        await self._chat.show_thread()

    async def do_edit(self, text: str) -> None:
        if (question := self._session.conversation.question) is None:
            raise UsageError("the conversation has no message yet")
        if text:
            await self._edit(question, text)
        else:
            self.open_editor(question)

    def open_editor(self, message: Message) -> None:
        """Open a dialog that edits a message.

        Raises:
            UsageError: It is not one of the user, or an answer is being written.
        """
        if message.role != "user":
            raise UsageError("answers can't be edited", "F5 regenerates the last one")
        self._session.require_idle()

        async def edit(text: str | None) -> None:
            if text:
                await self._chat.attempt(self._edit, message, text, typed=text)

        self._chat.push_dialog(TextDialog("Edit message", message.text), edit)

    async def _edit(self, message: Message, text: str) -> None:
        """Replace a message by a new version, which is answered."""
        self._session.edit(message.id, text)
        await self._session.store.wait_until_written()
        await self._chat.show_thread()

    def do_continue(self, _: str) -> None:
        self._session.continue_()
        self._chat.show_continued()

    async def do_branch(self, _: str) -> None:
        self._session.show_next_version()
        await self._chat.show_thread()

    def do_tree(self, _: str) -> None:
        self._ask(BranchesScreen(self._session.conversation), self._act_on_branch)

    async def _act_on_branch(self, choice: BranchChoice) -> None:
        conversation, id = self._session.conversation, choice.message.id
        if choice.is_deleted:
            after = len(conversation.list_after(id))
            title = f"Delete this message{f' and {after} after it' if after else ''} for good?"
            choices = [(_KEEP, ""), (_DELETE, "")]
            self._ask(ChoiceDialog(title, choices), partial(self._delete_branch, id))
        else:
            show_branch(self._session, id)
            await self._chat.show_thread()
            view = await self._chat.app.screen.query_one(Transcript).reveal(choice.message)
            view.focus()

    async def _delete_branch(self, id: str, answer: str) -> None:
        if answer == _DELETE:
            delete_branch(self._session, id)
            await self._chat.show_thread()
        self.do_tree("")

    async def do_queue(self, what: str) -> None:
        sending = self._chat.sending
        if what == "send":
            await sending.send_queue()
        elif what == "clear":
            await sending.clear_queue()
        else:
            await sending.take_back()

    def do_copy(self, what: str) -> None:
        self._chat.copy(get_copy_text(self._session.conversation, what))

    def do_model(self, name: str) -> None:
        if name:
            self._switch_model(name, f"/model {name}")
        else:
            self._chat.run_in_thread(self._session.list_models, self._choose_model)

    def _choose_model(self, models: list[tuple[str, str]]) -> None:
        self._ask(ChoiceDialog("Model", models, self._session.status.model), self._switch_model)

    def _switch_model(self, name: str, typed: str = "") -> None:
        """Switch to another model, unless none of that name is found."""

        def switch(_: object) -> None:
            self._chat.stop_answer()
            self._session.switch_model(name)

        self._chat.run_in_thread(partial(self._session.find_model, name), switch, typed)

    def do_sampling(self, text: str) -> None:
        if text:
            self._session.set_sampling(text)
            self._chat.show_notice(Notice(self._session.config.sampling, is_error=False))
        else:
            self._ask(TextDialog("Sampling", self._session.config.sampling), self.do_sampling)

    def do_language(self, language: str) -> None:
        if language:
            self._session.configure(language=parse_language(language) or DETECTED)
            text = f"language of recordings: {self._session.config.language}"
            self._chat.show_notice(Notice(text, is_error=False))
        else:
            current = self._session.config.language
            self._ask(TextDialog("Language of recordings", current), self.do_language)

    def do_system(self, text: str) -> None:
        if text:
            self._session.set_system_prompt(text)
        else:
            system = self._session.conversation.system
            dialog = TextDialog("System prompt", system, may_be_empty=True)
            self._ask(dialog, self._session.set_system_prompt)

    # Conversations

    def do_sidebar(self, _: str) -> None:
        self._chat.view.toggle_sidebar()

    async def do_new(self, _: str) -> None:
        await self._chat.save_draft()
        self._session.start_conversation()
        await self._chat.show_conversation()

    async def do_history(self, words: str) -> None:
        await self._chat.save_draft()  # the list marks conversations with drafts
        self._ask(HistoryScreen(self._session, words), self.do_resume)

    async def do_resume(self, id: str) -> None:
        if id:
            await self._chat.save_draft()
            found = await wrap_future(self._session.store.find(id))
            await self._chat.show_conversation(self._session.open_conversation(*found))
        else:
            await self.do_history("")

    def do_find(self, words: str) -> None:
        self._chat.find_bar.open(words)

    def do_rename(self, title: str) -> None:
        if title:
            self._session.rename(title)
        else:
            title = self._session.conversation.title
            self._ask(TextDialog("Title", title), self._session.rename)

    def do_export(self, path: str) -> None:
        if not path:
            name = f"conversation-{self._session.conversation.id[:6]}.html"
            dialog = TextDialog("Export to a .md, .html or .json file", name)
            self._ask(dialog, self.do_export)
            return
        file = paths.resolve(path)
        write_export(self._session.conversation, file, self._session.file)
        self._chat.show_notice(Notice(f"exported to {file}", is_error=False))

    # Application

    def do_theme(self, name: str) -> None:
        app = self._chat.app
        app.theme = themes.get_name(name or ("light" if app.current_theme.dark else "dark"))

    def do_details(self, mode: str) -> None:
        self._chat.view.show_details(mode)

    def do_settings(self, _: str) -> None:
        self._settings.open()

    def _use_setting(self, key: str, value: str) -> None:
        """Use the new value of a setting for the rest of the chat."""
        self.do_voice(f"voice={value}") if key == "voice" else getattr(self, f"do_{key}")(value)

    def do_screenshot(self, path: str) -> None:
        file = paths.resolve(path or f"mmtui-{datetime.now():%Y-%m-%d-%H%M%S}.svg")
        save_screenshot(self._chat.app, file)
        self._chat.show_notice(Notice(f"screenshot saved as {file.absolute()}", is_error=False))

    async def do_help(self, _: str) -> None:
        await self._chat.app.run_action("show_help")

    async def do_quit(self, _: str) -> None:
        await self._chat.app.action_quit()

    def _ask(self, dialog: Screen[Any], then: Callable[[Any], Any]) -> None:
        """Open a dialog; `attempt` a callback with its result, unless the dialog is dismissed."""

        async def act(result: Any) -> None:
            if result is None:  # the dialog may have changed the history
                self._chat.show_status()
            else:
                await self._chat.attempt(then, result)

        self._chat.push_dialog(dialog, act)

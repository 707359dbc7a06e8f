"""The Textual app: it owns the session and the chat screen, and handles input and signals."""

import asyncio
import os
import signal
import sys
import threading
from asyncio import wrap_future
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.events import AppBlur, AppFocus, Event, InputEvent, Paste
from textual.screen import Screen
from textual.worker import WorkerFailed

from mmtui.audio.player import Speaker, SystemSpeaker
from mmtui.audio.recorder import Microphone, SystemMicrophone
from mmtui.chat import clipboard, protocol
from mmtui.chat.backend import open_model
from mmtui.chat.commands import COMMANDS
from mmtui.chat.config import Config
from mmtui.chat.conversation import Draft
from mmtui.chat.model_process import ModelPort
from mmtui.chat.notice import Notice
from mmtui.chat.session import Session
from mmtui.compat.textual_hooks import keep_latest_notifications
from mmtui.errors import MmtuiError
from mmtui.frontends.tui import themes
from mmtui.frontends.tui.input_parser import TerminalResponded
from mmtui.frontends.tui.input_queue import InputQueue
from mmtui.frontends.tui.keymap import find_keys, find_problems, list_help, parse_keymap
from mmtui.frontends.tui.keys import format_keys
from mmtui.frontends.tui.messages import ModelEventReceived
from mmtui.frontends.tui.screens.chat.screen import ChatScreen
from mmtui.frontends.tui.screens.help import HelpScreen
from mmtui.frontends.tui.terminal import Terminal, is_closed
from mmtui.pipeline.speech.synthesis import Synthesizer, SynthesizerProcess
from mmtui.text import printable

MAX_NOTIFICATIONS = 3  # shown at once
PURGE_AFTER_S = 60.0
EXIT_TIMEOUT_S = 2.0  # for the handling of earlier input after a signal
TERMINAL_CHECK_S = 2.0


class ChatApp(App[None]):
    """The chat in the terminal.

    Attributes:
        terminal: What the terminal can draw.
        input_queue: Handles input in its order.
        session: The chat in progress.
        tracebacks: Tracebacks of the model's process, if --debug is given.
        unsaved: What the user should know after the end, if not everything could be saved.
    """

    TITLE = "mmtui"
    CSS_PATH = Path(__file__).with_name("app.tcss")

    def __init__(
        self,
        config: Config,
        resume: str | None = None,
        images: tuple[Path, ...] = (),
        terminal: Terminal = Terminal(),  # noqa: B008
        *,
        files: tuple[Path, ...] = (),
        talk: bool = False,
        folder: Path | None = None,
        model: ModelPort | None = None,
        microphone: Microphone | None = None,
        speaker: Speaker | None = None,
        synthesizer: Synthesizer | None = None,
    ) -> None:
        """Create the app.

        Args:
            config: The settings.
            resume: The id of a conversation, "latest", or None for a new conversation.
            images: Pictures to attach to the first message.
            terminal: What the terminal can draw.
            files: Documents and other files to attach to the first message.
            talk: Whether to start with a talk, hands free.
            folder: The folder of the history; None is the user's.
            model: The model; None starts the model of the settings in a process.
            microphone: Records speech; None is the system's microphone.
            speaker: Plays sound; None is the system's speaker.
            synthesizer: Reads answers aloud; None is a process.
        """
        super().__init__()
        themes.register(self)
        self._config, self._resume, self._images = config, resume, images
        self._first_files, self._starts_talk = files, talk
        self.terminal = terminal
        self.input_queue = InputQueue(self, super().on_event)
        self._early_notices: list[Notice] = []
        self.tracebacks: list[str] = []
        self.unsaved: Notice | None = None
        self._chat: ChatScreen | None = None
        self._microphone = microphone or SystemMicrophone()
        self._speaker = speaker or SystemSpeaker()
        self._synthesizer = synthesizer or SynthesizerProcess()
        model = model or open_model(config, self._receive_event)
        self.session = Session.open(model, folder, config, self._show_notice)
        self._early_events: list[protocol.Event] = []  # before there is a screen
        self._event_lock = threading.Lock()
        self._has_input = False  # since the start
        self.session.load()

    async def on_event(self, event: Event) -> None:
        """Queue input, and remove control characters from pastes.

        Textual would apply the styles of all widgets again whenever another window gets the focus,
        which takes seconds in a long conversation.
        """
        if isinstance(event, AppBlur | AppFocus):
            return
        if isinstance(event, Paste):
            # Browsers and some terminals send a carriage return at the end of a line.
            event.text = printable(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if isinstance(event, InputEvent | Paste) and not event.is_forwarded:
            self._has_input = True
            self.input_queue.put(event)
        else:
            await super().on_event(event)

    @on(TerminalResponded)
    def _update_terminal(self, event: TerminalResponded) -> None:
        """Draw the following pictures in the best way that a late response allows."""
        self.terminal = self.terminal.add_responses(event.responses)

    def on_notify(self) -> None:
        """Make room for a notification, before Textual's own handler shows it.

        Problems of the settings, which are found at the start, stay together.
        """
        if self._has_input:
            keep_latest_notifications(self, MAX_NOTIFICATIONS - 1)

    async def on_mount(self) -> None:
        self._handle_signals()
        self.theme = themes.get_name(self._config.theme)
        self.set_keymap(parse_keymap(self._config.keys))
        for problem in find_problems(self._config.keys):
            self._show_notice(Notice(*problem))
        draft, sent, store = Draft(), [], self.session.store
        try:
            if self._resume is None:
                draft = await wrap_future(store.adopt_draft(self.session.conversation))
            else:
                id = None if self._resume == "latest" else self._resume
                draft = self.session.open_conversation(*await wrap_future(store.find(id)))
            sent = await wrap_future(store.recent_prompts())
        except MmtuiError as error:
            self._show_notice(Notice(str(error), error.hint))
        typed = self.terminal.typed
        chat = ChatScreen(
            self.session, self._microphone, self._speaker, self._synthesizer, draft, sent, typed
        )
        self.push_screen(chat)
        with self._event_lock:
            self._chat = chat
            for event in self._early_events:  # before any that another thread posts
                chat.post_message(ModelEventReceived(event))
        self.run_worker(self.input_queue.run())
        for image in self._images:
            attach = partial(self._chat.attach, image, pages_as_pictures=True)
            self._chat.call_after_refresh(attach)
        for file in self._first_files:
            self._chat.call_after_refresh(self._chat.attach, file)
        if self._starts_talk:
            self._chat.call_after_refresh(self._chat.action_command, "talk")
        for notice in self._early_notices:
            self._show_notice(notice)
        self.set_interval(TERMINAL_CHECK_S, self._check_terminal)
        # Not at the end of the chat, because it may be killed each time.
        self.set_timer(PURGE_AFTER_S, store.purge)

    def copy_to_clipboard(self, text: str, notify: Callable[[Notice], None] | None = None) -> None:
        """Copy a text with the terminal and with a program.

        Args:
            text: The text, from which control characters are removed.
            notify: Called with the result.
        """
        text = printable(text)
        super().copy_to_clipboard(text)
        self.copy_with_program(text, notify)

    @work(thread=True)
    def copy_with_program(self, text: str, notify: Callable[[Notice], None] | None) -> None:
        """Copy a text with a program of this machine, unless the chat is shown in a browser."""
        is_copied = not self.is_web and clipboard.copy(text)
        if notify is not None:
            self.call_from_thread(notify, clipboard.copy_notice(is_copied))

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError, RuntimeError):  # Windows; not in the main thread
            loop.add_signal_handler(signal.SIGTERM, self._exit_after_input, signal.SIGTERM)
            loop.add_signal_handler(signal.SIGHUP, self._exit_without_terminal)

    def _exit_after_input(self, number: signal.Signals) -> None:
        """Exit with the code of a signal when the input that arrived before it is handled."""

        async def end() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.input_queue.wait_until_empty(), EXIT_TIMEOUT_S)
            self.exit(return_code=128 + number)

        self.run_worker(end())

    def _check_terminal(self) -> None:
        """Exit if the terminal was closed without a signal; otherwise the app would never end."""
        if not self.is_headless and not self.is_web and is_closed():
            self._exit_without_terminal()

    def _exit_without_terminal(self) -> None:
        """Exit without using the terminal, where a write could fail or block forever."""
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (sys.__stdin__, sys.__stderr__):  # from and to which Textual reads and draws
            if stream is not None:
                os.dup2(null, stream.fileno())
        os.close(null)
        self._exit_after_input(signal.SIGHUP)

    async def on_exit_app(self) -> None:
        """Save the draft before the app exits for any reason."""
        if self._chat is not None:
            await self._chat.save_draft()

    def on_unmount(self) -> None:
        if self._chat is not None:
            self._chat.stop_audio()
        self.unsaved = self.session.close()

    def _fatal_error(self) -> None:
        """Close the app without printing a traceback; the command prints one line."""
        self._close_messages_no_wait()

    @property
    def failure(self) -> BaseException | None:
        """The exception that ended the app; None if the user quit."""
        error = self._exception
        return error.error if isinstance(error, WorkerFailed) else error

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Disable the palette outside of the chat screen, where it would be empty."""
        if action == "command_palette" and not isinstance(self.screen, ChatScreen):
            return False
        return super().check_action(action, parameters)

    def action_help_quit(self) -> None:
        """Stop what is in progress; Textual calls this on Ctrl+C if no text is selected."""
        if self._chat is not None and self._chat.is_busy:
            self._chat.stop()
            self._chat.show_status()
        else:
            quit_keys = find_keys("quit", parse_keymap(self._config.keys))
            text = f"nothing to stop; {quit_keys} quits"
            self._show_notice(Notice(text, is_error=False))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Yield the commands of the palette: those of the chat."""
        if isinstance(screen, ChatScreen):
            for command in COMMANDS:
                run = partial(screen.action_command, command.name)
                title = f"{command.name}: {command.help}"
                yield SystemCommand(title, format_keys(command.keys), run)

    def get_key_display(self, binding: Binding) -> str:
        """Return the key of a binding as hints and help write it."""
        return format_keys(binding.key)

    def action_show_help(self) -> None:
        """Open the help screen."""
        self.push_screen(HelpScreen(list_help(parse_keymap(self._config.keys))))

    def _receive_event(self, event: protocol.Event) -> None:
        """Post an event of the model to the chat screen, from the thread that receives it."""
        if isinstance(event, protocol.Failed | protocol.Died) and event.traceback:
            self.tracebacks.append(event.traceback)
        with self._event_lock:
            if self._chat is None:
                self._early_events.append(event)
                return
        self._chat.post_message(ModelEventReceived(event))

    def _show_notice(self, notice: Notice) -> None:
        if self._chat is None:
            self._early_notices.append(notice)
        else:
            self._chat.call_after_refresh(self._chat.show_notice, notice)

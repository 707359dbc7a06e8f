"""Start a plain chat, and read its lines until the end of stdin or /quit."""

import queue
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from mmtui import paths, signals
from mmtui.audio.player import Speaker, SystemSpeaker
from mmtui.audio.recorder import Microphone, SystemMicrophone
from mmtui.chat import commands
from mmtui.chat.backend import open_model
from mmtui.chat.config import Config
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Event
from mmtui.chat.session import Session
from mmtui.errors import MmtuiError
from mmtui.frontends.plain.chat import PlainChat
from mmtui.frontends.plain.commands import Commands
from mmtui.frontends.plain.console import print_note, print_notice
from mmtui.pipeline.speech.synthesis import SynthesizerProcess


def run(
    config: Config,
    resume: str | None,
    images: Sequence[Path],
    files: Sequence[Path] = (),
    *,
    talk: bool = False,
) -> None:
    """Chat on stdin and stdout.

    Args:
        config: The settings.
        resume: The id of a conversation, "latest", or None for a new conversation.
        images: Pictures to attach to the first message.
        files: Documents and other files to attach to it.
        talk: Whether to start with a talk, hands free.
    """
    events: queue.Queue[Event] = queue.Queue()
    model = open_model(config, events.put)
    session = Session.open(model, None, config, print_notice)
    if sys.stdin.isatty():  # otherwise the first question arrives at once, if there is one
        session.load()
    signals.exit_on_signals()
    speaker = SystemSpeaker()
    chat = PlainChat(session, events, speaker, SynthesizerProcess())
    try:
        chat.aloud.prepare()
        if resume is not None:
            chat.load_draft(session.resume(None if resume == "latest" else resume))
        for image in images:
            chat.attach(image, pages_as_pictures=True)
        for file in files:
            chat.attach(file)
        InputLoop(chat, SystemMicrophone(), speaker).run(talk=talk)
    finally:
        signals.ignore_signals()
        chat.aloud.close()
        if (unsaved := session.close()) is not None:
            print_notice(unsaved)


class InputLoop:
    """Reads lines, and runs each as a command, attaches the files it names, or sends it."""

    def __init__(self, chat: PlainChat, microphone: Microphone, speaker: Speaker) -> None:
        self._chat = chat
        self._stdin = chat.stdin
        self._commands = Commands(chat, microphone, speaker, self._stdin)

    def run(self, *, talk: bool = False) -> None:
        """Chat until stdin ends or a line is /quit.

        Args:
            talk: Whether to start with a talk, hands free.

        Raises:
            KeyboardInterrupt: Ctrl+C was pressed while no answer was being written.
            InputError: stdin is not text.
        """
        self._chat.print_thread()
        lines = self._read_lines()
        for line in chain(["/talk\n"], lines) if talk else lines:
            try:
                if not self._handle_line(line.rstrip("\r\n")):
                    return
            except MmtuiError as error:
                print_notice(Notice(str(error), error.hint))
                print_note(f"not processed: {line.strip()}")

    def _handle_line(self, line: str) -> bool:
        """Act on a line, and return whether to read another one."""
        self._chat.handle_pending_events()
        if files := paths.find_dropped(line):
            for file in files:
                self._chat.attach(file)
        elif parsed := commands.parse(line):
            command, argument = parsed
            if command.name == "quit":
                return False
            self._commands.run(command, argument)
        elif line.strip() or self._chat.has_message:
            self._chat.send(line.strip())
        return True

    def _read_lines(self) -> Iterator[str]:
        while line := self._read_line():
            yield line

    def _read_line(self) -> str | None:
        """Read a line; in a terminal, show a prompt and allow editing."""
        if not sys.stdin.isatty():
            return self._stdin.read()
        try:
            if sys.stdout.isatty() and not self._stdin.is_reading:
                return input("> ") + "\n"
            print("> ", end="", file=sys.stderr, flush=True)
            if line := self._stdin.read():
                return line
        except EOFError:
            pass
        print(file=sys.stderr)  # ends the line of the prompt
        return None

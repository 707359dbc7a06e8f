"""The chat line by line: for screen readers, dumb terminals and pipes.

Answers go to stdout, all else to stderr. Each line of stdin is a message, a command or a path.
"""

import asyncio
import base64
import math
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui import paths, signals
from mmtui.audio.recorder import LIMIT_S, Microphone, Recording, SystemMicrophone
from mmtui.chat import attachments, clipboard, commands
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Draft
from mmtui.chat.export import text_to_copy, write
from mmtui.chat.model_process import ModelProcess
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Died, Event, Failed, Progress
from mmtui.chat.session import Session
from mmtui.errors import MissingError, MmtuiError, NoSpeechError, UsageError
from mmtui.frontends.stdin import Lines
from mmtui.pipeline import input_files
from mmtui.text import one_line, printable

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip

TICK_S = 0.1  # how often Ctrl-C and a full recording are looked at


def chat(config: Config, resume: str | None, images: list[Path]) -> None:
    """Chat on stdin and stdout. `resume`: an id, "latest", or None for a new conversation."""
    events: queue.Queue[Event] = queue.Queue()
    process = ModelProcess(config.model, events.put, config.engine)
    session = Session.open(process, None, config, tell)
    signals.exit_when_asked()
    try:
        plain = Plain(session, SystemMicrophone(), events)
        if resume is not None:
            plain.take(session.resume(None if resume == "latest" else resume))
        for image in images:
            plain.attach(image)
        plain.run()
    finally:
        signals.finish_undisturbed()
        if (unsaved := session.close()) is not None:
            tell(unsaved)


class Plain:
    """Reads lines until their end or /quit."""

    def __init__(
        self, session: Session, microphone: Microphone, events: "queue.Queue[Event]"
    ) -> None:
        self._session, self._microphones, self._events = session, microphone, events
        self._staged: list[Attachment] = []
        self._stdin = Lines()
        self._step = ""

    def run(self) -> None:
        """Chat until stdin ends, or a line says /quit.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed where no answer was being written.
            InputError: What comes on stdin is no text.
        """
        self._print_thread()
        for line in self._lines():
            try:
                if self._handle(line.rstrip("\r\n")):
                    return
            except MmtuiError as error:
                tell(Notice(str(error), error.hint))
                _note(f"not done: {line.strip()}")

    def attach(self, path: Path) -> None:
        """Raises InputError for a file that is no picture and no recording."""
        self._stage(attachments.load(path))

    def take(self, draft: Draft) -> None:
        """What was staged goes with the next message; what was typed is only told."""
        self._staged.clear()
        for attachment in draft.attachments:
            self._put(attachment)
        if draft.text:
            _note(f"not sent yet: {draft.text}")

    def _stage(self, loaded: attachments.Loaded) -> None:
        attachment = self._session.store_attachment(loaded)
        if loaded.clip is not None:
            attachment = attachment.with_transcript(self._hear(loaded.clip) or "")
        self._put(attachment)

    def _put(self, attachment: Attachment) -> None:
        self._staged.append(attachment)
        _note(f"attached: {attachment.name}, {attachment.detail}")

    def _handle(self, line: str) -> bool:
        """Whether that was all."""
        while self._next(0):  # what the model said since the last line
            pass
        if files := paths.dropped(line):
            for file in files:
                self.attach(file)
        elif parsed := commands.parse(line):
            command, argument = parsed
            if command.name == "quit":
                return True
            self._do(command, argument)
        elif line.strip() or self._spoken:
            self._say(line.strip())
        return False

    @property
    def _spoken(self) -> list[str]:
        return [file.transcript for file in self._staged if file.transcript]

    def _say(self, text: str) -> None:
        paths.refuse_web_address(text)
        for file in paths.mentioned(text):
            self.attach(file)
        said = [*self._spoken, text] if text else self._spoken
        self._session.send("\n".join(said), tuple(self._staged))
        asyncio.run(self._session.store.wait_until_written())
        self._drop("")
        self._follow()

    def _do(self, command: commands.Command, argument: str) -> None:
        command.require(argument)
        getattr(self, f"_{command.name}")(argument)

    def _image(self, argument: str) -> None:
        for path in paths.pasted(argument) or [paths.resolve(argument)]:
            self.attach(path)

    _audio = _image

    def _paste(self, _: str) -> None:
        for loaded in clipboard.load():
            self._stage(loaded)

    def _record(self, _: str) -> None:
        """Ctrl-C throws it away, as Esc does on a screen."""
        recording = self._microphones.record(self._session.microphone)
        with _ctrl_c() as was_pressed:
            self._await_end(recording, was_pressed)
            clip = recording.finish()
        if was_pressed():
            _note("thrown away")
            return
        if recording.error is not None:
            tell(Notice(str(recording.error), recording.error.hint))
        if len(clip):
            self._put(self._session.store_clip(clip, self._hear(clip) or ""))

    def _await_end(self, recording: Recording, was_pressed: Callable[[], bool]) -> None:
        """Until Enter, Ctrl-C, its limit or an error. A line with words is the next one."""
        is_counted, shown, line = sys.stderr.isatty(), -1, None
        if not is_counted:
            _note(f"recording, Enter ends it, {LIMIT_S:.0f} s at the most")
        while not (recording.is_full or recording.error or was_pressed() or line is not None):
            left = math.ceil(LIMIT_S - recording.seconds)
            if is_counted and left != shown:
                text = f"\rrecording, Enter ends it, {left:2} s left "
                print(text, end="", file=sys.stderr, flush=True)
                shown = left
            line = self._stdin.read(TICK_S)
        if is_counted and not (line and sys.stdin.isatty()):  # which shows the Enter itself
            print(file=sys.stderr)
        if line and line.strip():
            self._stdin.give_back(line)

    def _transcribe(self, _: str) -> None:
        for at, file in reversed(list(enumerate(self._staged))):
            if file.kind == "audio":
                if (heard := self._hear_again(file)) is not None:
                    self._staged[at] = file.with_transcript(heard)
                return
        message, file = self._session.conversation.last_recording()
        if (heard := self._hear_again(file)) is not None:
            self._session.update_transcript(message, file, heard)

    def _hear_again(self, file: Attachment) -> str | None:
        return self._hear(input_files.read_clip(self._session.file(file)))

    def _drop(self, _: str) -> None:
        self._staged.clear()
        self._session.save_draft(Draft())  # of which it may have come

    def _retry(self, _: str) -> None:
        self._session.regenerate()
        self._follow()

    def _edit(self, argument: str) -> None:
        question = self._session.conversation.question
        if question is None:
            raise UsageError("the conversation has no message yet")
        self._session.edit(question.id, argument)
        self._follow()

    def _continue(self, _: str) -> None:
        self._session.continue_()
        self._follow()

    def _stop(self, _: str) -> None:
        _note("Ctrl-C stops an answer, and throws a recording away")

    def _copy(self, argument: str) -> None:
        text = text_to_copy(self._session.conversation, argument)
        is_copied = clipboard.copy(text)
        if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            encoded = base64.b64encode(text.encode()).decode()
            print(f"\x1b]52;c;{encoded}\a", end="", flush=True)  # as the chat on a screen does
        elif not is_copied:
            raise MissingError(
                "there is no clipboard that mmtui can reach", "/export writes a file"
            )
        tell(Notice(*clipboard.outcome(is_copied), is_error=False))

    def _new(self, _: str) -> None:
        self._session.start_conversation()
        self._staged.clear()

    def _history(self, argument: str) -> None:
        for found in self._session.store.search(argument).result():
            snippet = f"  … {found.snippet}" if found.snippet else ""
            when = found.updated.astimezone()
            _note(f"{found.id[:8]}  {when:%Y-%m-%d %H:%M}  {found.title}{snippet}")

    def _resume(self, argument: str) -> None:
        self.take(self._session.resume(argument))
        self._print_thread()

    def _rename(self, argument: str) -> None:
        self._session.rename(argument)

    def _export(self, argument: str) -> None:
        file = paths.resolve(argument)
        write(self._session.conversation, file, self._session.file)
        _note(f"exported to {file}")

    def _system(self, argument: str) -> None:
        self._session.set_system_prompt(argument)

    def _model(self, argument: str) -> None:
        if not argument:
            from mmtui.pipeline.assets.inventory import inventory, summary

            for known in inventory():
                _note(f"{known['name']:24} {summary(known)}")
        else:
            from mmtui.pipeline.assets import checkpoint

            checkpoint.find(argument)  # before the one that works is given up
            self._session.switch_model(argument)

    def _sampling(self, argument: str) -> None:
        self._session.set_sampling(argument)
        _note(self._session.sampling)

    def _theme(self, _: str) -> None:
        _note("the colours are the terminal's own")

    def _microphone(self, argument: str) -> None:
        if argument:
            self._session.configure(microphone=argument)
        for name in self._microphones.devices():
            _note(f"{'*' if name == self._session.microphone else ' '} {name}")

    def _branch(self, _: str) -> None:
        self._session.show_next_version()
        self._print_thread()

    def _help(self, _: str) -> None:
        _note(commands.ABOUT)
        for known in commands.COMMANDS:
            _note(f"/{known.name} {known.argument}".ljust(24) + known.help)

    def _follow(self) -> None:
        """Print the answer as it is generated. Ctrl-C stops it and keeps the text so far."""
        answer = self._session.reply
        assert answer is not None
        shown = len(answer.text)
        with _ctrl_c() as was_pressed:
            while self._session.is_answering:
                if was_pressed():
                    self._session.stop()
                self._next(TICK_S)
                print(printable(answer.text[shown:]), end="", flush=True)
                shown = len(answer.text)
        print(flush=True)
        if answer.state == "stopped":
            _note("stopped; /continue goes on")

    def _hear(self, clip: "Clip") -> str | None:
        """None where it could not be heard, which was told then."""
        heard: list[str | None] = []
        self._session.transcribe(clip, heard.append)
        while not heard:
            self._next(TICK_S)
        if heard[0] == "":
            raise NoSpeechError
        if heard[0] is not None:
            _note(f"heard: {heard[0]}")
        return heard[0]

    def _next(self, patience_s: float) -> bool:
        """Have the session hear the model's next event; False if none comes in time."""
        try:
            event = self._events.get(timeout=patience_s)
        except queue.Empty:
            return False
        if isinstance(event, Failed | Died) and event.traceback:
            print(printable(event.traceback), file=sys.stderr, flush=True)
        if (refused := self._session.handle_event(event)) is not None:
            self.take(refused)
        if isinstance(event, Progress) and event.step != self._step:
            self._step = event.step
            _note(f"{event.step} ...")
        return True

    def _print_thread(self) -> None:
        """Print the earlier messages of a resumed conversation."""
        for message in self._session.conversation.thread:
            for file in message.attachments:
                _note(f"[{file.name}, {file.detail}]")
            if message.role == "user":
                _note(f"> {printable(message.text)}")
            else:
                print(printable(message.text), flush=True)

    def _lines(self) -> Iterator[str]:
        while line := self._line():
            yield line

    def _line(self) -> str | None:
        """Read a line; in a terminal, show a prompt and allow editing."""
        if not sys.stdin.isatty():
            return self._stdin.read()
        try:
            if sys.stdout.isatty() and not self._stdin.is_awaited:
                return input("> ") + "\n"
            print("> ", end="", file=sys.stderr, flush=True)
            if line := self._stdin.read():
                return line
        except EOFError:
            pass
        print(file=sys.stderr)
        return None


def tell(notice: Notice) -> None:
    print(notice.labelled, file=sys.stderr, flush=True)


def _note(text: str) -> None:
    print("\n".join(one_line(line) for line in text.split("\n")), file=sys.stderr, flush=True)


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Whether it was pressed. What it asks for is done when nothing else is half done."""
    pressed = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)

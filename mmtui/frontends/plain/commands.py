"""What each command of `mmtui.chat.commands` does in a plain chat."""

import base64
import os
import sys

from mmtui import paths
from mmtui.audio.player import Speaker
from mmtui.audio.recorder import Microphone
from mmtui.chat import clipboard
from mmtui.chat.branches import list_tree
from mmtui.chat.commands import ABOUT, COMMANDS, Command
from mmtui.chat.config import get_path
from mmtui.chat.config_file import save_settings
from mmtui.chat.conversation import Attachment
from mmtui.chat.export import get_copy_text, write_export
from mmtui.chat.finding import find_hits
from mmtui.chat.history.search import fold, make_snippet
from mmtui.chat.notice import Notice
from mmtui.chat.reply_files import find_reply_files, find_sound, save_attachments
from mmtui.errors import MissingError, UsageError
from mmtui.frontends.plain.chat import PlainChat
from mmtui.frontends.plain.console import catch_interrupts, print_note, print_notice
from mmtui.frontends.plain.recording import wait_for_end
from mmtui.frontends.plain.talking import talk
from mmtui.frontends.stdin import LineReader
from mmtui.pipeline import input_files
from mmtui.pipeline.speech.languages import DETECTED, parse_language

STOP_KEYS = "Ctrl+C stops an answer or a recording; Ctrl+C or Enter stops reading aloud"


class Commands:
    """A method `do_NAME` for each command except quit.

    Each takes the text that follows the name of the command, "" if there is none. They raise
    MmtuiError.
    """

    def __init__(
        self, chat: PlainChat, microphone: Microphone, speaker: Speaker, stdin: LineReader
    ) -> None:
        self._chat, self._session = chat, chat.session
        self._microphone, self._speaker, self._stdin = microphone, speaker, stdin

    def run(self, command: Command, argument: str) -> None:
        """Run a command.

        Raises:
            MmtuiError: An argument is missing, or the command failed.
        """
        command.require_argument(argument)
        getattr(self, f"do_{command.name}")(argument)

    # Attachments

    def do_image(self, argument: str) -> None:
        for path in paths.find_pasted(argument) or [paths.resolve(argument)]:
            self._chat.attach(path, pages_as_pictures=True)

    def do_file(self, argument: str) -> None:
        for path in paths.find_pasted(argument) or [paths.resolve(argument)]:
            self._chat.attach(path)

    do_audio = do_file

    def do_paste(self, _: str) -> None:
        for loaded in clipboard.load():
            self._chat.attach_loaded(loaded)

    def do_save(self, folder: str) -> None:
        files = find_reply_files(self._session.conversation)
        saved = save_attachments(files, self._session.file, paths.resolve(folder or "."))
        for file in saved:
            print_note(f"saved as {file}")

    def do_play(self, _: str) -> None:
        self._chat.play(find_sound(self._chat.staged, self._session.conversation))

    def do_drop(self, _: str) -> None:
        self._chat.unstage_all()

    # Speech

    def do_record(self, _: str) -> None:
        recording = self._microphone.record(self._session.microphone)
        self._session.load_speech()
        with catch_interrupts() as is_interrupted:
            wait_for_end(recording, self._stdin, is_interrupted)
            clip = recording.finish()
        if is_interrupted():
            print_note("recording discarded")
            return
        if recording.error is not None:
            print_notice(Notice(str(recording.error), recording.error.hint))
        if len(clip):
            sends_recordings = self._session.config.sends_recordings
            transcript = None if sends_recordings else self._chat.transcribe(clip)
            self._chat.stage(self._session.store_clip(clip, transcript or ""))

    def do_transcribe(self, _: str) -> None:
        staged = self._chat.staged
        for index, file in reversed(list(enumerate(staged))):
            if file.kind == "audio":
                if (transcript := self._transcribe_again(file)) is not None:
                    staged[index] = file.with_transcript(transcript)
                return
        message, file = self._session.conversation.last_recording()
        if (transcript := self._transcribe_again(file)) is not None:
            self._session.update_transcript(message, file, transcript)

    def _transcribe_again(self, file: Attachment) -> str | None:
        return self._chat.transcribe(input_files.read_clip(self._session.file(file)))

    def do_microphone(self, name: str) -> None:
        if name:
            self._session.configure(microphone=name)
        for device in self._microphone.list_devices():
            print_note(f"{'*' if device == self._session.microphone else ' '} {device}")

    def do_talk(self, _: str) -> None:
        talk(self._chat, self._microphone, self._stdin)

    def do_speak(self, mode: str) -> None:
        if mode in ("always", "never"):
            self._session.configure(speak=mode)
            self._chat.aloud.prepare()
            print_note(f"answers are {'always' if mode == 'always' else 'not'} read aloud")
        else:
            self._chat.read_aloud(self._session.conversation.last_reply())

    def do_voice(self, text: str) -> None:
        self._session.config = self._session.config.with_voice(text)
        print_note(self._session.config.voice_settings)

    def do_speaker(self, name: str) -> None:
        if name:
            self._session.configure(speaker=name)
        for device in self._speaker.list_devices():
            print_note(f"{'*' if device == self._session.config.speaker else ' '} {device}")

    # Answers

    def do_stop(self, _: str) -> None:
        print_note(STOP_KEYS)

    def do_retry(self, _: str) -> None:
        self._session.regenerate()
        self._chat.print_reply()

    def do_edit(self, text: str) -> None:
        question = self._session.conversation.question
        if question is None:
            raise UsageError("the conversation has no message yet")
        self._session.edit(question.id, text)
        self._chat.print_reply()

    def do_continue(self, _: str) -> None:
        self._session.continue_()
        self._chat.print_reply()

    def do_branch(self, _: str) -> None:
        self._session.show_next_version()
        self._chat.print_thread()

    def do_tree(self, _: str) -> None:
        for row in list_tree(self._session.conversation):
            print_note(f"{'*' if row.is_shown else ' '} {'  ' * row.depth}{row.label}")

    def do_queue(self, _: str) -> None:
        print_note("no message waits here; lines that are typed early are answered in their order")

    def do_copy(self, what: str) -> None:
        text = get_copy_text(self._session.conversation, what)
        is_copied = clipboard.copy(text)
        if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            encoded = base64.b64encode(text.encode()).decode()
            print(
                f"\x1b]52;c;{encoded}\a", end="", flush=True
            )  # asks the terminal to copy (OSC 52)
        elif not is_copied:
            raise MissingError("no clipboard is available", "/export PATH writes a file")
        print_notice(clipboard.copy_notice(is_copied))

    def do_model(self, name: str) -> None:
        if name:
            self._session.find_model(name)  # raises before the current model is unloaded
            self._session.switch_model(name)
        else:
            for model, summary in self._session.list_models():
                print_note(f"{model:24} {summary}".rstrip())

    def do_sampling(self, settings: str) -> None:
        self._session.set_sampling(settings)
        print_note(self._session.config.sampling)

    def do_language(self, language: str) -> None:
        self._session.configure(language=parse_language(language) or DETECTED)
        print_note(f"language of recordings: {self._session.config.language}")

    def do_system(self, text: str) -> None:
        self._session.set_system_prompt(text)

    # Conversations

    def do_new(self, _: str) -> None:
        self._session.start_conversation()
        self._chat.staged.clear()

    def do_history(self, words: str) -> None:
        for found in self._session.store.search(words).result():
            snippet = f"  … {found.snippet}" if found.snippet else ""
            when = found.updated.astimezone()
            print_note(f"{found.id[:8]}  {when:%Y-%m-%d %H:%M}  {found.title}{snippet}")

    def do_resume(self, id: str) -> None:
        self._chat.load_draft(self._session.resume(id))
        self._chat.print_thread()

    def do_sidebar(self, _: str) -> None:
        print_note("/history lists the conversations")

    def do_find(self, words: str) -> None:
        thread = self._session.conversation.thread
        found = {hit.message for hit in find_hits(thread, words)}
        if not found:
            print_note(f"{words} is not in this conversation")
        for message in thread:
            if message.id in found:
                speaker = "you" if message.role == "user" else "mmtui"
                print_note(f"{speaker}: {make_snippet(message.text, [fold(words)])}")

    def do_rename(self, title: str) -> None:
        self._session.rename(title)

    def do_export(self, path: str) -> None:
        file = paths.resolve(path)
        write_export(self._session.conversation, file, self._session.file)
        print_note(f"exported to {file}")

    # Application

    def do_theme(self, _: str) -> None:
        print_note("the terminal sets the colours here")

    def do_details(self, mode: str) -> None:
        is_shown = mode == "on" if mode else not self._session.config.details
        self._session.configure(details=is_shown)
        save_settings({"details": is_shown})
        print_note(f"details of messages are {'shown' if is_shown else 'hidden'}")

    def do_settings(self, _: str) -> None:
        print_note(f"the settings are in {get_path()}; `mmtui config edit` explains them")

    def do_screenshot(self, _: str) -> None:
        print_note("/export writes the conversation to a file")

    def do_help(self, _: str) -> None:
        print_note(ABOUT)
        print_note(f"{STOP_KEYS}.")
        for command in COMMANDS:
            print_note(f"/{command.name} {command.argument}".ljust(24) + command.help)

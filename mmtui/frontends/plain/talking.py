"""A talk in the plain chat: what is said is sent, and the answers are read aloud."""

import sys
from typing import TYPE_CHECKING

from mmtui.audio.recorder import Microphone
from mmtui.chat.talk import Talk
from mmtui.errors import NoSpeechError
from mmtui.frontends.plain.chat import POLL_S, PlainChat
from mmtui.frontends.plain.console import catch_interrupts, print_note
from mmtui.frontends.stdin import LineReader

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip


def talk(chat: PlainChat, microphone: Microphone, stdin: LineReader) -> None:
    """Listen and answer until Enter or Ctrl+C is pressed.

    The microphone is muted while an answer is printed and read; Ctrl+C stops it. A line with text
    ends the talk, and is the next message.

    Raises:
        MmtuiError: The microphone has failed.
    """
    session = chat.session
    session.load_speech()
    chat.aloud.reads_all = True
    chat.aloud.prepare()
    talking = _Talking(chat)
    current = Talk(microphone.listen(session.microphone), talking, can_interrupt=False)
    print_note("talk: speak when it listens; Enter or Ctrl+C ends the talk")
    state, is_input_open = "", True
    line: str | None = None
    try:
        with catch_interrupts() as is_interrupted:
            while line is None and not is_interrupted():
                if current.state != state:
                    state = current.state
                    print_note(f"{state} ...")
                current.update()
                if talking.clip is not None:
                    current.listening.set_muted(True)
                    talking.answer()
                    state = ""  # to print it again
                    continue
                chat.handle_event(POLL_S)
                line = stdin.read(0) if is_input_open else None
                if line == "" and not sys.stdin.isatty():  # a talk needs no input
                    line, is_input_open = None, False
    finally:
        current.stop()
        chat.aloud.reads_all = False
    if line and line.strip():
        stdin.unread(line)


class _Talking:
    """What a talk uses of the chat; an answer is complete when `answer` returns."""

    is_thinking = is_speaking = False
    level = 0.0

    def __init__(self, chat: PlainChat) -> None:
        self._chat = chat
        self.clip: Clip | None = None

    def send_speech(self, clip: "Clip") -> None:
        self.clip = clip

    def interrupt(self) -> None:
        """Do nothing: the microphone is muted meanwhile."""

    def stop(self) -> None:
        """Do nothing: the error ends the talk."""

    def answer(self) -> None:
        """Transcribe and send what was said, print the answer, and read it aloud."""
        clip, self.clip = self.clip, None
        assert clip is not None
        sends_recordings = self._chat.session.config.sends_recordings
        try:
            if not sends_recordings:
                print_note("transcribing ...")
            text = "" if sends_recordings else self._chat.transcribe(clip)
        except NoSpeechError:
            return  # a noise; go on listening
        if text is not None:
            self._chat.stage(self._chat.session.store_clip(clip, text))
            self._chat.send("")

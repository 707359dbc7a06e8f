"""Talking hands free: listen, answer aloud, listen again."""

from typing import TYPE_CHECKING, Literal, Protocol

from mmtui.audio.listening import Listening

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

TalkState = Literal["starting", "listening", "hearing", "thinking", "speaking"]


class Chat(Protocol):
    """What a talk uses of the chat."""

    @property
    def is_thinking(self) -> bool:
        """Whether something that was said is transcribed or answered."""
        ...

    @property
    def is_speaking(self) -> bool:
        """Whether an answer is read aloud."""
        ...

    @property
    def level(self) -> float:
        """The peak level of the speech, from 0 to 1."""
        ...

    def send_speech(self, clip: "Clip") -> None:
        """Transcribe what was said, and send it."""
        ...

    def interrupt(self) -> None:
        """Stop the answer and its reading."""
        ...

    def stop(self) -> None:
        """End the talk."""
        ...


class Talk:
    """A conversation by voice.

    By default it is half duplex: the microphone is muted while an answer is written and read, so
    that the speaker is not taken for the user. With `can_interrupt`, speaking over an answer stops
    it, which needs headphones.
    """

    def __init__(self, listening: Listening, chat: Chat, *, can_interrupt: bool) -> None:
        self.listening = listening
        self._chat, self._can_interrupt = chat, can_interrupt

    @property
    def state(self) -> TalkState:
        """What is going on."""
        if self._chat.is_speaking:
            return "speaking"
        if self._chat.is_thinking:
            return "thinking"
        if not self.listening.is_open:
            return "starting"
        return "hearing" if self.listening.is_hearing else "listening"

    @property
    def level(self) -> float:
        """The peak level of the user or of the answer, from 0 to 1."""
        return self._chat.level if self._chat.is_speaking else self.listening.level

    def update(self) -> None:
        """Act on what has been heard; call this several times a second.

        Raises:
            MmtuiError: The microphone has failed; the talk has ended.
        """
        if self.listening.error is not None:
            self._chat.stop()
            raise self.listening.error
        is_busy = self._chat.is_speaking or self._chat.is_thinking
        if is_busy and self._can_interrupt and self.listening.is_hearing:
            self._chat.interrupt()
            return
        self.listening.set_muted(is_busy and not self._can_interrupt)
        if not is_busy and (clip := self.listening.take_utterance()) is not None:
            self._chat.send_speech(clip)

    def stop(self) -> None:
        """Close the microphone."""
        self.listening.stop()

"""Reading aloud with fakes of the synthesizer and the speaker."""

import _thread
import threading
from pathlib import Path

import av
import pytest

from mmtui.audio.narration import FileSink, Narration
from mmtui.errors import MissingError, MmtuiError
from mmtui.pipeline.speech.spoken_text import Sentence


class FakeSynthesizer:
    """Returns the bytes of the text; remembers voices and speeds."""

    def __init__(self, error: MmtuiError | None = None, language: str = "en") -> None:
        self.started = 0
        self.requests: list[tuple[str, str, float]] = []
        self._error, self._language = error, language

    def start(self) -> None:
        self.started += 1

    def synthesize(self, sentence: Sentence, voice: str, speed: float = 1.0) -> bytes:
        self.requests.append((sentence.text, voice, speed))
        if self._error is not None and sentence.language == self._language:
            raise self._error
        return sentence.text.encode()

    def close(self) -> None:
        pass


class FakeSink:
    """Remembers what is written; `written` is set by each sentence."""

    def __init__(self, error: MmtuiError | None = None) -> None:
        self.samples: list[bytes] = []
        self.written = threading.Event()
        self.has_ended = self.is_finished = self.is_stopped = False
        self._error = error

    def write(self, samples: bytes) -> None:
        self.samples.append(samples)
        self.written.set()

    def finish(self) -> None:
        self.is_finished = True

    def wait(self) -> None:
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self.is_stopped = True


def test_a_sentence_is_spoken_while_the_text_still_arrives():
    sink, synthesizer, ends = FakeSink(), FakeSynthesizer(), []
    narration = Narration(synthesizer, lambda: sink, "emma", 1.5, ends.append)
    narration.write("The **first** one. And")
    assert sink.written.wait(60) and not ends
    narration.write(" another")
    narration.finish()
    narration.wait()
    assert sink.samples == [b"The first one.", b"And another."] and sink.is_finished
    assert synthesizer.requests[0] == ("The first one.", "emma", 1.5)
    assert ends == [None]


def test_a_stopped_narration_reads_nothing_more():
    sink = FakeSink()
    narration = Narration(FakeSynthesizer(), lambda: sink)
    narration.write("One. Two")
    assert sink.written.wait(60)
    narration.stop()
    narration.write(". Three.")
    narration.wait()
    assert sink.samples == [b"One."] and sink.is_stopped


def test_ctrl_c_ends_the_waiting_for_a_narration_that_can_be_stopped_then():
    """The signal does not interrupt the system call in which the main thread waits."""

    class Playing(FakeSink):
        def wait(self) -> None:
            _thread.interrupt_main()
            assert stopped.wait(60)

    sink, stopped = Playing(), threading.Event()
    narration = Narration(FakeSynthesizer(), lambda: sink)
    with pytest.raises(KeyboardInterrupt):
        narration.finish()
        narration.wait()
    assert not narration.has_ended
    stopped.set()
    narration.wait()
    assert narration.has_ended


@pytest.mark.parametrize("has_failed", [True, False])
def test_a_failing_speaker_ends_the_narration_before_the_text_ends(has_failed):
    error = MissingError("there is no speaker", "plug one in")
    ends, ended = [], threading.Event()

    def open_sink() -> FakeSink:
        if has_failed:
            raise error
        sink = FakeSink(error)
        sink.has_ended = True
        return sink

    def end(reason: MmtuiError | None) -> None:
        ends.append(reason)
        ended.set()

    narration = Narration(FakeSynthesizer(), open_sink, on_end=end)
    assert ended.wait(60) and ends == [error]
    with pytest.raises(MissingError, match="no speaker"):
        narration.wait()


def test_a_voice_that_is_closed_after_the_stop_does_not_leave_the_sink_open():
    class Closed(FakeSynthesizer):
        def synthesize(self, sentence: Sentence, voice: str, speed: float = 1.0) -> bytes:
            narration.stop()
            raise MissingError("the voice was closed")

    sink, ends = FakeSink(), []
    narration = Narration(Closed(), lambda: sink, on_end=ends.append)
    narration.write("One. Two")
    narration.wait()
    assert sink.is_stopped and sink.is_finished and ends == [None]


def test_a_missing_language_is_reported_and_english_is_still_read():
    sink = FakeSink()
    error = MissingError("German is read aloud by espeak-ng", "install it")
    narration = Narration(FakeSynthesizer(error, "de"), lambda: sink)
    narration.write("That is it. Der Satz ist nicht auf Englisch. The end of the text is this.")
    narration.finish()
    with pytest.raises(MissingError, match="German"):
        narration.wait()
    assert sink.samples == [b"That is it.", b"The end of the text is this."]


def test_a_voice_that_crashes_ends_the_narration():
    sink = FakeSink()
    narration = Narration(FakeSynthesizer(MissingError("the voice has crashed")), lambda: sink)
    narration.write("That is it. And so on.")
    with pytest.raises(MissingError, match="crashed"):
        narration.wait()


def test_speech_is_written_to_a_file(tmp_path: Path):
    file = tmp_path / "speech.flac"
    narration = Narration(FakeSynthesizer(), lambda: FileSink(file))
    narration.write("An even number of bytes. ")
    narration.finish()
    narration.wait()
    with av.open(str(file)) as sound:
        assert sum(frame.samples for frame in sound.decode(audio=0)) == 12


def test_a_file_that_cant_be_written_is_reported(tmp_path: Path):
    narration = Narration(FakeSynthesizer(), lambda: FileSink(tmp_path / "no" / "speech.wav"))
    with pytest.raises(MmtuiError, match="the speech can't be written: No such file"):
        narration.wait()

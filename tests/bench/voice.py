"""How well spoken answers are understood, and how much of the processor they take.

`PYTHONPATH=tests python tests/bench/voice.py [NUMBER]` reads answers aloud, has smol transcribe the
speech, and prints the word error rate, and the CPU time of the voice per second of speech. The
default is all 30 answers. It fails above 8 % or 0.2. CPU times do not depend on other programs.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

import mmtui
from mmtrain.evaluation.speech import whisper_error_rate
from mmtui.pipeline.speech.spoken_text import Sentence, to_sentences
from mmtui.pipeline.speech.synthesis import RATE, SynthesizerProcess

ANSWERS = (Path(__file__).parents[1] / "spoken_answers.md").read_text("utf-8").split("\n====\n")
MAX_WER, MAX_RTF = 0.08, 0.2
MAX_CLIP_S = 14.0  # the first 15 s of a recording are transcribed
PAUSE = bytes(RATE // 4 * 2)


class SpokenAnswers:
    """Reads answers aloud, and measures it.

    Attributes:
        seconds: The duration of the speech.
        cpu_s: The CPU time of the process that synthesizes it, without its start.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._synthesizer = SynthesizerProcess()
        self._synthesizer.synthesize(Sentence("Hello.", "en"), "heart")
        assert self._synthesizer._process
        self._process = psutil.Process(self._synthesizer._process.pid)
        self._start_s = self._measure_cpu()

    @property
    def cpu_s(self) -> float:
        return self._measure_cpu() - self._start_s

    def read(self, markdown: str) -> Iterator[tuple[str, bytes]]:
        """Yield pieces of an answer that can be transcribed: what is said, and its samples."""
        words, samples = "", b""
        for sentence in to_sentences(markdown):
            spoken = self._synthesizer.synthesize(sentence, "heart")
            self.seconds += len(spoken) / 2 / RATE
            if samples and (len(samples) + len(spoken)) / 2 / RATE > MAX_CLIP_S:
                yield words, samples
                words, samples = "", b""
            words, samples = f"{words} {sentence.text}".strip(), samples + spoken + PAUSE
        yield words, samples

    def _measure_cpu(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def close(self) -> None:
        self._synthesizer.close()


def measure(answers: list[str]) -> tuple[float, float]:
    """Return the word error rate, and the CPU time per second of speech."""
    model, voice = mmtui.load("smol", preload=False), SpokenAnswers()
    said: list[str] = []
    heard: list[str] = []
    for number, answer in enumerate(answers, 1):
        for words, samples in voice.read(answer):
            clip = np.frombuffer(samples, "<i2").astype(np.float32) / 32768
            said.append(words)
            heard.append(model.transcribe(mmtui.Sound(clip, RATE)).text)
            print(f"{number:2} said:  {words}\n   heard: {heard[-1]}", flush=True)
    factor = voice.cpu_s / voice.seconds
    voice.close()
    return whisper_error_rate(heard, said) or 0.0, factor


if __name__ == "__main__":
    error_rate, factor = measure(ANSWERS[: int(sys.argv[1]) if sys.argv[1:] else None])
    print(f"word error rate {error_rate:.1%}, CPU seconds per second of speech {factor:.3f}")
    sys.exit(error_rate > MAX_WER or factor > MAX_RTF)

"""What the voice says is understood; `tests/bench/voice.py` measures it on all answers."""

from pathlib import Path

import numpy as np

import mmtui
from mmtrain.evaluation.speech import whisper_error_rate
from mmtui.pipeline.speech.spoken_text import to_sentences
from mmtui.pipeline.speech.synthesis import RATE, SynthesizerProcess

ANSWERS = Path(__file__).parents[2].joinpath("spoken_answers.md").read_text("utf-8")


def test_speech_is_understood_by_the_speech_model(smol):
    model, synthesizer = mmtui.load("smol", preload=False), SynthesizerProcess()
    said, heard = [], []
    for answer in ANSWERS.split("\n====\n")[:3]:
        sentences = to_sentences(answer)
        spoken = b"".join(synthesizer.synthesize(sentence, "heart") for sentence in sentences)
        clip = np.frombuffer(spoken, "<i2").astype(np.float32) / 32768
        said.append(" ".join(sentence.text for sentence in sentences))
        heard.append(model.transcribe(mmtui.Sound(clip, RATE)).text)
    synthesizer.close()
    rate = whisper_error_rate(heard, said)
    assert rate is not None and rate < 0.08, heard

"""The process that synthesizes speech: `python -m mmtui.pipeline.speech.synthesis_worker`.

stdin has a line of JSON for each sentence: {"text", "language", "voice", "speed"}. Each is answered
on stdout by {"bytes": N} and N bytes, which are mono 16-bit samples, or by {"error": ..., "hint":
...}. The process ends with stdin.
"""

import gc
import io
import json
import os
import shutil
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmtui.errors import MissingError
from mmtui.pipeline.speech.languages import LANGUAGES
from mmtui.pipeline.speech.synthesis import RATE
from mmtui.pipeline.speech.voices import DEFAULT_VOICE, ESPEAK_PREFIX

if TYPE_CHECKING:
    from hibari import Hibari

NICENESS = 5  # the model that writes the answer goes first
ESPEAK_WORDS_PER_MINUTE = 175
ESPEAK_TIMEOUT_S = 20.0


def main() -> None:
    """Answer requests until stdin ends."""
    output = sys.stdout.buffer
    gc.disable()  # what is loaded stays
    _load_voice(DEFAULT_VOICE)
    gc.freeze()
    gc.enable()
    if hasattr(os, "nice"):
        os.nice(NICENESS)  # after loading, for which the first sentence waits
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            samples = _synthesize(request)
            output.write(json.dumps({"bytes": len(samples)}).encode() + b"\n" + samples)
        except MissingError as error:
            output.write(json.dumps({"error": str(error), "hint": error.hint}).encode() + b"\n")
        output.flush()


def _synthesize(request: dict[str, Any]) -> bytes:
    text, language, speed = request["text"], request["language"], request["speed"]
    if request["voice"] != ESPEAK_PREFIX and language == "en":
        voice = _load_voice(request["voice"])
        samples = list(voice.stream(text, speed, seed=0))
        return _to_bytes(np.concatenate(samples) if samples else np.zeros(0, np.float32))
    return _run_espeak(text, language, speed)


@cache
def _load_voice(name: str) -> "Hibari":
    """Load a voice of hibari, and its pronunciation.

    Raises:
        MissingError: It is not on this machine.
    """
    try:
        from hibari import Hibari, voices
        from hibari.g2p import G2P
    except ImportError as error:
        raise MissingError(f"hibari can't be imported: {error}", "pip install hibari-tts") from None
    try:
        model = voices.voice_path(name, download_missing=False)
    except FileNotFoundError:
        fetch = f"`hibari --voice {name} Hello -o hello.wav` fetches it (8 MB)"
        raise MissingError(f"the voice {name} is not on this machine", fetch) from None
    # The network and the pronunciation are loaded at the same time.
    with ThreadPoolExecutor(1) as pool:
        pronunciation = pool.submit(G2P, british=voices.VOICES[name]["british"])

        def pronounce(sentence: str) -> str:
            return str(pronunciation.result()(sentence))

        # One thread: a sentence takes 20 ms, and the cores belong to the language model.
        voice = Hibari(voice=name, model=model, threads=1, g2p=pronounce)
    voice.phonemize("Ready.")
    return voice


def _run_espeak(text: str, language: str, speed: float) -> bytes:
    """Synthesize with espeak-ng.

    Raises:
        MissingError: It is not installed, or does not know the language.
    """
    program = shutil.which("espeak-ng") or shutil.which("espeak")
    name = LANGUAGES.get(language, language)
    if program is None:
        raise MissingError(
            f"{name} is read aloud by espeak-ng, which is not installed",
            "install it, as with `apt install espeak-ng`",
        )
    words_per_minute = round(ESPEAK_WORDS_PER_MINUTE * speed)
    command = [program, "-v", language, "-s", str(words_per_minute), "--stdin", "--stdout"]
    try:
        run = subprocess.run(
            command,
            input=text.encode(),
            capture_output=True,
            timeout=ESPEAK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(f"espeak-ng can't be run: {error}", "install it again") from None
    if run.returncode or not run.stdout:
        hint = "`espeak-ng --voices` lists the languages"
        raise MissingError(f"espeak-ng can't read {name} aloud", hint)
    with wave.open(io.BytesIO(run.stdout)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return _resample(samples, file.getframerate())


def _resample(samples: NDArray[np.int16], rate: int) -> bytes:
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    pieces = [*resampler.resample(frame), *resampler.resample(None)]
    return b"".join(piece.to_ndarray().tobytes() for piece in pieces)


def _to_bytes(samples: NDArray[np.float32]) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


if __name__ == "__main__":
    main()

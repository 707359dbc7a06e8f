"""Listening without an end, in the process of the sound device: `device listen [NAME]`.

stdin has lines of JSON: {"mute": true | false}. While it is muted, nothing is heard.

stdout has {"level": ..., "hearing": ...} for each block of the microphone, with the peak level
from 0 to 1 and whether somebody is speaking, and {"bytes": N} before each utterance of N bytes,
which are mono 16-bit samples.
"""

import json
import sys
import threading
from collections.abc import Iterator

import numpy as np

from mmtui.audio.portaudio import fail, send
from mmtui.audio.samples import to_clip
from mmtui.errors import MissingError
from mmtui.pipeline.speech.activity import UtteranceDetector, VoiceActivity


def listen(blocks: Iterator[bytes]) -> None:
    """Report the utterances in a stream of blocks, which are mono 16-bit samples at 16 kHz."""
    try:
        detector = UtteranceDetector(VoiceActivity())
    except MissingError as error:
        fail(str(error), error.hint or "")
    muted = threading.Event()
    threading.Thread(target=_read_commands, args=(muted,), daemon=True).start()
    for block in blocks:
        samples = to_clip(block)
        if muted.is_set():
            detector.reset()
            send({"level": 0.0, "hearing": False})
            continue
        for utterance in detector.feed(samples):
            data = (np.clip(utterance, -1, 1) * 32767).astype("<i2").tobytes()
            send({"bytes": len(data)}, data)
        level = float(np.abs(samples).max(initial=0.0))
        send({"level": round(level, 4), "hearing": detector.is_hearing})


def _read_commands(muted: threading.Event) -> None:
    for line in sys.stdin.buffer:
        (muted.set if json.loads(line)["mute"] else muted.clear)()

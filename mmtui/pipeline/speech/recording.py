"""Recordings that the model hears itself, without a transcript."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip


@dataclass(frozen=True, eq=False)
class Recording:
    """A recording in a prompt.

    Attributes:
        sha256: Identifies the recording.
        clip: Its samples, mono float32 at 16 kHz (samples,).
    """

    sha256: str
    clip: "Clip"


def make_recording(clip: "Clip") -> Recording:
    """Return a recording that its samples identify."""
    return Recording(hashlib.sha256(b"recording" + clip.tobytes()).hexdigest(), clip)

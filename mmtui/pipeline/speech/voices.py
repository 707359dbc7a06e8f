"""The names of the voices that read aloud."""

from mmtui.errors import UsageError

DEFAULT_VOICE = "heart"
# The voices of hibari for English. The first is part of its package.
ENGLISH_VOICES = (DEFAULT_VOICE, "fenrir", "emma", "fable", "kore")
ESPEAK_PREFIX = "espeak:"
MIN_SPEED, MAX_SPEED = 0.5, 2.0


def check_voice(voice: str) -> None:
    """Raise UsageError if there is no voice of this name."""
    if voice not in ENGLISH_VOICES and not voice.startswith(ESPEAK_PREFIX):
        names = ", ".join(ENGLISH_VOICES)
        raise UsageError(
            f"there is no voice {voice!r}", f"choose one of {names}, or espeak:LANGUAGE"
        )

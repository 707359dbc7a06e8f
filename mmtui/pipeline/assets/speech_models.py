"""The speech models that ship: Whisper's base, which is multilingual, and tiny.en, for English."""

import dataclasses

from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.spec import ModelSpec, SpeechChoice, SpeechSpec

SMALL: SpeechChoice = "tiny.en"


def find(name: SpeechChoice) -> SpeechSpec | None:
    """Return a speech model; "auto" is that of smol."""
    if name == SMALL:
        from pydantic import TypeAdapter

        text = (checkpoint.SHIPPED / "speech" / f"{name}.json").read_bytes()
        return TypeAdapter(SpeechSpec).validate_json(text)
    return checkpoint.read(checkpoint.SHIPPED / "smol").spec.speech


def choose(spec: ModelSpec, choice: SpeechChoice) -> ModelSpec:
    """Return a specification with the speech model that the settings name; "auto" keeps its own."""
    return spec if choice == "auto" else dataclasses.replace(spec, speech=find(choice))


def find_substitute(speech: SpeechSpec, language: str | None) -> SpeechSpec | None:
    """Return a smaller model to use because the weights of `speech` are not on this machine.

    Args:
        speech: The speech model.
        language: The spoken language; None if it is not known.

    Returns:
        tiny.en, if `speech` is base, which is not on this machine, and tiny.en is; else None.
    """
    if language not in (None, "en") or speech != find("base"):
        return None
    if fetch.locate(speech.weights) is not None:
        return None
    small = find(SMALL)
    return small if small is not None and fetch.locate(small.weights) is not None else None

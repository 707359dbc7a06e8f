"""The state of the model in a chat, as a status line shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mmtui.chat.protocol import Progress, Ready

if TYPE_CHECKING:
    from mmtui.pipeline.assets.spec import VisionSpec

# "off": the model is not loaded; the next message loads it.
State = Literal["off", "idle", "loading", "thinking", "writing", "transcribing"]


@dataclass
class ModelStatus:
    """What the model is doing, and its measurements.

    Attributes:
        model: The name of the model.
        state: What the model is doing.
        step: The long step in progress with its percentage, such as "fetching 12 %"; else "".
        used: Tokens of the last prompt and reply; None if unknown.
        context: The size of the context, in tokens; 0 until the model is loaded.
        tokens_per_s: Decoding speed of the last reply.
        picture_tokens: How many tokens of the context a picture takes; 0 if that depends on it.
        vision: How pictures are resized for the vision tower; None if the model has none, or
            resizes them itself.
        engine: The name of the engine.
        dropped: How many of the oldest turns were left out of the last prompt.
        languages: Codes of the languages that the model speaks; empty if that is unknown.
        can_see: Whether the model sees pictures; None if that is unknown.
        reads_text: Whether the text in pictures is recognized for the model.
        spoken_language: Code of the language of the last recording; None if it is unknown.
    """

    model: str = ""
    state: State = "off"
    step: str = ""
    used: int | None = 0
    context: int = 0
    tokens_per_s: float | None = None
    picture_tokens: int = 0
    vision: "VisionSpec | None" = None
    engine: str = ""
    dropped: int = 0
    languages: tuple[str, ...] = ()
    can_see: bool | None = None
    reads_text: bool = False
    spoken_language: str | None = None

    def set_state(self, state: State) -> None:
        """Change the state, and end the step in progress."""
        self.state, self.step = state, ""

    def update_progress(self, event: Progress) -> None:
        """Update the step in progress; it ends when all of it is done."""
        if 0 < event.total <= event.done:
            self.step = ""
        else:
            share = f" {100 * event.done // event.total} %" if event.done and event.total else ""
            self.step = f"{event.step}{share}"

    def update_model(self, event: Ready) -> None:
        """Copy the properties of a model that was loaded."""
        self.model, self.context, self.step = event.model, event.context, ""
        self.engine, self.languages = event.engine, event.languages
        self.can_see, self.reads_text = event.can_see, event.reads_text
        self.picture_tokens, self.vision = event.picture_tokens, event.vision
        if self.state == "loading":
            self.state = "idle"

"""What the model does and how it fares, for a line that tells the user."""

from dataclasses import dataclass
from typing import Literal

from mmtui.chat.protocol import Progress, Ready

# "off": it is not loaded, and the next question loads it.
State = Literal["off", "idle", "loading", "thinking", "writing", "listening"]


@dataclass
class Figures:
    """`used` is of the last prompt and answer, in tokens; None: not known before an answer."""

    model: str = ""
    state: State = "off"
    step: str = ""  # of a long step, such as fetching or seeing, with its percentage
    used: int | None = 0
    context: int = 0
    tokens_per_s: float | None = None
    picture_tokens: int = 0
    picture_side: int = 0  # pixels; 0 if the model sees none
    engine: str = ""
    dropped: int = 0  # turns that are not in the context any more

    def becomes(self, state: State) -> None:
        self.state, self.step = state, ""

    def progress(self, event: Progress) -> None:
        if 0 < event.total <= event.done:
            self.step = ""
        else:
            share = f" {100 * event.done // event.total} %" if event.done and event.total else ""
            self.step = f"{event.step}{share}"

    def ready(self, event: Ready) -> None:
        self.model, self.context, self.step = event.model, event.context, ""
        self.engine = event.engine
        self.picture_tokens, self.picture_side = event.picture_tokens, event.picture_side
        if self.state == "loading":
            self.state = "idle"

"""The level of a microphone and the seconds that are left."""

from textual.content import Content
from textual.widgets import Static

from mmtui.audio.recorder import LIMIT_S, Recording

WIDTH = 24


class Meter(Static):
    """Out of sight while nothing is recorded."""

    DEFAULT_CSS = "Meter { display: none; height: 1; } Meter.-on { display: block; }"

    def __init__(self) -> None:
        super().__init__("", id="meter", markup=False)

    def show(self, recording: Recording | None) -> None:
        self.set_class(recording is not None, "-on")
        if recording is None:
            return
        # By the root: half of the bar is what people speak at.
        bar = round(WIDTH * min(recording.level, 1.0) ** 0.5)
        left = max(LIMIT_S - recording.seconds, 0.0)
        self.update(
            Content.assemble(
                ("● ", "$error"),
                ("█" * bar, "$success"),
                "·" * (WIDTH - bar),
                f"  {left:4.1f} s left; the same key ends it, Esc throws it away",
            )
        )
